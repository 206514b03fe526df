// Tables: those behind the plots, and sorting for all that can be sorted. Unknown figures stay last either way.
function table(id, caption, columns, rows, sortable = true) {
  if (!rows.length) return none(id, "Nothing to list.");
  const head = make("tr", {}, ...columns.map(([label, unit, , show], k) => make("th", { scope: "col", class: k === 0 ? "first" : show ? "num" : "" },
    sortable ? make("button", { type: "button" }, ...heading(label, unit)) : make("b", {}, ...heading(label, unit)))));
  const body = rows.map((row) => make("tr", {}, ...columns.map(([, , get, show], k) => {
    const value = get(row);
    if (k === 0) return make("th", { scope: "row", class: "first", "data-v": value }, make("span", value.length > 24 ? { class: "long" } : {}, value));
    return make("td", { class: `${show ? "num" : ""}${show && !isKnown(value) ? " unknown" : ""}`, "data-v": value ?? "" }, show ? show(value) : value);
  })));
  byId(id).replaceChildren(make("table", { class: sortable ? "grid sortable" : "grid" }, make("caption", { class: "sr" }, caption), make("thead", {}, head), make("tbody", {}, ...body)));
}
const heading = (label, unit) => [make("span", {}, label), ...(unit ? [make("small", {}, unit)] : [])];
function zoneTable() {
  table("zones-table", "Prices and load by zone", [
    ["Zone", "", (z) => z.name || z.zone], ["Lowest", PRICE_UNIT, (z) => z.low, number], ["Mean", PRICE_UNIT, (z) => z.mean, number],
    ["Highest", PRICE_UNIT, (z) => z.high, number], ["Paid, by load", PRICE_UNIT, (z) => z.paid, number], ["Below zero", "h", (z) => z.negative_h, number],
    ["Energy", "kWh", (z) => z.energy_kwh, number], ["Grid carbon", "g/kWh", (z) => z.carbon, (v) => number(v, 0)],
  ], order("load").map((i) => D.zones[i]));
}
function clusterTable() {
  const whole = (v) => number(v, 0);
  table("clusters-table", "What each cluster did", [
    ["Cluster", "", (c) => c.name || c.cluster_id], ["Tier", "", (c) => c.tier], ["Zone", "", (c) => c.zone],
    ["Accelerators", "", (c) => c.accelerators, whole], ["Cores", "", (c) => c.cpu_cores, whole], ["Energy", "kWh", (c) => c.energy_kwh, number],
    ["Energy cost", D.currency, (c) => c.cost_energy, money], ["Mean price", PRICE_UNIT, (c) => c.mean_price, number], ["Carbon", "kg CO₂", (c) => c.carbon_kg, number],
    ["Accel.-hours", "h", (c) => c.accelerator_h, number], ["Core-hours", "h", (c) => c.core_h, number], ["Tasks started", "", (c) => c.tasks_started, whole],
    ["Moves in", "", (c) => c.moves_in, whole], ["Moves out", "", (c) => c.moves_out, whole],
  ], [...D.clusters].sort((a, b) => b.energy_kwh - a.energy_kwh));
}
// At most 200 rows: a longer run lists every k-th step.
function runTable() {
  const run = D.run, whole = (v) => number(v, 0);
  const every = Math.max(1, Math.ceil(run.t_ms.length / 200));
  const picked = run.t_ms.map((_, w) => w).filter((w) => w % every === every - 1);
  table("run-table", "The run over time", [
    [`Until, ${D.offset}`, "", (w) => stamp(run.t_ms[w])], ["Running", "", (w) => run.running[w], whole], ["Waiting", "", (w) => run.waiting[w], whole],
    ["Moving", "", (w) => run.moving[w], whole], ["Placed", "", (w) => run.placed[w], whole], ["Moved", "", (w) => run.moves[w], whole],
    ["Unplaced", "", (w) => run.unplaced[w], whole], ["Energy", D.currency, (w) => run.cost_energy[w], money], ["Network", D.currency, (w) => run.cost_network[w], money],
    ["Moves", D.currency, (w) => run.cost_moves[w], money], ["Distance, at most", "", (w) => run.gap[w], (v) => percent(v, 2)],
  ], picked, false);
}
function sorting() {
  for (const grid of document.querySelectorAll("table.sortable")) {
    const heads = [...grid.tHead.rows[grid.tHead.rows.length - 1].cells];
    heads.forEach((head, column) => head.querySelector("button")?.addEventListener("click", () => sortBy(grid, heads, column)));
  }
}
function sortBy(grid, heads, column) {
  const up = heads[column].getAttribute("aria-sort") !== "ascending";
  for (const head of heads) head.removeAttribute("aria-sort");
  heads[column].setAttribute("aria-sort", up ? "ascending" : "descending");
  const body = grid.tBodies[0];
  const text = column === 0 || !heads[column].classList.contains("num");
  const key = (row) => row.cells[column].dataset.v;
  const compare = (a, b) => (text ? key(a).localeCompare(key(b)) : Number(key(a)) - Number(key(b)));
  const rows = [...body.rows];
  const unknown = rows.filter((row) => key(row) === "");
  const known = rows.filter((row) => key(row) !== "").sort((a, b) => (up ? compare(a, b) : compare(b, a)));
  body.replaceChildren(...known, ...unknown);
}
