// Tables whose rows keep their elements while their contents change, so that nothing flickers and the focus stays.
// j and k, or the arrows, go from row to row; Enter opens one.

import { h, put } from "./dom.js";

/**
 * A table. `columns`: {name, cell(row) → text or element, className, title}; `key(row)`: what a row is known by;
 * `href(row)`: where it leads; `empty`: what is said without rows.
 */
export function table({ caption, columns, key, href, empty = "Nothing here.", rowClass }) {
  const body = h("tbody");
  const nothing = h("p", { class: "empty", hidden: true }, empty);
  const element = h("div", { class: "table-wrap" },
    h("table", { class: "table" },
      h("caption", { class: "unseen" }, caption),
      h("thead", {}, h("tr", {}, columns.map((column) =>
        h("th", { scope: "col", class: column.className, title: column.title },
          column.name || h("span", { class: "unseen" }, column.label))))),
      body),
    nothing);
  const known = new Map();

  function make(row) {
    const cells = columns.map((column) => h("td", { class: column.className, "data-name": column.name }));
    const tr = h("tr", { class: rowClass, tabindex: href ? -1 : undefined }, cells);
    if (href) {
      tr.dataset.row = "";
      tr.addEventListener("click", (event) => {
        if (event.target.closest("a, button, input, select") || getSelection().toString()) return;
        location.hash = href(tr.row);
      });
      tr.addEventListener("keydown", (event) => {
        if (event.key === "Enter" && event.target === tr) location.hash = href(tr.row);
      });
    }
    return { tr, cells, shown: columns.map(() => undefined) };
  }

  function update(rows) {
    const seen = new Set();
    let before = null;
    for (const row of rows) {
      const id = key(row);
      seen.add(id);
      let entry = known.get(id);
      if (!entry) known.set(id, (entry = make(row)));
      entry.tr.row = row;
      columns.forEach((column, at) => {
        const value = column.cell(row, entry.shown[at]);
        if (value === entry.shown[at]) return;
        entry.shown[at] = value;
        put(entry.cells[at], value ?? "");
      });
      const place = before ? before.nextSibling : body.firstChild;
      if (place !== entry.tr) body.insertBefore(entry.tr, place);
      before = entry.tr;
    }
    for (const [id, entry] of known) {
      if (!seen.has(id)) {
        entry.tr.remove();
        known.delete(id);
      }
    }
    nothing.hidden = rows.length > 0;
    const first = body.querySelector("tr[data-row]");
    if (first && !body.querySelector('tr[data-row][tabindex="0"]')) first.tabIndex = 0;
  }

  element.update = update;
  return element;
}

/** Moves the focus by so many rows of the table on the page. */
export function move(by) {
  const rows = [...document.querySelectorAll("main tr[data-row], main [data-row].row")].filter((row) => row.offsetParent);
  if (rows.length === 0) return false;
  const current = rows.findIndex((row) => row === document.activeElement || row.contains(document.activeElement));
  const at = current < 0 ? (by > 0 ? 0 : rows.length - 1) : Math.max(0, Math.min(rows.length - 1, current + by));
  for (const row of rows) row.tabIndex = row === rows[at] ? 0 : -1;
  rows[at].focus();
  rows[at].scrollIntoView({ block: "nearest" });
  return true;
}

/** A cell that holds an element which is made once and then only set. */
export function kept(make, set) {
  return (row, shown) => {
    const element = shown ?? make(row);
    set(element, row);
    return element;
  };
}
