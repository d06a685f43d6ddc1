// The tab of options: the value in effect, where it comes from, the default.

import { h } from "./dom.js";
import { cell, matching, none, table } from "./list.js";
import { name } from "./parts.js";

const SOURCES = { flag: "command line", environment: "environment", file: "file", code: "code", default: "default" };

export function tab({ route, detail }) {
  const set = each => each.source !== "default";
  const found = matching(detail.options, route.q, each => `${each.name} ${each.value} ${each.source} ${each.text}`).sort((one, other) => set(other) - set(one));
  if (!found.length) return none(route.q, "No options.");
  return table("options", ["option", "value", "from", "default", "what it does"], found.map(each =>
    h("tr", { key: each.name, "data-row": true, tabindex: -1, class: set(each) ? "set" : "" },
      cell("option", h("code", {}, each.name)),
      cell("value", set(each) ? h("b", {}, name(each.value)) : name(each.value || "unset"), each.unit && each.value ? h("small", {}, ` ${each.unit}`) : null),
      cell("from", SOURCES[each.source] || each.source, each.place ? h("small", {}, h("code", {}, name(each.place))) : null),
      cell("default", set(each) ? name(each.default) : ""),
      h("td", { "data-label": "what it does", class: "text" }, each.text.replaceAll("`", "")))));
}
