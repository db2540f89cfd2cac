// What works everywhere on the page: Ctrl+Enter asks, Esc stops, ? opens the help sheet, which Esc closes; another pooling shows its answer at once.
() => {
  const help = () => document.querySelector("#help-sheet");
  const writes = (element) => element.closest("input:not([type=radio], [type=checkbox], [type=range]), textarea, [contenteditable=true]") !== null;
  const openHelp = () => { if (!help().open) help().showModal(); };
  document.addEventListener("keydown", (key) => {
    if (help()?.open) return;
    if (key.key === "Enter" && (key.ctrlKey || key.metaKey)) document.querySelector("#ask")?.click();
    if (key.key === "Escape") document.querySelector("#ask-stop")?.click();
    if (key.key === "?" && !writes(key.target)) {
      key.preventDefault();
      openHelp();
    }
  });
  document.addEventListener("input", (event) => {  // the answer pooled otherwise is here already; the server's own follows
    const ready = event.target.matches?.("#aggregation input") && document.querySelector(`#answer [data-pooled="${event.target.value}"]`);
    if (ready) document.querySelector("#answer .answer").innerHTML = ready.dataset.answer;
  }, true);
  document.addEventListener("click", (event) => {
    if (event.target.closest?.("#open-help")) openHelp();
    if (event.target === help()) help().close();  // the shade around the sheet
  });
}
