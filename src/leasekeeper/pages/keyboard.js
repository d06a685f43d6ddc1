// The keyboard of both pages: / filter, j k rows, enter open, esc back, p hold, ? help.

export const showHelp = () => import("./help.js").then(({ open }) => open());

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
