"use strict";
// What the scripts of both pages, of a study and of a probe, stand on: how they draw, their terms and their theme. Plain SVG; all
// numbers are in #data.
const data = JSON.parse(document.getElementById("data").textContent);
const at = (id) => document.getElementById(id);

// --- drawing -----------------------------------------------------------------------------------------------------------

function svg(tag, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "style") element.style.cssText = value; // the page's policy lets scripts set styles only so
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

function chart(id, height, label, children) {
  const width = widthOf(id);
  at(id).replaceChildren(svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label, height }, ...children));
}

const widthOf = (id) => Math.max(300, at(id).clientWidth);
const text = (x, y, shown, more = {}) => svg("text", { x, y, ...more }, shown);
const line = (x1, y1, x2, y2, style) => svg("line", { x1, y1, x2, y2, style });
const percent = (value, digits = 0) => (value == null ? "–" : `${(100 * value).toFixed(digits)}\u00a0%`);
const count = (value, digits = 1) => (value == null ? "–" : value.toLocaleString("en", { maximumFractionDigits: digits }));
const signed = (value, digits) => (value < 0 ? "−" : "+") + Math.abs(value).toFixed(digits);
const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
const known = (values) => values.filter((value) => value != null);

// Steps stand as in the figures: from 0 on, then logarithmically, as the checkpoints do.
function stepScale(steps, left, right) {
  const unit = steps.length > 1 ? steps[1] - steps[0] || 1 : 1;
  const put = (step) => Math.log2(1 + Math.max(step - steps[0], 0) / unit);
  const last = put(steps[steps.length - 1]) || 1;
  return (step) => left + ((right - left) * put(step)) / last;
}

function stepTicks(steps, x, y) {
  const shown = [];
  let before = -Infinity;
  const last = steps[steps.length - 1];
  for (const step of steps) {
    if (x(step) - before < 46 || (step !== last && x(last) - x(step) < 62)) continue;
    before = x(step);
    const anchor = step === last ? "end" : step === steps[0] ? "start" : "middle";
    shown.push(text(before, y, count(step), { "text-anchor": anchor }));
  }
  return shown;
}

function path(steps, values, x, y) {
  let drawn = "";
  let pen = "M";
  steps.forEach((step, i) => {
    if (values[i] == null) { pen = "M"; return; }
    drawn += `${pen}${x(step).toFixed(1)} ${y(values[i]).toFixed(1)}`;
    pen = "L";
  });
  return drawn;
}

function band(curve, x, y) {
  const there = curve.steps.map((_, i) => i).filter((i) => curve.low[i] != null && curve.high[i] != null);
  if (there.length < 2) return "";
  const up = there.map((i) => `${x(curve.steps[i]).toFixed(1)} ${y(curve.high[i]).toFixed(1)}`);
  const down = there.reverse().map((i) => `${x(curve.steps[i]).toFixed(1)} ${y(curve.low[i]).toFixed(1)}`);
  return `M${up.join("L")}L${down.join("L")}Z`;
}

const tinted = (colour, part) => `fill:color-mix(in oklab, var(--${colour}) ${Math.round(4 + 50 * part)}%, var(--paper))`;

function fill(select, entries) {
  const before = select.value;
  select.replaceChildren(...entries.map(([value, shown]) => new Option(shown, value)));
  if (entries.some(([value]) => String(value) === before)) select.value = before;
}

const clip = (token, width) => (token.length * 7 > width ? `${token.slice(0, Math.max(2, Math.floor(width / 7) - 1))}…` : token);

function legend(id, entries) {
  at(id).replaceChildren(...entries.map(([colour, shown]) => {
    const entry = document.createElement("span");
    const box = document.createElement("i");
    box.style.background = `var(--${colour})`;
    entry.append(box, shown);
    return entry;
  }));
}

// --- a heat map ----------------------------------------------------------------------------------------------------------

const HEAD = 92; // room above a map for tilted names

// Layers from the last one down, one column for each of `columns` ({title, strong}). `cellOf(layer, column, width)` says of a cell
// what it is called (`label`), its `style`, the text in it (`shown`, "" for none), and whether Tab stops at it (`reached`).
function heatMap(id, label, columns, layers, row, cellOf, tilted = false) {
  const [left, top] = [58, HEAD];
  const width = (widthOf(id) - left - (tilted ? 40 : 0)) / columns.length;
  const parts = columns.map(({ title, strong }, p) => {
    const x = left + width * (p + 0.5);
    const how = tilted ? { transform: `rotate(-48 ${x} ${top - 8})` } : { "text-anchor": "middle" };
    return text(x, top - 8, clip(title, tilted ? 100 : width), { ...how, class: strong ? "title" : "" });
  });
  for (let l = 0; l < layers; l++) {
    const y = top + row * (layers - 1 - l);
    if (row > 11 || l % 5 === 4 || l === 0) parts.push(text(0, y + row / 2 + 4, `layer ${l + 1}`));
    columns.forEach((_, p) => {
      const cell = cellOf(l, p, width);
      const inside = [svg("rect", { x: left + width * p + 1, y: y + 1, width: Math.max(1, width - 2), height: row - 2, rx: 3, style: cell.style })];
      if (cell.shown) inside.push(text(left + width * (p + 0.5), y + row / 2 + 4, cell.shown, { "text-anchor": "middle", class: "strong" }));
      parts.push(svg("g", { role: "button", tabindex: cell.reached === false ? -1 : 0, "data-column": p, "data-layer": l, "aria-label": cell.label }, ...inside));
    });
  }
  const focus = document.activeElement && document.activeElement.closest(`#${id} [role=button]`);
  const key = focus && `[data-column="${focus.dataset.column}"][data-layer="${focus.dataset.layer}"]`;
  chart(id, top + row * layers + 4, label, parts);
  at(id).firstChild.setAttribute("role", "group");
  if (key) at(id).querySelector(key).focus();
}

// What is done when a cell of a heat map is chosen, by pointer or by Enter and Space: (column, layer).
function chooseIn(id, chosen) {
  for (const event of ["click", "keydown"]) {
    at(id).addEventListener(event, (happened) => {
      const cell = happened.target.closest("[role=button]");
      if (!cell || (event === "keydown" && happened.key !== "Enter" && happened.key !== " ")) return;
      happened.preventDefault();
      chosen(Number(cell.dataset.column), Number(cell.dataset.layer));
    });
  }
}

// --- theme and terms ---------------------------------------------------------------------------------------------------

// Theme: the system's until the button is pressed.
const dark = matchMedia("(prefers-color-scheme: dark)");
const theme = () => document.documentElement.dataset.theme || (dark.matches ? "dark" : "light");
const nameTheme = () => { at("theme").textContent = theme() === "dark" ? "Light" : "Dark"; at("theme").setAttribute("aria-label", `Switch to the ${theme() === "dark" ? "light" : "dark"} theme`); };
at("theme").addEventListener("click", () => { document.documentElement.dataset.theme = theme() === "dark" ? "light" : "dark"; nameTheme(); });
dark.addEventListener("change", nameTheme);
nameTheme();

// Terms: their definition on hover and focus; Escape puts it away, and it stays while the pointer is on it.
const tip = at("tip");
let leaving = 0;
function define(term) {
  clearTimeout(leaving);
  tip.textContent = term.dataset.tip;
  tip.hidden = false;
  const box = term.getBoundingClientRect();
  const left = Math.max(12, Math.min(box.left, innerWidth - tip.offsetWidth - 12));
  const above = box.top > tip.offsetHeight + 70;
  tip.style.left = `${left + scrollX}px`;
  tip.style.top = `${scrollY + (above ? box.top - tip.offsetHeight - 7 : box.bottom + 7)}px`;
}
const leave = () => { leaving = setTimeout(() => { tip.hidden = true; }, 120); };
document.querySelectorAll(".term").forEach((term) => {
  for (const event of ["pointerenter", "focus"]) term.addEventListener(event, () => define(term));
  for (const event of ["pointerleave", "blur"]) term.addEventListener(event, leave);
});
tip.addEventListener("pointerenter", () => clearTimeout(leaving));
tip.addEventListener("pointerleave", leave);
document.addEventListener("keydown", (event) => { if (event.key === "Escape") tip.hidden = true; });
