// Behaviour of the overlay: pointing at a cell or focusing it reads it, arrow keys move, the view and the strength stay when another frame comes.
const cells = () => [...element.querySelectorAll(".cell")];
const said = () => element.querySelector(".cell-said");
const say = (cell) => { const line = said(); if (line) line.textContent = cell ? cell.getAttribute("aria-label") : line.dataset.hint; };
const strength = () => element.querySelector(".strength input");

function makeCurrent(cell) {
  cells().forEach((other) => { other.tabIndex = -1; });
  if (cell) cell.tabIndex = 0;
}

function show() {
  const overlay = element.querySelector(".overlay");
  if (!overlay || !strength()) return;
  overlay.dataset.view = element.dataset.view || "overlay";
  overlay.style.setProperty("--alpha", (element.dataset.strength || 65) / 100);
  strength().value = element.dataset.strength || 65;
  strength().disabled = overlay.dataset.view !== "overlay";
  element.querySelectorAll(".overlay-tools [type=radio]").forEach((choice) => { choice.checked = choice.value === overlay.dataset.view; });
}

function neighbour(cell, key) {
  const row = Number(cell.dataset.row), column = Number(cell.dataset.column);
  const moves = { ArrowLeft: [row, column - 1], ArrowRight: [row, column + 1], ArrowUp: [row - 1, column], ArrowDown: [row + 1, column], Home: [row, 1] };
  if (key === "End") return cells().filter((other) => Number(other.dataset.row) === row).at(-1);
  const place = moves[key];
  return place && element.querySelector(`.cell[data-row="${place[0]}"][data-column="${place[1]}"]`);
}

element.addEventListener("keydown", (event) => {
  const cell = event.target.closest(".cell");
  const next = cell && neighbour(cell, event.key);
  if (!next) return;
  event.preventDefault();
  makeCurrent(next);
  next.focus();
});
for (const kind of ["focusin", "mouseover", "click"]) {
  element.addEventListener(kind, (event) => { const cell = event.target.closest(".cell"); if (cell) say(cell); });
}
element.addEventListener("mouseleave", () => say(document.activeElement?.closest?.(".cell")));
element.addEventListener("input", (event) => {
  if (event.target.type === "radio") element.dataset.view = event.target.value;
  if (event.target.type === "range") element.dataset.strength = event.target.value;
  show();
});
watch("value", show);
show();
