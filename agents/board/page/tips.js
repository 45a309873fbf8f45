// Explains a term while the pointer is on it or it has the focus. Escape hides the explanation.

import { element, put } from "./tables.js";
import { explanation } from "./texts.js";

const MARGIN = 6; // from the edge of the window; there is none to the term, so that the pointer can move to the explanation
const tip = element("div", { id: "tip", role: "tooltip", hidden: "" });
document.body.append(tip);
let explained = null;

function show(term) {
  if (term === explained) return;
  hide();
  if (!term) return;
  explained = term;
  put(tip, explanation(term.dataset.tip) ?? "");
  term.setAttribute("aria-describedby", tip.id);
  tip.hidden = false;
  place();
}
function place() {
  if (!explained) return;
  const at = explained.getBoundingClientRect(), below = at.bottom + tip.offsetHeight < innerHeight;
  tip.style.left = `${Math.max(MARGIN, Math.min(at.left, document.documentElement.clientWidth - tip.offsetWidth - MARGIN))}px`;
  tip.style.top = `${below ? at.bottom : Math.max(0, at.top - tip.offsetHeight)}px`;
}
function hide() {
  explained?.removeAttribute("aria-describedby");
  explained = null;
  tip.hidden = true;
}
const termOf = (event) => event.target.closest?.("[data-tip]");
document.addEventListener("pointerover", (event) => { if (!tip.contains(event.target)) show(termOf(event) ?? document.activeElement.closest("[data-tip]")); });
document.addEventListener("focusin", (event) => show(termOf(event)));
document.addEventListener("focusout", hide);
document.addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
document.addEventListener("scroll", place, { capture: true, passive: true });
