// What every part uses: the data, elements made without markup strings, and numbers for readers.
const D = JSON.parse(document.getElementById("data").textContent);
const LAND = JSON.parse(document.getElementById("land").textContent);
const byId = (id) => document.getElementById(id);
const PRICE_UNIT = `${D.currency}/MWh`;
const SVG = "http://www.w3.org/2000/svg";

// Text from the data only ever enters as a text node or an attribute, so no name can become markup.
function make(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}
function draw(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}
function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "style") dress(node, value);
    else if (value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}
function dress(node, style) {
  for (const [name, value] of Object.entries(style)) {
    if (name.startsWith("--")) node.style.setProperty(name, value);
    else node.style[name] = value;
  }
}
function none(id, text) {
  byId(id).removeAttribute("role");
  byId(id).removeAttribute("aria-label");
  byId(id).replaceChildren(make("p", { class: "none" }, text));
}

const isKnown = (value) => typeof value === "number" && Number.isFinite(value);
const minus = (text) => text.replace("-", "−");

function number(value, digits) {
  if (!isKnown(value)) return "unknown";
  const size = Math.abs(value);
  const places = digits ?? (size >= 1000 || Number.isInteger(value) ? 0 : size >= 100 ? 1 : size > 0 && size < 0.1 ? 4 : 2);
  const text = value.toLocaleString("en-US", { minimumFractionDigits: places, maximumFractionDigits: places });
  return minus(/[1-9]/.test(text) ? text : text.replace("-", ""));
}
const money = (value) => (isKnown(value) ? number(value, Math.abs(value) >= 10000 ? 0 : value !== 0 && Math.abs(value) < 0.1 ? 4 : 2) : "unknown");
const inMoney = (value) => (isKnown(value) ? `${money(value)} ${D.currency}` : "unknown");
const withUnit = (value, unit, digits) => (isKnown(value) ? `${number(value, digits)} ${unit}` : "unknown");
const percent = (value, digits = 1) => (isKnown(value) ? `${number(value * 100, digits)} %` : "unknown");

function scaled(value, units) {
  if (!isKnown(value)) return "unknown";
  let i = 0;
  while (Math.abs(value) >= 10000 && i + 1 < units.length) {
    value /= 1000;
    i += 1;
  }
  return `${number(value, Math.abs(value) >= 100 || Number.isInteger(value) ? 0 : 1)} ${units[i]}`;
}
const energy = (kwh) => scaled(kwh, ["kWh", "MWh", "GWh"]);
const mass = (kg) => scaled(kg, ["kg", "t", "kt"]);

function duration(seconds) {
  if (!isKnown(seconds)) return "unknown";
  for (const [limit, size, unit] of [[120, 1, "s"], [7200, 60, "min"], [172800, 3600, "h"], [Infinity, 86400, "d"]]) {
    if (Math.abs(seconds) < limit) {
      const value = seconds / size;
      return `${number(value, value >= 100 || Number.isInteger(value) ? 0 : 1)} ${unit}`;
    }
  }
  return "unknown";
}

// Round steps for an axis from low to high, at most about `most` of them.
function steps(low, high, most) {
  const raw = (high - low) / Math.max(1, most);
  if (!(raw > 0)) return [low];
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((k) => k * power).find((size) => size >= raw);
  const found = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; k += 1) found.push(k * step);
  return found;
}

// The value below which a share of the known values lies.
function quantile(values, share) {
  const sorted = values.filter(isKnown).sort((a, b) => a - b);
  return sorted.length ? sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] : null;
}
