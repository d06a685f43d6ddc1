// One tooltip for all figures: what an element with `data-about` means and what to do, on hover and on focus.

const box = Object.assign(document.createElement("div"), { className: "tip", id: "tip", role: "tooltip" });
let shown = null;

export function explain() {
  document.body.append(box);
  for (const kind of ["pointerover", "focusin"]) document.addEventListener(kind, event => show(event.target.closest?.("[data-about]"), kind));
  document.addEventListener("pointerout", event => event.relatedTarget?.closest?.("[data-about]") !== shown && hide());
  document.addEventListener("focusout", hide);
  addEventListener("scroll", hide, { passive: true });
  addEventListener("keydown", event => event.key === "Escape" && hide());
}

async function show(target, kind) {
  if (!target || target === shown || (kind === "focusin" && !target.matches(":focus-visible"))) return;
  hide();
  shown = target;
  const { MEANINGS } = await import("./meanings.js").catch(() => ({ MEANINGS: {} }));
  const found = MEANINGS[target.dataset.about];
  if (!found || shown !== target) return;
  target.setAttribute("aria-describedby", "tip");
  box.replaceChildren(...found.map(text => Object.assign(document.createElement("p"), { textContent: text })));
  box.classList.add("on");
  const at = target.getBoundingClientRect();
  const { offsetWidth: width, offsetHeight: height } = box;
  const below = at.bottom + 8 + height < innerHeight;
  box.style.left = `${Math.max(8, Math.min(innerWidth - width - 8, at.left))}px`;
  box.style.top = `${Math.max(8, below ? at.bottom + 8 : at.top - height - 8)}px`;
}

function hide() {
  shown?.removeAttribute("aria-describedby");
  shown = null;
  box.classList.remove("on");
}
