// One floating note for every plot: a heading and rows of name and figure.
const tip = byId("tip");
function showTip(x, y, heading, rows) {
  const table = make("table", {}, ...rows.map(([name, value]) => make("tr", {}, make("td", {}, name), make("td", {}, value))));
  tip.replaceChildren(make("b", {}, heading), table);
  tip.hidden = false;
  const box = tip.getBoundingClientRect();
  const left = x + 16 + box.width > innerWidth ? x - box.width - 12 : x + 16;
  const top = y + 14 + box.height > innerHeight ? y - box.height - 10 : y + 14;
  tip.style.left = `${Math.max(4, Math.min(left, innerWidth - box.width - 4))}px`;
  tip.style.top = `${Math.max(4, top)}px`;
}
function hideTip() {
  tip.hidden = true;
}
addEventListener("scroll", hideTip, { passive: true });

// A row of alternatives, one of them on; returns the element.
function choices(label, options, current, choose) {
  const buttons = options.map(([value, text]) => make("button", { type: "button", "aria-pressed": String(value === current), "data-value": value }, text));
  for (const button of buttons) {
    button.addEventListener("click", () => {
      for (const other of buttons) other.setAttribute("aria-pressed", String(other === button));
      choose(button.dataset.value);
    });
  }
  return make("div", { class: "seg", role: "group", "aria-label": label }, label, make("span", { class: "options" }, ...buttons));
}
// A row of switches, each on or off by itself.
function switches(label, options, flip) {
  const buttons = options.map(([value, text]) => make("button", { type: "button", "aria-pressed": "true", "data-value": value }, text));
  for (const button of buttons) {
    button.addEventListener("click", () => {
      const on = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", String(on));
      flip(button.dataset.value, on);
    });
  }
  return make("div", { class: "seg", role: "group", "aria-label": label }, label, make("span", { class: "options" }, ...buttons));
}
