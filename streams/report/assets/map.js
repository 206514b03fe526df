// Clusters as bubbles and the ways work took as tapered curves: thin where it came from, thick where it went.
const SIZES = { energy: ["Energy", "energy_kwh", energy], accel: ["Accelerator-hours", "accelerator_h", (v) => withUnit(v, "h")], core: ["Core-hours", "core_h", (v) => withUnit(v, "h")] };
const view = { size: "energy", color: "price", tiers: new Set(), kinds: new Set(["serve", "move"]) };
const placed = D.clusters.filter((c) => isKnown(c.lat) && isKnown(c.lon));
const intensity = (c) => (isKnown(c.carbon_kg) && c.energy_kwh > 0 ? (1000 * c.carbon_kg) / c.energy_kwh : null);

function clusterMap() {
  byId("map-text").textContent = mapText();
  if (!placed.length) return none("map-chart", D.clusters.length ? "No cluster of this run has coordinates; the table below lists them." : "No clusters in this run.");
  const tiers = tierNames();
  view.tiers = new Set(tiers);
  if (!placed.some((c) => c.energy_kwh > 0)) view.size = "accel";
  const kinds = [["serve", "work served"], ["move", "moves"]].filter(([kind]) => D.flows.some((f) => f.kind === kind));
  const flip = (set) => (value, on) => { if (on) set.add(value); else set.delete(value); paintMap(); };
  byId("map-controls").replaceChildren(
    choices("Size", Object.entries(SIZES).map(([key, [label]]) => [key, label.toLowerCase()]), view.size, (v) => { view.size = v; paintMap(); }),
    choices("Colour", [["price", "mean price"], ["carbon", "carbon"], ["tier", "tier"]], view.color, (v) => { view.color = v; paintMap(); }),
    ...(tiers.length > 1 ? [switches("Tiers", tiers.map((tier) => [tier, tier]), flip(view.tiers))] : []),
    ...(kinds.length ? [switches("Flows", kinds, flip(view.kinds))] : []),
  );
  onWidth("map-chart", paintMap);
}
// The three levels from the top down, then any other tier by name.
function tierNames() {
  const known = ["national", "regional", "edge"];
  const rank = (tier) => (known.includes(tier) ? known.indexOf(tier) : known.length);
  return [...new Set(placed.map((c) => c.tier))].sort((a, b) => rank(a) - rank(b) || a.localeCompare(b));
}
function mapText() {
  const busy = D.clusters.filter((c) => c.tasks_started > 0).length;
  const parts = [`${number(busy, 0)} of ${number(D.clusters.length + D.clusters_left_out, 0)} clusters ran work.`];
  const nowhere = D.clusters.length - placed.length;
  if (nowhere && placed.length) parts.push(`${number(nowhere, 0)} without coordinates ${nowhere === 1 ? "is" : "are"} in the table only.`);
  if (D.flows.length < D.flows_given) parts.push(`Of ${number(D.flows_given, 0)} flows the ${number(D.flows.length, 0)} largest with coordinates are drawn.`);
  if (D.clusters_left_out) parts.push(`${number(D.clusters_left_out, 0)} clusters with the least work are left out.`);
  return parts.join(" ");
}
function paintMap() {
  const box = byId("map-chart");
  const width = Math.max(280, box.clientWidth);
  const map = projection(placed.map((c) => [c.lon, c.lat]), width);
  const svg = draw("svg", { viewBox: `0 0 ${width} ${map.height}`, role: "img", "aria-label": "Map of clusters and flows; the table below has the figures" });
  const colors = bubbleColors();
  svg.append(unknownPattern(), draw("path", { class: "grat", d: map.graticule }), draw("path", { class: "land", "fill-rule": "evenodd", d: map.land }));
  const flows = shownFlows();
  const [, field] = SIZES[view.size];
  const shown = spread(placed.filter((c) => view.tiers.has(c.tier)).map((c) => ({ c, xy: map.place(c.lon, c.lat) })));
  const most = Math.max(...shown.map((s) => s.c[field]), 0);
  const reach = Math.max(12, Math.min(28, width / 40));
  for (const s of shown) s.r = s.c[field] > 0 && most > 0 ? Math.max(2.5, reach * Math.sqrt(s.c[field] / most)) : 0;
  shown.sort((a, b) => b.r - a.r);
  const spots = new Map(shown.map((s) => [s.c.cluster_id, s]));
  svg.append(...flows.map((f) => flowCurve(f, map, spots, flows)).filter(Boolean));
  svg.append(...shown.map((s) => bubble(s, colors)), ...mapLabels(shown, width, map.height));
  box.replaceChildren(svg);
  listen(svg, shown, flows);
  byId("map-key").replaceChildren(...colors.key, ...sizeKey(most, reach), ...flowKey());
}
function shownFlows() {
  const tier = new Map(D.clusters.map((c) => [c.cluster_id, c.tier]));
  return D.flows.filter((f) => view.kinds.has(f.kind) && [f.src, f.dst].every((id) => !tier.has(id) || view.tiers.has(tier.get(id))))
    .sort((a, b) => (a.kind === b.kind ? b.hours - a.hours : a.kind === "serve" ? -1 : 1));
}
// Clusters at the same spot step aside on a spiral, so that each can be seen and touched.
function spread(shown) {
  const taken = new Map();
  for (const s of shown) {
    const key = s.xy.map((v) => Math.round(v / 3)).join();
    const k = taken.get(key) ?? 0;
    taken.set(key, k + 1);
    const angle = 2.4 * k, away = k ? 5 + 2.5 * k : 0;
    s.xy = [s.xy[0] + away * Math.cos(angle), s.xy[1] + away * Math.sin(angle)];
  }
  return shown;
}
function unknownPattern() {
  return draw("defs", {}, draw("pattern", { id: "unknown", width: 5, height: 5, patternUnits: "userSpaceOnUse" },
    draw("rect", { width: 5, height: 5, fill: css("--card") }), draw("path", { d: "M0 5 5 0", stroke: css("--hatch"), "stroke-width": 1.4 })));
}
function bubbleColors() {
  if (view.color === "tier") {
    const tiers = tierNames();
    return { of: (c) => hue(tiers.indexOf(c.tier)), key: tiers.map((tier, i) => make("span", {}, make("i", { style: { background: hue(i) } }), tier)) };
  }
  if (view.color === "carbon") {
    const known = placed.map(intensity).filter(isKnown);
    const [low, high] = known.length ? [Math.min(...known), Math.max(...known)] : [0, 1];
    const color = (x) => between(ramp("carbon"), x);
    return { of: (c) => (isKnown(intensity(c)) ? color((intensity(c) - low) / (high - low || 1)) : "url(#unknown)"), key: [rampKey(number(low, 0), color, `${number(high, 0)} g CO₂/kWh`), missingKey()] };
  }
  const scale = priceScale(placed.map((c) => c.mean_price));
  return { of: (c) => (isKnown(c.mean_price) ? scale.color(c.mean_price) : "url(#unknown)"), key: [make("span", {}, "Mean price"), ...priceKey(scale), missingKey()] };
}
function bubble(s, colors) {
  const [cx, cy] = s.xy;
  const idle = s.r === 0;
  return draw("circle", { class: idle ? "bubble idle" : "bubble", cx, cy, r: idle ? 3 : s.r, fill: idle ? "none" : colors.of(s.c), "pointer-events": "all", "data-cluster": s.c.cluster_id });
}
function flowCurve(f, map, spots, flows) {
  const from = spots.get(f.src)?.xy ?? map.place(f.src_lon, f.src_lat);
  const to = spots.get(f.dst)?.xy ?? map.place(f.dst_lon, f.dst_lat);
  const length = Math.hypot(to[0] - from[0], to[1] - from[1]);
  if (length < 4) return null;
  const most = Math.max(...flows.filter((other) => other.kind === f.kind).map((other) => other.hours), 1e-9);
  const thick = 0.7 + 6 * Math.sqrt(f.hours / most);
  return draw("path", { class: `flow ${f.kind}`, d: taper(from, to, length, thick), "data-flow": flows.indexOf(f), style: { "--weight": (0.16 + 0.5 * Math.sqrt(f.hours / most)).toFixed(2) } });
}
// A quadratic curve with a width that grows from a hair to `thick`, as a closed outline.
function taper([x0, y0], [x1, y1], length, thick) {
  const bend = 0.16;
  const mx = (x0 + x1) / 2 - (y1 - y0) * bend, my = (y0 + y1) / 2 + (x1 - x0) * bend;
  const left = [], right = [];
  for (let k = 0; k <= 16; k += 1) {
    const t = k / 16, u = 1 - t;
    const x = u * u * x0 + 2 * u * t * mx + t * t * x1, y = u * u * y0 + 2 * u * t * my + t * t * y1;
    const dx = 2 * u * (mx - x0) + 2 * t * (x1 - mx), dy = 2 * u * (my - y0) + 2 * t * (y1 - my);
    const half = (0.25 + (thick / 2) * t) / Math.hypot(dx, dy);
    left.push(`${(x - dy * half).toFixed(1)},${(y + dx * half).toFixed(1)}`);
    right.unshift(`${(x + dy * half).toFixed(1)},${(y - dx * half).toFixed(1)}`);
  }
  return `M${left.join("L")}L${right.join("L")}Z`;
}
// Names of the largest bubbles, as many as do not touch each other.
function mapLabels(shown, width, height) {
  const boxes = shown.filter((s) => s.r > 3).map((s) => [s.xy[0] - s.r * 0.8, s.xy[1] - s.r * 0.8, s.xy[0] + s.r * 0.8, s.xy[1] + s.r * 0.8]);
  const labels = [];
  for (const s of shown) {
    if (s.r === 0 || labels.length >= (width < 600 ? 9 : 26)) break;
    const name = shorten(s.c.name || s.c.cluster_id, 18);
    const long = [...name].reduce((sum, sign) => sum + (sign.charCodeAt(0) > 0x2e80 ? 12 : 6.4), 0);
    const sides = [[s.xy[0] + s.r + 3, s.xy[1] + 4], [s.xy[0] - s.r - 3 - long, s.xy[1] + 4], [s.xy[0] - long / 2, s.xy[1] - s.r - 4], [s.xy[0] - long / 2, s.xy[1] + s.r + 12]];
    const free = sides.find(([x, y]) => {
      const box = [x - 1, y - 11, x + long + 1, y + 3];
      return box[0] > 2 && box[2] < width - 2 && box[1] > 2 && box[3] < height - 2 && boxes.every((b) => box[2] < b[0] || box[0] > b[2] || box[3] < b[1] || box[1] > b[3]);
    });
    if (!free) continue;
    boxes.push([free[0] - 1, free[1] - 11, free[0] + long + 1, free[1] + 3]);
    labels.push(draw("text", { class: "maplabel", x: free[0], y: free[1] }, name));
  }
  return labels;
}
function sizeKey(most, reach) {
  if (!(most > 0)) return [];
  const [label, , show] = SIZES[view.size];
  const big = steps(0, most, 2).at(-1) || most;
  const circle = (value) => {
    const r = Math.max(2.5, reach * Math.sqrt(value / most));
    return make("span", { class: "ramp" }, draw("svg", { width: 2 * r + 2, height: 2 * r + 2, "aria-hidden": "true" }, draw("circle", { cx: r + 1, cy: r + 1, r, fill: "none", stroke: css("--muted") })), show(value));
  };
  return [make("span", {}, `${label}:`), circle(big / 10), circle(big)];
}
function flowKey() {
  const sample = (kind, text) => make("span", { class: "ramp" }, draw("svg", { width: 34, height: 10, "aria-hidden": "true" }, draw("path", { class: `flow ${kind}`, d: "M0 5L34 2V8Z", style: { opacity: 0.8 } })), text);
  return [["serve", "work, origin to cluster"], ["move", "move, cluster to cluster"]].filter(([kind]) => D.flows.some((f) => f.kind === kind)).map(([kind, text]) => sample(kind, text));
}
function listen(svg, shown, flows) {
  const names = new Map(D.clusters.map((c) => [c.cluster_id, c.name || c.cluster_id]));
  const clear = () => { hideTip(); svg.classList.remove("lit"); svg.querySelectorAll(".on").forEach((node) => node.classList.remove("on")); };
  const point = (event) => {
    clear();
    const { cluster, flow } = event.target.dataset ?? {};
    if (cluster !== undefined) {
      svg.classList.add("lit");
      svg.querySelectorAll("[data-cluster]").forEach((node) => node.classList.toggle("on", node.dataset.cluster === cluster));
      svg.querySelectorAll("[data-flow]").forEach((node) => { const f = flows[node.dataset.flow]; node.classList.toggle("on", f.src === cluster || f.dst === cluster); });
      const found = shown.find((s) => s.c.cluster_id === cluster).c;
      showTip(event.clientX, event.clientY, found.name || cluster, clusterFacts(found));
    } else if (flow !== undefined) {
      const f = flows[flow];
      svg.classList.add("lit");
      event.target.classList.add("on");
      showTip(event.clientX, event.clientY, `${names.get(f.src) ?? f.src} → ${names.get(f.dst) ?? f.dst}`, [[f.kind === "move" ? "Tasks moved" : "Tasks", number(f.tasks, 0)], ["Task-hours", number(f.hours)], ["Data", withUnit(f.gb, "GB")]]);
    }
  };
  svg.addEventListener("pointermove", point);
  svg.addEventListener("pointerdown", point);
  svg.addEventListener("pointerleave", clear);
}
function clusterFacts(c) {
  return [["Tier, zone", `${c.tier}, ${c.zone}`], ["Accelerators", number(c.accelerators, 0)], ["CPU cores", number(c.cpu_cores, 0)], ["Energy", energy(c.energy_kwh)], ["Energy cost", inMoney(c.cost_energy)], ["Mean price", withUnit(c.mean_price, PRICE_UNIT)], ["Carbon", mass(c.carbon_kg)], ["Tasks started", number(c.tasks_started, 0)], ["Moves in, out", `${number(c.moves_in, 0)}, ${number(c.moves_out, 0)}`]];
}
