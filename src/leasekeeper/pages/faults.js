// Faults as switches. Each says what it does now; a changed number applies at once.

import { h } from "./dom.js";
import { counted } from "./text.js";

const OPERATIONS = ["*", "ReceiveMessage", "DeleteMessageBatch", "DeleteMessage", "ChangeMessageVisibilityBatch", "ChangeMessageVisibility", "SendMessage", "SendMessageBatch", "GetQueueAttributes"];
// Kind: the value that the switch sets, its unit, whom it strikes, what happens to them.
const KINDS = {
  latency: [0.2, "seconds", "calls", "take longer: half of it before they take effect"],
  throttle: [0.1, "%", "calls", "are refused with RequestThrottled"],
  unavailable: [0.1, "%", "calls", "are answered with 503, without effect"],
  deny: [1, "%", "calls", "are refused with AccessDenied"],
  reset: [0.05, "%", "calls", "lose their connection, without effect"],
  garbage: [0.05, "%", "calls", "get a 200 that is not JSON, without effect"],
  hang: [0.02, "%", "calls", "are never answered, without effect"],
  lose: [0.02, "%", "calls", "take effect, and are never answered"],
  lose_by_reset: [0.05, "%", "calls", "take effect, and lose their connection"],
  fail_entries: [0.1, "%", "entries of batches", "fail"],
  lose_entries: [0.1, "%", "entries of batches", "take effect and are reported as failed"],
  duplicate: [0.1, "%", "received messages", "stay visible to the next receive"],
  shorten: [0.3, "%", "receives", "return fewer messages than they could"],
  empty: [0.3, "%", "receives", "are empty although there are messages"],
};

export function faults(shown, chosen, { choose, change, clear }) {
  const { dead_polls: deadPolls, ...standing } = shown.faults;
  const now = standing[chosen] || {};
  const apply = (kind, value) => {
    const { [kind]: _, ...others } = now;
    const switches = value ? { ...others, [kind]: value } : others;
    const { [chosen]: __, ...rest } = standing;
    change({ ...rest, ...(Object.keys(switches).length ? { [chosen]: switches } : {}), dead_polls: deadPolls });
  };
  const elsewhere = Object.keys(standing).filter(each => each !== chosen);
  const any = Object.keys(standing).length || deadPolls;
  return h("section", { class: "side-box faults", "aria-label": "faults" },
    h("div", { class: "head" }, h("h2", {}, "Faults"), any ? h("span", { class: "warn" }, `${counted(Object.values(standing).reduce((sum, each) => sum + Object.keys(each).length, 0) + (deadPolls ? 1 : 0), "fault")} on`) : h("span", { class: "quiet" }, "none"), h("span", { class: "gap" }), any ? h("button", { type: "button", onclick: clear }, "All off") : null),
    h("label", {}, "in ", h("select", { "aria-label": "operation", value: chosen, onchange: event => choose(event.target.value) }, OPERATIONS.map(each => h("option", { value: each, selected: each === chosen }, each === "*" ? "all calls" : each)))),
    elsewhere.length ? h("p", { class: "quiet" }, "Also: ", elsewhere.map(each => h("button", { key: each, type: "button", class: "sort", onclick: () => choose(each) }, each === "*" ? "all calls" : each)), chosen === "*" ? null : ". An operation with switches here takes none of those of all calls.") : null,
    h("ul", {}, Object.entries(KINDS).map(([kind, how]) => row(kind, how, now[kind], shown.struck[kind], apply))),
    h("label", { class: "fault" }, toggle(deadPolls, "dead_polls", on => change({ ...standing, dead_polls: on })), h("span", {}, h("b", {}, "dead polls"), h("small", {}, "A long poll whose client has gone still takes messages, until they are visible again."))));
}

function row(kind, [usual, unit, whom, effect], value, struck, apply) {
  const percent = unit === "%";
  const shown = value === undefined ? "" : Array.isArray(value) ? value.join("–") : percent ? Math.round(value * 1000) / 10 : value;
  const says = value === undefined ? `${whom} ${effect}` : percent ? `${shown} % of ${whom} ${effect}` : `${whom} need ${shown} s more, half of it before they take effect`;
  return h("li", { key: kind, class: `fault${value === undefined ? "" : " on"}` },
    toggle(value !== undefined, kind, on => apply(kind, on ? usual : 0)),
    h("span", {}, h("b", {}, kind.replaceAll("_", " ")), h("small", {}, says, value !== undefined && struck ? `; ${counted(struck, "call")} so far` : "")),
    value === undefined || Array.isArray(value) ? null : h("input", { type: "number", min: 0, max: percent ? 100 : 60, step: percent ? 1 : 0.05, "aria-label": `${kind} in ${unit}`, value: shown, onchange: event => apply(kind, percent ? Number(event.target.value) / 100 : Number(event.target.value)) }));
}

function toggle(on, kind, change) {
  return h("button", { type: "button", role: "switch", class: "switch", "aria-checked": String(!!on), "aria-label": kind.replaceAll("_", " "), onclick: () => change(!on) }, h("i"));
}
