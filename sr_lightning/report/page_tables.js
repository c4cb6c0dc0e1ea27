"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const root = document.getElementById("main");

/* Everything that comes from runs is text: it reaches the page by textContent alone. */
function make(tag, options = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(options)) {
    if (key === "text") node.textContent = value;
    else if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (value !== null && value !== false) node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children);
  return node;
}

/* Tables that sort by a click or Enter on a head. */
function number(text) {
  const found = /^[+-]?[\d.]+/.exec(text.replace("−", "-").replace(/^inf.*/, "9e99"));
  const factor = { K: 1e3, M: 1e6, G: 1e9, T: 1e12 }[text.slice(-1)] || 1;
  return text === "best" ? 0 : found ? parseFloat(text.startsWith("9e99") ? "9e99" : found[0]) * factor : NaN;
}
function sortBy(table, column, isText) {
  const head = table.tHead.rows[0].cells[column];
  const down = head.getAttribute("aria-sort") === "ascending";
  for (const cell of table.tHead.rows[0].cells) cell.setAttribute("aria-sort", "none");
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  const value = (row) => row.cells[column].textContent;
  const order = (a, b) => {
    const [x, y] = [value(a), value(b)];
    if (isText) return x.localeCompare(y, undefined, { numeric: true }) * (down ? -1 : 1);
    const [m, n] = [number(x), number(y)];
    if (isNaN(m) || isNaN(n)) return isNaN(m) - isNaN(n);
    return (m - n) * (down ? -1 : 1);
  };
  table.tBodies[0].append(...[...table.tBodies[0].rows].sort(order));
}
function table(block) {
  const own = make("table");
  const isText = block.columns.map((name) => block.texts.includes(name));
  const heads = block.columns.map((name, i) =>
    make("th", { scope: "col", class: isText[i] ? "text" : null, "aria-sort": "none" },
      make("button", { type: "button", text: name, onclick: () => sortBy(own, i, isText[i]) })));
  const rows = block.rows.map((row) =>
    make("tr", { class: block.ranks && row[0] === "1" && block.rows.length > 2 ? "best" : null },
      ...row.map((cell, i) => make("td", { class: isText[i] ? "text" : null, text: cell }))));
  own.append(make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}, ...rows));
  return make("div", { class: "scroll" }, own);
}
