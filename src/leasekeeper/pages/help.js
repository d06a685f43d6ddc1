// The help about the keyboard, in a dialog.

import { h, render } from "./dom.js";
import { stylesheet } from "./parts.js";

await stylesheet("pages/dialog.css");

const KEYS = { "/": "filter", "j  k": "next, previous row", enter: "open the row", esc: "back", p: "hold the page, and let it go", "?": "this help" };
const dialog = document.createElement("dialog");

export function open() {
  dialog.id = "keys";
  dialog.ariaLabel = "keyboard";
  dialog.onclick = event => void (event.target === dialog && dialog.close());
  document.body.append(dialog);
  render(dialog, [
    h("h2", {}, "Keyboard"),
    h("dl", {}, Object.entries(KEYS).map(([key, what]) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, what)])),
    h("p", { class: "quiet" }, "Every figure says what it means when the pointer or the focus is on it. A table under the pointer stands still."),
    h("button", { type: "button", onclick: () => dialog.close() }, "Close"),
  ]);
  dialog.showModal();
}
