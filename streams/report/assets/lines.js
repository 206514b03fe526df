// Lines over time. A value holds for its whole window, so lines are steps that end at the window's end.
const STEP = uPlot.paths.stepped({ align: -1 });
const TIMES = D.run.t_ms.length ? [Math.min(D.t0_ms, D.run.t_ms[0] - D.step_ms), ...D.run.t_ms] : [];
const lead = (values) => (values.length ? [values[0], ...values] : []);

const plots = new Map();

// One plot in a place, made anew at each call. series: [{label, color, values, fill, dash}], values one a window.
function timePlot(id, { series, unit, height = 260, value, label, stacked = false, share = false }) {
  const box = byId(id);
  if (!plots.has(id)) new ResizeObserver(() => box.clientWidth > 0 && plots.get(id)?.setSize({ width: box.clientWidth, height })).observe(box);
  plots.get(id)?.destroy();
  plots.delete(id);
  if (!TIMES.length) return none(id, "No windows in this run.");
  if (!series.length) return none(id, "Pick a zone.");
  box.replaceChildren();
  fill(box, { role: "img", "aria-label": label }, []);
  const shown = stacked ? stackUp(series) : series.map((one) => ({ ...one, drawn: lead(one.values), raw: lead(one.values) }));
  const plot = new uPlot(plotOptions(box, shown, { unit, height, value, stacked, share }), [TIMES, ...shown.map((one) => one.drawn)], box);
  plot.root.querySelector(".u-legend").style.pointerEvents = stacked ? "none" : "";
  plots.set(id, plot);
}
// Cumulative sums, the whole first: each is filled down to zero and painted over by the next smaller one.
function stackUp(series) {
  const sums = new Array(TIMES.length).fill(0);
  return series.map((one) => {
    const raw = lead(one.values);
    return { ...one, raw, drawn: raw.map((value, i) => (sums[i] += value ?? 0)) };
  }).reverse();
}
function plotOptions(box, shown, { unit, height, value, stacked, share }) {
  const axis = { stroke: css("--muted"), font: `12px ${css("--sans")}`, grid: { stroke: css("--hair"), width: 1 }, ticks: { stroke: css("--line"), width: 1, size: 4 } };
  const show = value ?? ((v) => withUnit(v, unit));
  return {
    width: Math.max(240, box.clientWidth), height, padding: [10, 24, 0, 0],
    scales: { x: { time: false }, y: { range: (u, low, high) => padded(low, high) } },
    cursor: { sync: { key: "run" }, points: { size: 7 }, drag: { x: true, y: false } },
    legend: { markers: { width: 3 } },
    axes: [
      { ...axis, size: 30, splits: (u, i, low, high) => timeTicks(low, high, Math.max(2, Math.floor(u.bbox.width / devicePixelRatio / 78))), values: (u, ticks) => ticks.map(tickLabel) },
      { ...axis, size: (u, values) => 16 + 7 * Math.max(2, ...(values ?? []).map((text) => text.length)), values: (u, ticks) => ticks.map((v) => (share ? `${tidy(100 * v, ticks.map((t) => 100 * t))} %` : tidy(v, ticks))) },
    ],
    series: [
      { label: `Time, ${D.offset}`, value: (u, t) => (t === null || t === undefined ? "" : `to ${stamp(t)}`) },
      ...shown.map((one) => ({
        label: one.label, stroke: one.color, width: stacked ? 0 : 1.8, fill: one.fill, dash: one.dash, paths: STEP, points: { show: false },
        value: (u, v, s, i) => (i === null || i === undefined ? "" : show(one.raw[i])),
      })),
    ],
  };
}
function padded(low, high) {
  if (!isKnown(low) || !isKnown(high)) return [0, 1];
  const room = (high - low || Math.abs(high) || 1) * 0.06;
  return [low >= 0 ? Math.max(0, low > (high - low) * 2 ? low - room : 0) : low - room, high <= 0 ? 0 : high + room];
}
function tidy(value, ticks) {
  const step = ticks.length > 1 ? Math.abs(ticks[1] - ticks[0]) : Math.abs(value);
  return number(value, step >= 1 || step === 0 ? 0 : Math.min(6, Math.ceil(-Math.log10(step) + 0.001)));
}

function pricePlot() {
  byId("prices-unit").textContent = `${PRICE_UNIT} in force, local time ${D.offset}; drag to zoom, double-click to see all`;
  const zones = D.run.zones;
  if (!TIMES.length || !zones.length) return none("prices-chart", "No prices in this run.");
  const shown = new Map(D.picked.map((zone, i) => [zone, i]));
  const chips = zones.map((zone, i) => make("button", { type: "button", "data-zone": i }, make("i"), zone.name || zone.zone));
  byId("prices-pick").replaceChildren(...order("load").map((i) => chips[i]));
  const refresh = () => {
    chips.forEach((chip, i) => {
      chip.setAttribute("aria-pressed", String(shown.has(i)));
      chip.firstChild.style.background = shown.has(i) ? hue(shown.get(i)) : "";
    });
    const series = [...shown].map(([i, slot]) => ({ label: zones[i].name || zones[i].zone, color: hue(slot), values: zones[i].price }));
    timePlot("prices-chart", { series, unit: PRICE_UNIT, height: 300, label: `Price over time of ${series.map((one) => one.label).join(", ")}` });
  };
  for (const chip of chips) {
    chip.addEventListener("click", () => {
      const i = Number(chip.dataset.zone);
      if (!shown.delete(i)) shown.set(i, [0, 1, 2, 3, 4, 5, 6, 7].find((slot) => ![...shown.values()].includes(slot)) ?? shown.size);
      refresh();
    });
  }
  onTheme(refresh);
}

function loadPlot() {
  const zones = D.run.zones;
  const ranked = order("load").filter((i) => D.zones[i].energy_kwh > 0);
  if (!TIMES.length || !ranked.length) return none("loads-chart", "No load in this run.");
  const top = ranked.slice(0, 10);
  const rest = ranked.slice(10);
  onTheme(() => {
    const series = top.map((i, k) => ({ label: zones[i].name || zones[i].zone, color: hue(k), fill: hue(k), values: zones[i].load_kw }));
    if (rest.length) {
      const color = css("--hatch");
      series.push({ label: `other (${rest.length})`, color, fill: color, values: D.run.t_ms.map((_, w) => rest.reduce((sum, i) => sum + (zones[i].load_kw[w] ?? 0), 0)) });
    }
    timePlot("loads-chart", { series, unit: "kW", stacked: true, height: 300, value: (v) => withUnit(v, "kW", 0), label: `Load over time, stacked by zone: ${series.map((one) => one.label).join(", ")}` });
  });
}

function queuePlots() {
  const run = D.run;
  const whole = (v) => number(v, 0);
  byId("spend-unit").textContent = `${D.currency} per ${duration(D.step_ms / 1000)}; below zero where energy was paid for`;
  const plots = [
    ["tasks-chart", { label: "Tasks running, waiting and moving over time", value: whole }, [["Running", 0, run.running], ["Waiting", 1, run.waiting], ["Moving", 4, run.moving]]],
    ["decisions-chart", { label: "Tasks placed, moved and unplaced per window", value: whole }, [["Placed", 2, run.placed], ["Moved", 4, run.moves], ["Unplaced", 3, run.unplaced]]],
    ["spend-chart", { label: "Cost of energy, network and moves per window", value: inMoney }, [["Energy", "--energy", run.cost_energy], ["Network", "--network", run.cost_network], ["Moves", "--moves", run.cost_moves]]],
  ];
  for (const [id, options, series] of plots) {
    onTheme(() => timePlot(id, { ...options, height: 230, series: series.map(([label, color, values]) => ({ label, values, color: typeof color === "string" ? css(color) : hue(color) })) }));
  }
  if (!run.gap.some(isKnown)) return none("gap-chart", "No window of this run has a certified distance.");
  onTheme(() => timePlot("gap-chart", { height: 230, share: true, label: "Certified distance to the optimum over time", value: (v) => percent(v, 2), series: [{ label: "At most", color: css("--accent"), values: run.gap, fill: `color-mix(in srgb, ${css("--accent")} 14%, transparent)` }] }));
}
