// Two maps of zone by time with the same rows and the same cursor: price, and our load.
const heat = { order: [], by: "price", scale: "kw", at: null, panels: [] };

// Zones in the order asked for; those without the figure come last.
function order(by) {
  const key = { price: (z) => z.mean ?? Infinity, load: (z) => -z.energy_kwh, name: () => 0 }[by];
  const named = (i) => D.zones[i].name || D.zones[i].zone;
  return D.zones.map((_, i) => i).sort((a, b) => (key(D.zones[a]) - key(D.zones[b]) || 0) || named(a).localeCompare(named(b)));
}
function heatMaps() {
  if (!D.run.t_ms.length || !D.zones.length) {
    none("heat-load", "No load to show.");
    return none("heat-price", "No prices to show.");
  }
  heat.order = order(heat.by);
  const prices = priceScale(D.run.zones.flatMap((zone) => zone.price));
  const most = Math.max(...D.run.zones.flatMap((zone) => zone.load_kw), 0) || 1;
  const peaks = D.run.zones.map((zone) => Math.max(...zone.load_kw, 0) || 1);
  heat.panels = [
    panel("heat-price", (i, w) => D.run.zones[i].price[w], (v) => prices.color(v), () => [...priceKey(prices), missingKey()]),
    panel("heat-load", (i, w) => D.run.zones[i].load_kw[w], (v, i) => loadColor(v, heat.scale === "kw" ? most : peaks[i]), () => [
      heat.scale === "kw" ? rampKey("0", (x) => loadColor(x * x * most + 1e-9, most), `${number(most, 0)} kW`) : rampKey("0", (x) => loadColor(x * x + 1e-9, 1), "100 % of the zone’s peak"),
      make("span", {}, "blank: no load")]),
  ];
  byId("heat-controls").replaceChildren(
    choices("Zones by", [["price", "mean price"], ["load", "load"], ["name", "name"]], heat.by, (by) => { heat.by = by; heat.order = order(by); paintHeat(); }),
    choices("Load as", [["kw", "kW"], ["peak", "share of the zone’s peak"]], heat.scale, (scale) => { heat.scale = scale; paintHeat(); }),
  );
  onWidth("heat-price", paintHeat);
}
// A square root, so that a zone with a tenth of the largest load is still seen.
const loadColor = (v, most) => (v > 0 ? between(ramp("load"), 0.06 + 0.94 * Math.sqrt(v / most)) : null);

function panel(id, read, color, key) {
  const canvas = make("canvas", { tabindex: 0, role: "img", "aria-label": `${id === "heat-price" ? "Price" : "Load"} of ${D.zones.length} zones over time; arrow keys read single cells, the zones are also in a table` });
  byId(id).replaceChildren(canvas);
  const one = { id, canvas, read, color, key, box: null };
  const point = (event) => {
    const cell = cellAt(one, event);
    if (cell) hover(one, cell.row, cell.step); else unhover();
  };
  canvas.addEventListener("pointermove", point);
  canvas.addEventListener("pointerdown", point);
  canvas.addEventListener("pointerleave", unhover);
  canvas.addEventListener("blur", unhover);
  canvas.addEventListener("keydown", (event) => steer(one, event));
  return one;
}
function steer(one, event) {
  const by = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
  if (!by) return;
  event.preventDefault();
  const [row, step] = heat.at ?? [0, 0];
  hover(one, Math.max(0, Math.min(D.zones.length - 1, row + by[0])), Math.max(0, Math.min(D.run.t_ms.length - 1, step + by[1])));
}
function cellAt(one, event) {
  const rect = one.canvas.getBoundingClientRect();
  const step = Math.floor(((event.clientX - rect.left - one.box.left) / one.box.width) * D.run.t_ms.length);
  const row = Math.floor((event.clientY - rect.top - one.box.top) / one.box.pitch);
  return step >= 0 && step < D.run.t_ms.length && row >= 0 && row < D.zones.length ? { row, step } : null;
}
function hover(one, row, step) {
  heat.at = [row, step];
  heat.panels.forEach(paintPanel);
  const i = heat.order[row], end = D.run.t_ms[step], zone = D.run.zones[i], rect = one.canvas.getBoundingClientRect();
  const x = rect.left + one.box.left + ((step + 1) / D.run.t_ms.length) * one.box.width;
  showTip(x, rect.top + one.box.top + (row + 1) * one.box.pitch, zone.name || zone.zone, [
    [D.offset, `${stamp(end - D.step_ms)} to ${clock(end)}`], ["Price", withUnit(zone.price[step], PRICE_UNIT)],
    ["Our load", withUnit(zone.load_kw[step], "kW")], ["Grid carbon", withUnit(zone.carbon[step], "g/kWh", 0)],
  ]);
}
function unhover() {
  if (!heat.at) return;
  heat.at = null;
  hideTip();
  heat.panels.forEach(paintPanel);
}
function paintHeat() {
  for (const one of heat.panels) {
    one.picture = null;
    byId(`${one.id}-key`).replaceChildren(...one.key());
    paintPanel(one);
  }
}
function paintPanel(one) {
  const { canvas } = one;
  const width = canvas.parentElement.clientWidth;
  if (width < 40) return;
  const zones = D.zones.length, ratio = devicePixelRatio || 1;
  const pitch = zones <= 12 ? 22 : zones <= 40 ? 15 : zones <= 90 ? 11 : 7;
  if (!one.picture || one.picture.width !== Math.round(width * ratio)) {
    one.picture = make("canvas");
    one.picture.width = Math.round(width * ratio);
    one.picture.height = Math.round((zones * pitch + 26) * ratio);
    const pen = one.picture.getContext("2d");
    pen.scale(ratio, ratio);
    one.box = frame(pen, width, pitch);
    paintCells(one, pen);
  }
  canvas.width = one.picture.width;
  canvas.height = one.picture.height;
  canvas.style.height = `${canvas.height / ratio}px`;
  const pen = canvas.getContext("2d");
  pen.drawImage(one.picture, 0, 0);
  pen.scale(ratio, ratio);
  if (heat.at) paintCursor(one, pen);
}
function frame(pen, width, pitch) {
  pen.font = `11.5px ${css("--sans")}`;
  const labels = D.zones.map((zone) => shorten(zone.name || zone.zone, 18));
  const left = pitch >= 11 ? Math.min(width * 0.34, Math.max(...labels.map((text) => pen.measureText(text).width)) + 10) : 4;
  return { left, top: 2, width: width - left - 2, pitch, labels };
}
function paintCells(one, pen) {
  const { left, top, width, pitch, labels } = one.box;
  const count = D.run.t_ms.length, size = width / count, missing = hatch(pen), ratio = devicePixelRatio || 1;
  const snap = (x) => Math.round(x * ratio) / ratio;  // cells meet on a device pixel, so no seam shows
  pen.textBaseline = "middle";
  heat.order.forEach((i, row) => {
    const y = top + row * pitch;
    pen.fillStyle = css("--soft");
    if (pitch >= 11) pen.fillText(labels[i], 0, y + pitch / 2, left - 6);
    for (let w = 0; w < count; w += 1) {
      const value = one.read(i, w);
      const color = isKnown(value) ? one.color(value, i) : missing;
      if (color === null) continue;
      pen.fillStyle = color;
      const x = snap(left + w * size);
      pen.fillRect(x, y, snap(left + (w + 1) * size) - x, pitch - 1);
    }
  });
  const start = D.run.t_ms[0] - D.step_ms, span = count * D.step_ms;
  pen.fillStyle = css("--muted");
  pen.textAlign = "center";
  for (const tick of timeTicks(start, start + span, Math.max(2, Math.floor(width / 74)))) {
    const x = left + ((tick - start) / span) * width;
    const y = top + D.zones.length * pitch;
    pen.fillRect(x, y, 1, 4);
    const half = pen.measureText(tickLabel(tick)).width / 2;
    if (x + half <= left + width + 2) pen.fillText(tickLabel(tick), x, y + 13);
  }
}
function paintCursor(one, pen) {
  const [row, step] = heat.at, { left, top, width, pitch } = one.box;
  const size = width / D.run.t_ms.length;
  pen.strokeStyle = css("--ink");
  pen.globalAlpha = 0.35;
  pen.strokeRect(left, top + row * pitch - 0.5, width, pitch);
  pen.strokeRect(left + step * size, top, Math.max(1, size), D.zones.length * pitch);
  pen.globalAlpha = 1;
  pen.lineWidth = 2;
  pen.strokeRect(left + step * size - 1, top + row * pitch - 1, Math.max(3, size) + 2, pitch + 1);
}
