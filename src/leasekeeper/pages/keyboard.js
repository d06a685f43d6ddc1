// The keyboard of both pages: / filter, j k rows, enter open, esc back, p hold, ? help.

import { h } from "./dom.js";

const KEYS = [["/", "filter"], ["j  k", "next, previous row"], ["enter", "open the row"], ["esc", "back"], ["p", "hold the page, and let it go"], ["?", "this help"]];

export function help() {
  return h("dialog", { id: "keys", "aria-label": "keyboard", onclick: event => event.target.id === "keys" && event.target.close() },
    h("h2", {}, "Keyboard"),
    h("dl", {}, KEYS.flatMap(([key, what]) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, what)])),
    h("p", { class: "quiet" }, "Every figure says what it means when the pointer or the focus is on it. A table under the pointer stands still."),
    h("button", { type: "button", onclick: event => event.target.closest("dialog").close() }, "Close"));
}

export const showHelp = () => document.getElementById("keys").showModal();

function move(by) {
  const rows = [...document.querySelectorAll("[data-row]")];
  const at = rows.indexOf(document.activeElement.closest?.("[data-row]"));
  rows[Math.max(0, Math.min(rows.length - 1, at < 0 ? 0 : at + by))]?.focus();
}

export function listen({ hold, back }) {
  addEventListener("keydown", event => {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    const typing = event.target.matches("input, textarea, select");
    if (event.key === "Escape") {
      if (typing) event.target.blur();
      else back();
    }
    if (typing) return;
    const row = document.activeElement.matches("[data-row]:not(summary)");
    const todo = {
      "/": () => document.getElementById("filter")?.focus(),
      j: () => move(1),
      k: () => move(-1),
      p: hold,
      "?": showHelp,
      Enter: row ? () => document.activeElement.click() : null,
    }[event.key];
    if (todo) {
      event.preventDefault();
      todo();
    }
  });
}
