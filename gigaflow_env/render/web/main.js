// Puts the parts together: state is the view, the selection, the hidden layers and the chosen level.

const map = buildMap(JSON.parse(byId("data").textContent));
const view = makeView(map.bounds);
const canvas = byId("canvas"),
  ctx = canvas.getContext("2d", { alpha: false });
const hidden = new Set(["names"]);
const settings = {
  colours: {},
  selected: null,
  level: null,
  shown: (layer, level) =>
    !hidden.has(layer) && (level === undefined || settings.level === null || settings.level === level),
};
let here = [],
  kind = "", // of the marks that are listed; empty: all
  waiting = false;

function redraw() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    paint(ctx, map, view, settings);
    showScale();
  });
}

function choose(thing, found = []) {
  if (thing && byId("panel").classList.contains("folded")) fold();
  settings.selected = thing;
  here = found;
  showDetails(map, thing, here, { choose: (other) => choose(other, other && here), go });
  showMarks(map.marks, kind, thing, go);
  redraw();
}

// Selects, and moves there where it's out of sight or has to be seen whole.
function go(thing, whole = false) {
  choose(thing, whole ? here : []);
  const box = boxOfThing(thing),
    free = panelWidth();
  if (!box) return; // an entry of the report without a place
  const low = view.toScreen({ x: box.x0, y: box.y0 }),
    high = view.toScreen({ x: box.x1, y: box.y1 });
  const outside = low.x < free || high.x > view.width || high.y < 0 || low.y > view.height;
  if (whole || outside || high.x - low.x + low.y - high.y < 40) view.fit(box, free, 12);
  redraw();
}

const panelWidth = () => {
  const box = byId("panel").getBoundingClientRect();
  return byId("panel").classList.contains("folded") || box.width > view.width / 2 ? 0 : box.right;
};

function fold() {
  byId("fold").textContent = byId("panel").classList.toggle("folded") ? "+" : "–";
}

function fit() {
  view.fit(map.bounds, panelWidth());
  redraw();
}

function clicked(x, y) {
  const place = view.toMap(x, y);
  const found = thingsAt(map, place.x, place.y, Math.max(signRadius(1 / view.scale), 5 / view.scale), settings.shown);
  // Clicked again at one place, the next thing there.
  const now = settings.selected ? found.findIndex((thing) => thing[1] === settings.selected[1]) : -1;
  choose(found.length ? found[(now + 1) % found.length] : null, found);
}

function hovered(x, y) {
  const place = view.toMap(x, y);
  const lane = thingsAt(map, place.x, place.y, 0, settings.shown).find(([kind]) => kind === "lane");
  const text = `x ${number(place.x + map.origin.x, 2)} m   y ${number(place.y + map.origin.y, 2)} m`;
  byId("cursor").textContent = lane ? `${text}   lane ${lane[1].id}` : text;
}

function showScale() {
  const longest = 140 / view.scale,
    power = 10 ** Math.floor(Math.log10(longest));
  const metres = power * Math.max(...[1, 2, 5].filter((step) => step * power <= longest));
  byId("bar").style.width = `${metres * view.scale}px`;
  byId("metres").textContent = metres < 1000 ? `${+metres.toPrecision(2)} m` : `${metres / 1000} km`;
}

function resized() {
  const first = view.width === 1;
  view.width = canvas.clientWidth;
  view.height = canvas.clientHeight;
  view.ratio = Math.min(window.devicePixelRatio || 1, 2);
  canvas.width = Math.round(view.width * view.ratio);
  canvas.height = Math.round(view.height * view.ratio);
  if (first) fit();
  redraw();
}

function setTheme(dark) {
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  settings.colours = readColours();
  redraw();
}

function start() {
  showFacts(map);
  showKinds(map, (chosen) => {
    kind = chosen;
    showMarks(map.marks, kind, settings.selected, go);
  });
  showMarks(map.marks, kind, null, go);
  showLegend(layersOf(map), hidden, (name, on) => {
    if (on) hidden.delete(name);
    else hidden.add(name);
    redraw();
  });
  if (map.top > 0) {
    byId("levels").hidden = false;
    const names = ["all", ...Array.from({ length: map.top + 1 }, (_, level) => levelName(level))];
    byId("level").replaceChildren(...names.map((name, k) => make("option", { value: String(k - 1), textContent: name })));
    byId("level").onchange = (event) => {
      settings.level = event.target.value === "-1" ? null : Number(event.target.value);
      redraw();
    };
  }
  const field = byId("search");
  const pick = (thing) => {
    showFound([], "", pick);
    go(thing);
  };
  field.oninput = () => showFound(search(map, field.value), field.value, pick);
  field.onkeydown = (event) => {
    if (event.key !== "Enter") return;
    const [first] = search(map, field.value);
    if (first) pick(first);
  };
  byId("in").onclick = () => (view.zoom(1.6), redraw());
  byId("out").onclick = () => (view.zoom(1 / 1.6), redraw());
  byId("fit").onclick = fit;
  byId("theme").onclick = () => setTheme(document.documentElement.dataset.theme !== "dark");
  byId("fold").onclick = fold;
  if (innerWidth <= 640) fold();
  steer(canvas, view, { changed: redraw, clicked, hovered, fit });
  addEventListener("keydown", (event) => {
    if (event.key === "Escape") choose(null);
  });
  addEventListener("resize", resized);
  const system = matchMedia("(prefers-color-scheme: dark)");
  system.onchange = () => setTheme(system.matches);
  setTheme(system.matches);
  resized();
}

start();
