// Wait by kind: for each policy a line from the median to the 95th percentile, on a square-root scale.
function waitPlots() {
  const kinds = [...new Set(D.rows.flatMap((row) => Object.keys(row.wait)))].sort();
  if (!kinds.length) {
    byId("waits").querySelector("details").hidden = true;
    return none("waits-chart", "No wait is known.");
  }
  const box = byId("waits-chart");
  const paint = () => box.replaceChildren(make("div", { class: "facets" }, ...kinds.map(facet)));
  onTheme(paint);
}
function facet(kind) {
  const rows = D.rows.map((row) => ({ name: row.name, main: row.main, ...(row.wait[kind] ?? {}) }));
  const high = Math.max(...rows.flatMap((row) => [row.p50, row.p95]).filter(isKnown), 1);
  const [width, gutter, pitch, top] = [340, 104, 19, 4];
  const x = (value) => gutter + (width - gutter - 14) * Math.sqrt(Math.max(0, value) / high);
  const height = top + rows.length * pitch + 22;
  const node = draw("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `Wait of ${kind} tasks by policy; the table below has the figures` });
  for (const tick of waitTicks(high)) {
    node.append(draw("line", { x1: x(tick), x2: x(tick), y1: top, y2: height - 20, stroke: css("--hair") }),
      draw("text", { x: x(tick), y: height - 6, "text-anchor": "middle" }, tick >= 3600 && tick < 86400 ? `${tick / 3600} h` : duration(tick)));
  }
  rows.forEach((row, i) => node.append(...waitMarks(row, top + (i + 0.5) * pitch, gutter, x)));
  return make("div", {}, make("h4", {}, kind), node);
}
function waitTicks(high) {
  const nice = [0, 1, 5, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 28800, 43200, 86400, 172800, 604800, 2592000];
  const top = nice.filter((t) => t <= high).at(-1) ?? 0;
  const picked = [0];
  for (const tick of nice.filter((t) => t <= top).reverse()) {
    const spot = Math.sqrt(tick / high);
    if (picked.every((other) => Math.abs(Math.sqrt(other / high) - spot) > 0.24)) picked.push(tick);
  }
  return picked;
}
function waitMarks(row, y, gutter, x) {
  const color = row.main ? css("--accent") : css("--muted");
  const label = draw("text", { x: gutter - 10, y: y + 4, "text-anchor": "end", ...(row.main ? { class: "strong" } : {}) }, shorten(row.name, 15));
  if (!isKnown(row.p50) && !isKnown(row.p95)) return [label, draw("text", { x: gutter, y: y + 4 }, "unknown")];
  const marks = [label];
  if (isKnown(row.p50) && isKnown(row.p95)) marks.push(draw("line", { x1: x(row.p50), x2: x(row.p95), y1: y, y2: y, stroke: color, "stroke-width": row.main ? 3 : 2, "stroke-opacity": 0.45 }));
  if (isKnown(row.p95)) marks.push(draw("circle", { cx: x(row.p95), cy: y, r: 4.5, fill: color }));
  if (isKnown(row.p50)) marks.push(draw("circle", { cx: x(row.p50), cy: y, r: 4, fill: css("--card"), stroke: color, "stroke-width": 2 }));
  marks.push(draw("title", {}, `${row.name}: median ${duration(row.p50)}, 95th percentile ${duration(row.p95)}`));
  return [draw("g", {}, ...marks)];
}
const shorten = (text, most) => ([...text].length > most ? `${[...text].slice(0, most - 1).join("")}…` : text);
