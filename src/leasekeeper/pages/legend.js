// The legend of the drawn leases: what colours, fills and signs mean.

import { h } from "./dom.js";
import { stylesheet } from "./parts.js";
import { counted, seconds } from "./text.js";

await stylesheet("pages/legend.css");

const swatch = (kind, label) => h("span", {}, h("i", { class: `swatch ${kind}` }), label);

export function legend({ heat, scale, lease, lost, fifo }) {
  return h("div", { class: "legend" },
    h("span", { class: "ramp" }, [0, 1, 2, 3, 4].map(each => h("i", { class: `l${each}` })), ` lease left, 0 to ${seconds(lease)}`),
    heat
      ? h("span", {}, "a square is a number of messages: across lease left, down running time")
      : [swatch("fill", `running, full at ${seconds(scale)}`), swatch("done", "done, waits for its delete"), fifo && swatch("halt", "first of its group, waits"),
         swatch("low", "less than a fifth of its lease left"), swatch("ring", "just extended")],
    swatch("lost", lost ? h("b", { class: "bad" }, `${counted(lost, "lease")} lost`) : "lease lost"));
}
