// Behaviour of the heads' matrix: a click on a head, or on a layer's name for the mean of its heads, draws its map; the slider goes through the layers, and plays.
const root = () => element.querySelector(".heads");
const state = { direction: "text to image", layer: 0, head: 0, timer: 0, seen: null, maps: {}, colors: [] };
const READ = { "text to image": "gets, of a word's attention,", "image to text": "gives the words", "within image": "gets, of a cell's attention," };
const STEP = 900;  // milliseconds of a layer

function start() {
  const heads = root();
  if (!heads || heads === state.seen) return;
  stop();
  Object.assign(state, { direction: "text to image", layer: Number(heads.dataset.layer), head: Number(heads.dataset.head), seen: heads,
    maps: JSON.parse(heads.dataset.maps), colors: JSON.parse(heads.dataset.colors) });
  show();
}

function mapOf() {
  const heads = state.maps[state.direction]?.[state.layer - 1];
  if (!heads) return null;
  return state.head ? heads[state.head - 1] : heads[0].map((_, n) => heads.reduce((sum, head) => sum + head[n], 0) / heads.length);
}

function show() {
  const heads = root();
  if (!heads) return;
  heads.querySelectorAll("table").forEach((table) => { table.hidden = table.dataset.direction !== state.direction; });
  heads.querySelectorAll("button[data-layer]").forEach((button) => {
    const chosen = Number(button.dataset.layer) === state.layer && Number(button.dataset.head) === state.head;
    button.setAttribute("aria-pressed", chosen);
  });
  const map = mapOf(), colors = state.colors, largest = Math.max(...(map || [0]), 1e-9);
  heads.querySelectorAll(".cells i").forEach((cell, n) => {
    cell.style.background = map ? colors[Math.round((colors.length - 1) * map[n] / largest)] : "none";
  });
  const which = `layer ${state.layer}, ${state.head ? `head ${state.head}` : "mean of its heads"}, ${state.direction}`;
  heads.querySelector(".head-said").textContent = map
    ? `${which}: the brightest cell ${READ[state.direction]} ${Number((100 * largest).toPrecision(2))} %`
    : `${which}: no cell takes part`;
  heads.querySelector("[type=range]").value = state.layer;
  heads.querySelector("[type=range]").setAttribute("aria-valuetext", `layer ${state.layer}`);
  heads.querySelector(".play").textContent = state.timer ? "Pause" : "Play";
}

function stop() {
  clearInterval(state.timer);
  state.timer = 0;
}

function play() {
  if (state.timer) { stop(); show(); return; }
  state.timer = setInterval(() => {
    if (!root()?.isConnected) { stop(); return; }
    state.layer = state.layer % Number(root().dataset.layers) + 1;
    show();
  }, STEP);
  show();
}

element.addEventListener("click", (event) => {
  if (event.target.closest(".play")) { play(); return; }
  const head = event.target.closest("button[data-layer]");
  if (!head) return;
  stop();
  Object.assign(state, { layer: Number(head.dataset.layer), head: Number(head.dataset.head) });
  show();
});
element.addEventListener("input", (event) => {
  if (event.target.type === "radio") state.direction = event.target.value;
  if (event.target.type === "range") { stop(); state.layer = Number(event.target.value); }
  show();
});
watch("value", start);
start();
