// Tables that can be sorted. A table that does not fit its panel shows the rest of each row below its first line.

import { explanation, n, t } from "./texts.js";

export function put(element, text, name) {
  const value = String(text);
  if (element.textContent !== value) element.textContent = value;
  if (name !== undefined && element.className !== name) element.className = name;
}
// The children of a list or table are reused by position and written when their row changed.
const written = new WeakMap();
export function fill(parent, rows, make, write) {
  while (parent.children.length > rows.length) parent.lastElementChild.remove();
  rows.forEach((row, i) => {
    if (!parent.children[i]) parent.append(make(row));
    const child = parent.children[i], content = JSON.stringify(row);
    if (written.get(child) === content) return;
    write(child, row);
    written.set(child, content);
  });
}
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

const LONG_NAME = 24;

// -- columns ----------------------------------------------------------------------------------------------------------------
// A column has the key of its heading, `by(row)` for sorting, and `cell(row)`: {text, name, chip, note}. Where the table does not fit,
// `place` says where the cell stands: on the "first" line of the row, on a "line" of its own, or among the "rest".

/** Figures, of which those above 0 stand out if they are an `alarm`. */
export const figure = (key, by, { place = "rest", alarm = false, mark } = {}) => ({
  key, by, place, mark, number: true,
  cell: (row) => { const value = by(row); return { text: n(value), name: value ? (alarm ? "alarm" : "") : "zero" }; },
});
/** Text; a long name may be broken into several lines. */
export const words = (key, by, { place = "rest", name = "" } = {}) => ({ key, by, place, cell: (row) => ({ text: by(row), name: name || (by(row).length > LONG_NAME ? "long" : "") }) });

export class Table {
  /** @param id the tbody's; @param columns of which the first names the row; @param sorted is called when the reader sorts the table. */
  constructor(id, columns, sorted = () => {}) {
    this.body = document.getElementById(id);
    this.table = this.body.closest("table");
    this.holder = this.table.parentElement;
    this.columns = columns;
    this.order = null;
    this.rows = [];
    this.most = Infinity;
    this.none = "none";
    this.width = null;
    this.sorted = sorted;
    this.table.setAttribute("role", "table");
    this.body.setAttribute("role", "rowgroup");
    this.table.style.setProperty("--first", columns.filter(({ place }) => place === "first").length);
    this.heads = columns.map((column, i) => {
      const button = element("button", { type: "button" });
      if (column.mark) button.append(element("i", { class: `mark ${column.mark}` }));
      button.append(element("span"));
      button.addEventListener("click", () => this.sort(i));
      return element("th", { scope: "col", role: "columnheader", class: this.classes(i) }, button);
    });
    this.table.prepend(element("thead", { role: "rowgroup" }, element("tr", { role: "row" }, ...this.heads)));
    new ResizeObserver(() => this.fit()).observe(this.holder);
  }

  classes(i) {
    const { number, place, mark } = this.columns[i];
    return [number ? "n" : "", i ? place : "", mark ? "marked" : ""].filter(Boolean).join(" ");
  }

  translate() {
    this.columns.forEach(({ key }, i) => {
      const button = this.heads[i].firstElementChild;
      put(button.querySelector("span"), t(key));
      button.toggleAttribute("data-tip", Boolean(explanation(key)));
      if (explanation(key)) button.dataset.tip = key;
    });
    this.width = null;
  }

  /** The first click sorts figures from the highest and words from the first, the second the other way, the third as before. */
  sort(i) {
    const first = this.columns[i].number ? "descending" : "ascending", second = first === "ascending" ? "descending" : "ascending";
    const direction = this.order?.column !== i ? first : this.order.direction === first ? second : null;
    this.order = direction && { column: i, direction };
    this.heads.forEach((head, j) => (direction && i === j ? head.setAttribute("aria-sort", direction) : head.removeAttribute("aria-sort")));
    this.sorted();
    this.show(this.rows);
  }

  /** The rows in the order that the reader chose; unknown figures are last. */
  arranged() {
    if (!this.order) return this.rows;
    const { by } = this.columns[this.order.column], sign = this.order.direction === "ascending" ? 1 : -1;
    const compare = (a, b) => {
      if ((a ?? null) === null || (b ?? null) === null) return ((a ?? null) === null) - ((b ?? null) === null);
      return sign * (typeof a === "number" ? a - b : String(a).localeCompare(String(b), undefined, { numeric: true }));
    };
    return this.rows.map((row) => [by(row), row]).sort(([a], [b]) => compare(a, b)).map(([, row]) => row);
  }

  /** Shows the first `most` rows. */
  show(rows, most = this.most) {
    this.rows = rows;
    this.most = most;
    this.body.dataset.empty = t(this.body.closest("section").classList.contains("unknown-panel") ? "unknown" : this.none);
    const cells = this.arranged().slice(0, this.most).map((row) => this.columns.map(({ cell }) => cell(row)));
    fill(this.body, cells, () => this.emptyRow(), (tr, row) => row.forEach((cell, i) => this.write(tr.children[i], cell, i)));
    this.table.classList.toggle("empty", !rows.length);
    this.fit();
  }

  emptyRow() {
    return element("tr", { role: "row" }, ...this.columns.map((_, i) => (i ? element("td", { role: "cell" }) : element("th", { scope: "row", role: "rowheader" }))));
  }

  write(cell, { text, name = "", chip, note }, i) {
    const classes = [this.classes(i), name].filter(Boolean).join(" ");
    if (cell.className !== classes) cell.className = classes;
    cell.dataset.label = t(this.columns[i].key);
    if (chip === undefined) return put(cell, text);
    if (!cell.firstElementChild) cell.replaceChildren(element("span"), element("span"));
    put(cell.firstElementChild, text, `chip ${chip}`);
    put(cell.lastElementChild, note ?? "", "with");
  }

  /** Once a table has not fitted, it stays stacked at that width, so that a changing figure does not change the layout. */
  fit() {
    const width = this.holder.clientWidth;
    if (width !== this.width) this.table.classList.remove("stacked");
    if (!this.table.classList.contains("stacked") && this.table.offsetWidth > width) this.table.classList.add("stacked");
    this.width = width;
    this.holder.parentElement.style.setProperty("--content", `${this.table.offsetHeight}px`);
  }
}
