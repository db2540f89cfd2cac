const part = (name) => element.querySelector(`#${name}`), steps = JSON.parse(part("tour").dataset.steps);
let at = 0, marked = null;
const open = ({ tab, label }) => {
  const folded = () => [...document.querySelectorAll("#tabs .overflow-dropdown button")].find((button) => button.textContent.trim() === label);
  (document.querySelector(`#tab-${tab}-button`) ?? folded())?.click();  // a narrow page folds most tabs into a menu
};
const mark = (selector, tries) => {  // a tab that opens draws what it holds a little later
  if (part("tour").hidden || steps[at].at !== selector) return;
  const found = document.querySelector(selector);
  if (!found?.checkVisibility()) return tries && setTimeout(mark, 100, selector, tries - 1);
  marked = found;
  marked.classList.add("tour-at");
  marked.scrollIntoView({ block: "center" });
};
const show = (step) => {
  at = step;
  marked?.classList.remove("tour-at");
  part("tour").hidden = false;
  part("tour-title").textContent = steps[at].title;
  part("tour-text").textContent = steps[at].text;
  part("tour-count").textContent = `${at + 1} of ${steps.length}`;
  part("tour-back").disabled = at === 0;
  part("tour-next").textContent = at === steps.length - 1 ? "Done" : "Next";
  open(steps[at]);
  mark(steps[at].at, 50);
};
const close = () => {
  part("tour").hidden = true;
  marked?.classList.remove("tour-at");
  part("open-tour").focus();
};
part("open-tour").addEventListener("click", () => {
  if (!document.querySelector("#answer .big")) document.querySelector("#examples .grid-container button")?.click();  // the tour is of an answer
  show(0);
  part("tour-next").focus();
});
part("tour-back").addEventListener("click", () => show(at - 1));
part("tour-next").addEventListener("click", () => (at === steps.length - 1 ? close() : show(at + 1)));
part("tour-close").addEventListener("click", close);
part("tour").addEventListener("keydown", (key) => {
  if (key.key !== "Escape") return;
  key.stopPropagation();  // elsewhere it stops the model
  close();
});
part("present").addEventListener("click", () => {
  const on = document.body.classList.toggle("presenting");
  part("present").setAttribute("aria-pressed", on);
});
