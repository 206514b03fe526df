// Cost of each policy as one bar of parts: what is above zero to the right of the line, what was earned to its left.
const PARTS = [["energy", "Energy"], ["network", "Network"], ["moves", "Moves"], ["penalty", "Penalty"]];
function costBars() {
  const rows = D.rows.filter((row) => isKnown(row.total));
  if (!rows.length) return none("costs-chart", "No cost is known.");
  const sum = (row, sign) => PARTS.reduce((s, [key]) => s + Math.max(0, sign * (row.cost[key] ?? 0)), 0);
  const right = Math.max(...rows.map((row) => sum(row, 1)), 0);
  const left = Math.max(...rows.map((row) => sum(row, -1)), 0);
  const width = right + left || 1;
  const sorted = [...rows].sort((a, b) => a.total - b.total);
  byId("costs-chart").replaceChildren(...sorted.map((row) => costRow(row, left, width)));
  byId("costs-foot").hidden = rows.every((row) => row.equal);
  const used = PARTS.filter(([key]) => rows.some((row) => row.cost[key]));
  byId("costs-sub").replaceChildren(
    make("span", {}, D.currency),
    ...used.map(([key, label]) => make("span", {}, make("i", { class: "dot", style: { background: `var(--${key})`, borderColor: `var(--${key})` } }), label)),
  );
}
function costRow(row, left, width) {
  const track = make("div", { class: "track" });
  let up = left, down = left;
  for (const [key] of PARTS) {
    const value = row.cost[key] ?? 0;
    if (!value) continue;
    const size = Math.abs(value);
    const start = value > 0 ? up : down - size;
    if (value > 0) up += size; else down -= size;
    track.append(make("span", { style: { left: `${(100 * start) / width}%`, width: `${(100 * size) / width}%`, background: `var(--${key})` } }));
  }
  track.append(make("span", { class: "zero", style: { left: `${(100 * left) / width}%` } }));
  const node = make("div", { class: `cost-row${row.main ? " main" : ""}` },
    make("span", { class: "name", title: row.name }, row.name), track,
    make("span", { class: "amount" }, money(row.total), row.equal ? "" : make("small", { title: "delivered another share of the work" }, " *")));
  node.addEventListener("pointermove", (event) => showTip(event.clientX, event.clientY, row.name, [
    ...PARTS.map(([key, label]) => [label, inMoney(row.cost[key])]),
    ["Total", inMoney(row.total)], ["Delivered", percent(row.share, 2)],
  ]));
  node.addEventListener("pointerleave", hideTip);
  return node;
}

// Share of energy by price rank, beside the fifth that chance would give.
function fifthBars() {
  const fifths = D.follows?.fifths ?? [];
  if (!fifths.length) return none("fifths-chart", "No load met a known price in more than one zone.");
  const names = ["Cheapest fifth", "Second", "Middle", "Fourth", "Dearest fifth"];
  const most = Math.max(...fifths, 0.25);
  byId("fifths-chart").replaceChildren(...fifths.map((share, i) => make("div", { class: "fifth" }, make("span", {}, names[i]),
    make("div", { class: "track" },
      make("span", { style: { left: 0, width: `${(100 * share) / most}%`, background: "var(--accent)" } }),
      make("span", { class: "even", style: { left: `${20 / most}%` } })),
    make("span", { style: { textAlign: "right" } }, percent(share)))));
}

// Energy by price: bars in the colours of the price map, over the line of what zones offered.
function bandPlot() {
  const bands = D.follows?.bands ?? [];
  if (!bands.length) return none("bands-chart", "No load met a known price.");
  onWidth("bands-chart", () => byId("bands-chart").replaceChildren(bandDrawing(bands)));
}
function bandDrawing(bands) {
  const [width, height, left, bottom, top] = [Math.max(260, byId("bands-chart").clientWidth), 214, 44, 36, 8];
  const colors = priceScale(D.run.zones.flatMap((zone) => zone.price));
  const most = Math.max(...bands.flatMap((b) => [b.energy, b.offered]));
  const pitch = (width - left - 12) / bands.length;
  const y = (share) => height - bottom - (share / most) * (height - bottom - top);
  const node = draw("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `Share of energy by price in ${PRICE_UNIT}, beside how often zones had that price` });
  for (const tick of steps(0, most, 4)) {
    node.append(draw("line", { x1: left, x2: width - 12, y1: y(tick), y2: y(tick), stroke: css("--hair") }), draw("text", { x: left - 7, y: y(tick) + 4, "text-anchor": "end" }, percent(tick, 0)));
  }
  bands.forEach((band, k) => {
    const x = left + k * pitch;
    const bar = draw("rect", { x: x + 1, y: y(band.energy), width: Math.max(1, pitch - 2), height: height - bottom - y(band.energy), fill: colors.color((band.low + band.high) / 2), stroke: css("--muted"), "stroke-width": 0.6 });
    const touch = draw("rect", { x, y: top, width: pitch, height: height - bottom - top, fill: "transparent" });
    touch.addEventListener("pointermove", (event) => showTip(event.clientX, event.clientY, `${number(band.low)} to ${number(band.high)} ${PRICE_UNIT}`, [["Our energy", percent(band.energy)], ["Zones had it", `${percent(band.offered)} of the time`]]));
    touch.addEventListener("pointerleave", hideTip);
    node.append(bar, touch);
  });
  const line = bands.map((band, k) => `${k ? "L" : "M"}${left + k * pitch},${y(band.offered)}H${left + (k + 1) * pitch}`).join("");
  node.append(draw("path", { d: line, fill: "none", stroke: css("--ink"), "stroke-width": 1.6, "pointer-events": "none" }));
  const every = Math.ceil(bands.length / Math.max(2, (width - left) / 58)), from = bands.findIndex((b) => Math.abs(b.low) < 1e-9);
  bands.forEach((band, k) => {
    if ((k - Math.max(0, from)) % every === 0) node.append(draw("text", { x: left + k * pitch, y: height - 20, "text-anchor": "middle" }, tidy(band.low, [band.low, band.high])));
  });
  node.append(draw("text", { x: width - 12, y: height - 4, "text-anchor": "end" }, PRICE_UNIT));
  return node;
}
