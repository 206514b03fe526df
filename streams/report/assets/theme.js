// Light and dark: follows the system until the reader chooses; plots are painted again with the new colours.
const painters = [];
const root = document.documentElement;
const css = (name) => getComputedStyle(root).getPropertyValue(name).trim();
const isDark = () => root.dataset.theme === "dark";

// Paint now, and again whenever the colours change.
function onTheme(paint) {
  painters.push(paint);
  paint();
}
// Paint a drawing that depends on its width: also when that changes.
function onWidth(id, paint) {
  let width = byId(id).clientWidth;
  onTheme(paint);
  new ResizeObserver(() => {
    if (byId(id).clientWidth === width) return;
    width = byId(id).clientWidth;
    paint();
  }).observe(byId(id));
}
function setTheme(name) {
  root.dataset.theme = name;
  byId("theme").setAttribute("aria-pressed", String(name === "dark"));
  for (const paint of painters) paint();
}
function startTheme() {
  const system = matchMedia("(prefers-color-scheme: dark)");
  let chosen = null;
  const follow = () => setTheme(chosen ?? (system.matches ? "dark" : "light"));
  system.addEventListener("change", follow);
  byId("theme").addEventListener("click", () => {
    chosen = isDark() ? "light" : "dark";
    follow();
  });
  // The width of paper is set before painting, since plots are as wide as their place is then.
  addEventListener("beforeprint", () => {
    root.classList.add("printing");
    setTheme("light");
  });
  addEventListener("afterprint", () => {
    root.classList.remove("printing");
    follow();
  });
  follow();
}

// Categories: distinct in hue and lightness, also for the colour-blind.
const HUES = {
  light: ["#2a6db0", "#dd8a1b", "#2b9474", "#b8405a", "#7756b3", "#8b6a35", "#3f9dbf", "#b0538e", "#6e8b2e", "#5a6b7d"],
  dark: ["#6aaaf0", "#f2b14d", "#57c8a2", "#f07f92", "#b197f0", "#cdac76", "#7fd2ef", "#e68fc8", "#b5cf6b", "#8fa3b8"],
};
const hue = (i) => HUES[isDark() ? "dark" : "light"][i % 10];

const RAMPS = {
  light: {
    price: ["#fbf3dd", "#fbd894", "#f2a24a", "#d75f26", "#98221b"],
    below: ["#e3f0f8", "#86bfe0", "#2d7fb9", "#0c4273"],
    load: ["#eef3ef", "#bfe0d0", "#6bbd9f", "#23877a", "#0c4a52"],
    carbon: ["#e4f0dc", "#cfc98f", "#a98f56", "#6f5a3c", "#3a3029"],
  },
  dark: {
    price: ["#2e2818", "#6d4a17", "#b8701f", "#f0a94a", "#fff1cf"],
    below: ["#16303f", "#1f6391", "#42a4e2", "#b5e4ff"],
    load: ["#1a2a2b", "#1d5753", "#2d937f", "#7fd8ac", "#ecffdf"],
    carbon: ["#22331f", "#59602f", "#95804a", "#c9a981", "#f3ddc8"],
  },
};
const ramp = (name) => RAMPS[isDark() ? "dark" : "light"][name];
function between(stops, share) {
  const at = Math.max(0, Math.min(1, share)) * (stops.length - 1);
  const i = Math.min(stops.length - 2, Math.floor(at));
  const [a, b] = [stops[i], stops[i + 1]].map((hex) => [1, 3, 5].map((k) => parseInt(hex.slice(k, k + 2), 16)));
  return `rgb(${a.map((x, k) => Math.round(x + (b[k] - x) * (at - i))).join(" ")})`;
}

// Prices: warm above zero, blue below; the dearest 2 % share the last colour so that one spike does not pale the rest.
function priceScale(values) {
  const low = Math.min(0, quantile(values, 0) ?? 0);
  const high = Math.max(quantile(values, 0.98) ?? 0, 0) || 1;
  const base = Math.max(0, quantile(values, 0.02) ?? 0);
  const floor = base > 0.5 * high ? base : 0;
  return {
    low, high, floor, clipped: (quantile(values, 1) ?? 0) > high,
    color: (v) => (v < 0 ? between(ramp("below"), v / low) : between(ramp("price"), (v - floor) / (high - floor || 1))),
  };
}
function priceKey(scale) {
  const parts = [];
  if (scale.low < 0) parts.push(rampKey(number(scale.low, 0), (x) => between(ramp("below"), 1 - x), "", 70));
  parts.push(rampKey(number(scale.floor, 0), (x) => between(ramp("price"), x), `${scale.clipped ? "≥ " : ""}${number(scale.high, 0)} ${PRICE_UNIT}`, 110));
  return parts;
}
function rampKey(left, color, right, width = 120) {
  const canvas = make("canvas", { width, height: 10, style: { width: `${width}px` }, "aria-hidden": "true" });
  const pen = canvas.getContext("2d");
  for (let x = 0; x < width; x += 1) {
    pen.fillStyle = color(x / (width - 1));
    pen.fillRect(x, 0, 1, 10);
  }
  return make("span", { class: "ramp" }, left, canvas, right);
}
function hatch(pen) {
  const tile = make("canvas", { width: 6, height: 6 });
  const brush = tile.getContext("2d");
  brush.strokeStyle = css("--hatch");
  brush.beginPath();
  for (const k of [-3, 0, 3, 6]) { brush.moveTo(k, 6); brush.lineTo(k + 6, 0); }
  brush.lineWidth = 0.8;
  brush.stroke();
  return pen.createPattern(tile, "repeat");
}
function missingKey(text = "unknown") {
  const canvas = make("canvas", { width: 14, height: 10, style: { width: "14px" }, "aria-hidden": "true" });
  const pen = canvas.getContext("2d");
  pen.fillStyle = hatch(pen);
  pen.fillRect(0, 0, 14, 10);
  return make("span", { class: "ramp" }, canvas, text);
}
