// What only a fleet has: processes that differ from the others, and processes without consumers.

import { h } from "./dom.js";
import { called, name, pill } from "./parts.js";

// What differs from the median of the processes by more than half, where the values are large enough to mean something.
export function unevenness(parts) {
  const found = new Map(parts.map(each => [each.process.key, new Set()]));
  for (const [about, enough] of [["rate_out", 2], ["lag_p95", 1], ["failures_per_minute", 3]]) {
    const values = parts.map(each => each.consumer[about]).sort((one, other) => one - other);
    const middle = values[values.length >> 1];
    for (const { process, consumer } of parts) {
      const more = consumer[about] - middle;
      const off = about === "rate_out" ? Math.abs(more) : more; // less of the others is no trouble
      if (off > enough && off > middle / 2) found.get(process.key).add(about);
    }
  }
  return found;
}

export function missing(processes) {
  const found = processes.filter(each => !Object.keys(each.consumers).length);
  return found.length
    ? h("section", { class: "missing" }, h("h2", {}, found.some(each => each.state === "UNREACHABLE") ? "Processes that do not answer" : "Processes without consumers"),
        found.map(each => h("p", { key: each.key }, pill(each.state), " ", name(called(each)), " ", h("span", { class: "quiet" }, each.reason || "no consumer declared"))))
    : null;
}
