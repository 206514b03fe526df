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
    make("span", { class: "amount" }, number(row.total), row.equal ? "" : make("small", { title: "delivered another share of the work" }, " *")));
  node.addEventListener("pointermove", (event) => showTip(event.clientX, event.clientY, row.name, [
    ...PARTS.map(([key, label]) => [label, withUnit(row.cost[key], D.currency)]),
    ["Total", withUnit(row.total, D.currency)], ["Delivered", percent(row.share, 2)],
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
