// Behaviour of the clip timeline: pointer and keyboard choose a clip, one Tab stop for all of them, a line follows the player.
const clips = () => [...element.querySelectorAll("button.clip")];
const detail = (text) => { const line = element.querySelector(".tl-detail"); if (line) line.textContent = text || line.dataset.hint; };

function makeCurrent(clip) {
  clips().forEach((other) => { other.tabIndex = -1; });
  if (clip) clip.tabIndex = 0;
}

function neighbour(clip, key) {
  const lanes = [...element.querySelectorAll(".tl-lane:not(.tl-axis)")].map((lane) =>
    [...lane.querySelectorAll("button.clip")].sort((a, b) => parseFloat(a.style.left) - parseFloat(b.style.left)));
  const row = lanes.findIndex((lane) => lane.includes(clip));
  const place = lanes[row].indexOf(clip);
  const middle = (c) => parseFloat(c.style.left) + parseFloat(c.style.width) / 2;
  const nearest = (lane) => lane.reduce((best, c) => (Math.abs(middle(c) - middle(clip)) < Math.abs(middle(best) - middle(clip)) ? c : best));
  const moves = {
    ArrowLeft: () => lanes[row][Math.max(place - 1, 0)],
    ArrowRight: () => lanes[row][Math.min(place + 1, lanes[row].length - 1)],
    Home: () => lanes[row][0],
    End: () => lanes[row].at(-1),
    ArrowUp: () => nearest(lanes[Math.max(row - 1, 0)]),
    ArrowDown: () => nearest(lanes[Math.min(row + 1, lanes.length - 1)]),
  };
  return moves[key] && moves[key]();
}

element.addEventListener("keydown", (event) => {
  const clip = event.target.closest("button.clip");
  const next = clip && neighbour(clip, event.key);
  if (!next) return;
  event.preventDefault();
  makeCurrent(next);
  next.focus();
});
element.addEventListener("click", (event) => {
  const clip = event.target.closest("button.clip");
  if (!clip) return;
  makeCurrent(clip);
  clips().forEach((other) => other.classList.toggle("selected", other === clip));
  trigger("select", { index: [clip.dataset.lane, Number(clip.dataset.clip)] });
});
for (const kind of ["focusin", "mouseover"]) {
  element.addEventListener(kind, (event) => {
    const clip = event.target.closest("button.clip");
    if (clip) detail(clip.getAttribute("aria-label"));
  });
}
element.addEventListener("mouseleave", () => detail(document.activeElement?.closest?.("button.clip")?.getAttribute("aria-label")));

function showPlayer(video) {
  const timeline = element.querySelector(".timeline");
  if (timeline) timeline.style.setProperty("--now", Math.min(1, video.currentTime / Number(timeline.dataset.seconds)));
}
document.addEventListener("timeupdate", (event) => { if (event.target.closest?.("#player")) showPlayer(event.target); }, true);
watch("value", () => makeCurrent(element.querySelector(".tl-lane.chosen button.clip")));
makeCurrent(element.querySelector(".tl-lane.chosen button.clip"));
