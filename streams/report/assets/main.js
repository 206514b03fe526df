// The order of the page.
function followsText() {
  const f = D.follows;
  if (!f) return "No load met a known price in this run.";
  const parts = [`Our load paid ${withUnit(f.paid, PRICE_UNIT)} on average, where the plain mean over zones and time was ${withUnit(f.offered, PRICE_UNIT)}.`];
  if (f.negative_share > 0) parts.push(`${percent(f.negative_share)} of its energy ran at a price below zero.`);
  return parts.join(" ");
}
function queueText() {
  const merged = D.step_ms !== D.window_ms ? ` Each step shows ${number(D.step_ms / D.window_ms, 0)} windows: means of tasks, sums of decisions and cost.` : "";
  return `Local time ${D.offset}.${merged}`;
}
startTheme();
byId("follows-text").textContent = followsText();
byId("queue-text").textContent = queueText();
costBars();
fifthBars();
bandPlot();
waitPlots();
heatMaps();
pricePlot();
loadPlot();
clusterMap();
queuePlots();
zoneTable();
clusterTable();
runTable();
sorting();
document.documentElement.dataset.ready = "yes";
