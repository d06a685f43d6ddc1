// Tables of the tabs, and what stands there when nothing does.

import { h } from "./dom.js";
import { empty } from "./parts.js";

export const MOST_ROWS = 100;

export function table(kind, heads, rows) {
  return h("table", { class: `list ${kind} hold`, hold: true }, h("thead", {}, h("tr", {}, heads.map(each => h("th", { scope: "col" }, each)))), h("tbody", {}, rows));
}

export const cell = (label, ...kids) => h("td", { "data-label": label }, ...kids);
export const matching = (list, wanted, text) => (wanted ? list.filter(each => text(each).toLowerCase().includes(wanted.toLowerCase())) : list);
export const none = (wanted, title, ...more) => (wanted ? empty(`Nothing matches “${wanted}”.`) : empty(title, ...more));
