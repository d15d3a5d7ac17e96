// Puts the parts together: a live world or a replay, one clock, one chosen car.

const LAYERS = [
  ["marks", "crashes and goals", true],
  ["lights", "traffic lights", true],
  ["seen", "what the chosen car sees", true],
  ["trails", "trails of all cars", false],
  ["goals", "goals of all cars", false],
  ["numbers", "numbers of the cars", false],
  ["arrows", "direction of lanes", false],
  ["names", "names of lanes", false],
];
const JUMPS = [
  ["collision", "crash", "C"],
  ["offroad", "off road", "O"],
  ["red_light", "red light", "L"],
];
const KEYS = [
  ["space", "play, pause"], [".", "one step"], ["F", "follow the chosen car"], ["N", "next car"], ["Esc", "close"],
  ["+ − 0", "zoom, whole map"], ["D", "drive the chosen car"], ["↑ ↓ ← → or WASD", "gas, brake, steer"],
  ["C O L", "next crash, off road, red light; with shift: before"],
];
const MOODS = { careful: 1, "in between": 0.5, hasty: 0 };
const CAREFUL = ["collision", "offroad", "stop_line", "comfort", "lane_center"];

const canvas = byId("canvas"),
  ctx = canvas.getContext("2d", { alpha: false });
const watch = {
  head: null, tape: null, map: null, view: null, ground: null, at: 0, playing: true, pace: 1, chosen: -1, following: false,
  human: -1, seen: null, shown: null, places: [], layers: new Set(LAYERS.filter(([, , on]) => on).map(([name]) => name)),
  colours: {}, frames: 0, live: null, dirty: true, ended: false,
};

const ICONS = { play: "M5 3V15L15 9Z", pause: "M4 3H7.5V15H4ZM10.5 3H14V15H10.5Z", step: "M4 3V15L11 9ZM12 3H14.5V15H12Z" };
// Drawn, as not every font has these signs.
function icon(name) {
  const svg = document.createElementNS(byId("key").namespaceURI, "svg"),
    path = document.createElementNS(svg.namespaceURI, "path");
  svg.setAttribute("viewBox", "0 0 18 18");
  svg.setAttribute("aria-label", name);
  svg.classList.add("icon");
  path.setAttribute("d", ICONS[name]);
  path.setAttribute("fill", "currentColor");
  svg.append(path);
  return svg;
}

const isLive = () => watch.head.kind === "live";
const settings = {
  colours: {}, selected: null, level: null, warp: null,
  shown: (layer) =>
    !["links", "light", "ways"].includes(layer) && (!["names", "arrows"].includes(layer) || watch.layers.has(layer)),
};

function openClip(number) {
  const { head, bytes } = watch,
    clip = head.clips[number];
  const mapAt = clip.map;
  watch.map = watch.maps[mapAt] ??= buildMap(JSON.parse(textAt(bytes, head.maps[mapAt])));
  const map = watch.map;
  watch.tape = isLive() ? liveTape(clip) : replayTape(clip, bytes);
  watch.offset = { x: clip.origin[0] - map.origin.x, y: clip.origin[1] - map.origin.y };
  const [a, b, c, d] = clip.warp,
    o = watch.offset,
    plain = a === 1 && b === 0 && c === 0 && d === 1;
  const warp = (p) => {
    const x = p.x - o.x,
      y = p.y - o.y;
    return { x: a * x + b * y + o.x, y: c * x + d * y + o.y };
  };
  settings.warp = plain ? null : { matrix: clip.warp, about: o };
  const { x0, y0, x1, y1 } = map.bounds;
  watch.bounds = boxOf([[x0, y0], [x1, y0], [x0, y1], [x1, y1]].map(([x, y]) => warp({ x, y })));
  watch.lines = lightLines(map, clip, warp);
  watch.ground = makeGround(map);
  const fresh = makeView(watch.bounds);
  if (watch.view) Object.assign(fresh, { width: watch.view.width, height: watch.view.height, ratio: watch.view.ratio });
  if (watch.view) Object.assign(watch.view, fresh);
  else watch.view = fresh;
  watch.at = 0;
  watch.ended = false;
  watch.seen = null;
  choose(clip.focus ?? -1);
  if (!isLive() && clip.start !== null && clip.start !== undefined) watch.at = Math.min(watch.tape.last, clip.start / clip.dt);
  byId("seek").max = watch.tape.last;
  byId("name").textContent = head.title ?? clip.title;
  document.title = `${head.title ?? clip.title} - ${map.name}`;
  drawTicks();
  if (watch.view.width > 1) {
    fit();
    if (watch.chosen >= 0) toggleFollow(true);
  }
}

// --- the picture

function frame(now) {
  requestAnimationFrame(frame);
  const elapsed = Math.min(0.25, (now - (watch.before ?? now)) / 1000);
  watch.before = now;
  const tape = watch.tape;
  if (!tape || tape.last < tape.first) return;
  if (isLive()) {
    // One moment behind the newest, so that there is always one to go to; faster where it falls behind.
    const behind = tape.last - watch.at,
      speed = behind > 2.5 ? 1.6 : behind < 0.8 ? 0.75 : 1;
    if (behind > 12) watch.at = tape.last - 1;
    if (!watch.paused) watch.at = Math.min(tape.last, watch.at + (elapsed * watch.pace * speed) / tape.dt);
    else watch.at = Math.min(tape.last, watch.at + (elapsed * 4) / tape.dt);
    watch.at = Math.max(tape.first, watch.at);
  } else if (watch.playing) {
    watch.at = Math.min(tape.last, watch.at + (elapsed * watch.pace) / tape.dt);
    if (watch.at >= tape.last) setPlaying(false);
  }
  if (watch.drawn === watch.at && !watch.dirty) return;
  watch.drawn = watch.at;
  watch.dirty = false;
  draw();
  watch.frames++;
}

function draw() {
  const { tape, view } = watch,
    k = Math.min(Math.floor(watch.at), tape.last),
    u = k < tape.last ? watch.at - k : 0;
  if (watch.following && watch.chosen >= 0) {
    const place = placeOf(tape, k, u, watch.chosen);
    if (place && !place.gone) {
      // Ahead of the car there is more to see.
      const ahead = (place.v * 0.8 * 8) / Math.max(8, view.scale);
      const wanted = { x: place.x + watch.offset.x + ahead * Math.cos(place.h), y: place.y + watch.offset.y + ahead * Math.sin(place.h) };
      // Above the panel of a phone.
      const raised = innerWidth <= 640 && watch.human < 0 ? 0.2 * view.height : 0;
      const far = Math.hypot(wanted.x - view.x, wanted.y - raised / view.scale - view.y),
        share = far > 120 ? 1 : 0.16;
      view.x += share * (wanted.x - view.x);
      view.y += share * (wanted.y - raised / view.scale - view.y);
      if (far > 0.05) watch.dirty = true;
    }
  }
  if (watch.ground.show(ctx, view, settings)) watch.dirty = true;
  if (k !== watch.shownAt) {
    watch.shownAt = k;
    atMoment(k);
  }
  watch.places = paintWorld(ctx, watch.map, view, {
    tape, k, u, offset: watch.offset, lines: watch.lines, colours: watch.colours, chosen: watch.chosen, seen: watch.seen,
    human: watch.human, on: (layer) => watch.layers.has(layer),
  });
  const seconds = k * tape.dt + u * tape.dt;
  byId("clock").textContent = clockText(isLive() ? (tape.moment(k).t ?? 0) * tape.dt : seconds);
  if (!isLive()) byId("seek").value = watch.at;
}

const clockText = (seconds) => `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}.${Math.floor((10 * seconds) % 10)}`;

// Once for each moment that is reached: panels.
function atMoment(k) {
  const { tape } = watch,
    moment = tape.moment(k);
  if (!isLive()) watch.seen = watch.chosen >= 0 && placeOf(tape, k, 0, watch.chosen) ? recordedSeen(tape, k, watch.chosen) : null;
  showCounts(k);
  if (watch.chosen < 0 || !watch.shown) return;
  const row = watch.chosen,
    place = placeOf(tape, k, 0, row);
  if (!place) return;
  const body = tape.bodies[moment.body[row]];
  const live = isLive() ? watch.insight : null;
  const p = isLive() ? live?.p : tape.part("p", k, row);
  const terms = isLive() ? live?.terms : tape.part("terms", k, row);
  watch.shown({
    colour: carColour({ colours: watch.colours, human: watch.human }, moment, row, place),
    name: row === watch.human ? "your car" : `car ${row}${has(moment, row, "rules") ? ", rules" : has(moment, row, "erratic") ? ", erratic" : ""}`,
    body,
    speed: place.v,
    left: moment.left[row],
    p: p ? (isLive() ? p : Array.from(p, (share) => share * STEPS.p)) : null,
    value: isLive() ? live?.value : p ? tape.part("value", k, row)[0] * STEPS.value : null,
    terms: terms ? (isLive() ? terms : Array.from(terms, (amount) => amount * STEPS.terms)) : null,
  });
}

function showCounts(k) {
  const { tape } = watch,
    moment = tape.moment(k);
  let live = 0,
    speed = 0;
  for (let row = 0; row < tape.rows; row++) {
    if (!has(moment, row, "live")) continue;
    live++;
    speed += moment.v[row] * STEPS.v;
  }
  const totals = isLive() ? (watch.totals ?? {}) : {};
  if (!isLive()) {
    for (const event of tape.events) if (event.frame <= k) totals[event.kind] = (totals[event.kind] ?? 0) + 1;
  }
  const goals = (totals.goal ?? 0) + (totals.route_done ?? 0);
  const shown = [["cars", live], ["km/h", live ? Math.round((3.6 * speed) / live) : 0], ["goals", goals], ["crashes", (totals.collision ?? 0) + (totals.offroad ?? 0)]];
  const box = byId("counts");
  if (!box.children.length) box.append(...shown.map(([name]) => make("div", {}, make("dt", { textContent: name }), make("dd"))));
  shown.forEach(([, value], n) => (box.children[n].lastChild.textContent = value));
}

// --- choosing, following, driving

function choose(row) {
  watch.chosen = row;
  watch.seen = null;
  watch.insight = null;
  watch.shown = null;
  const box = byId("inspect");
  box.hidden = row < 0;
  document.body.classList.toggle("inspecting", row >= 0);
  if (row >= 0) watch.shown = buildInspector(box, row, watch.head, () => choose(-1));
  else watch.following = false;
  byId("follow").disabled = row < 0;
  byId("follow").setAttribute("aria-pressed", watch.following);
  watch.live?.("select", { row });
  watch.shownAt = -1;
  watch.dirty = true;
}

function toggleFollow(on = !watch.following) {
  if (on && watch.chosen < 0) nextCar();
  watch.following = on && watch.chosen >= 0;
  byId("follow").setAttribute("aria-pressed", watch.following);
  if (watch.following && watch.view.scale < 5) {
    watch.view.scale = Math.max(innerWidth <= 640 ? 5 : 6.5, watch.view.scale);
    const place = placeOf(watch.tape, Math.min(Math.floor(watch.at), watch.tape.last), 0, watch.chosen);
    if (place) Object.assign(watch.view, { x: place.x + watch.offset.x, y: place.y + watch.offset.y });
  }
  watch.dirty = true;
}

function nextCar() {
  const { tape } = watch,
    k = Math.min(Math.floor(watch.at), tape.last);
  for (let n = 1; n <= tape.rows; n++) {
    const row = (watch.chosen + n + tape.rows) % tape.rows;
    const place = tape.last >= 0 ? placeOf(tape, k, 0, row) : null;
    if (place && !place.wreck) return choose(row);
  }
}

function clicked(x, y) {
  const at = watch.view.toMap(x, y);
  let best = -1,
    nearest = Math.max(3, 16 / watch.view.scale);
  for (const place of watch.places) {
    const far = Math.hypot(place.x + watch.offset.x - at.x, place.y + watch.offset.y - at.y);
    if (far < nearest) [best, nearest] = [place.row, far];
  }
  choose(best);
}

function drive(row) {
  watch.live("drive", { row });
}

// --- panels

function setPlaying(on) {
  watch.playing = on;
  byId("play").replaceChildren(icon(on ? "pause" : "play"));
  if (on && !isLive() && watch.at >= watch.tape.last) watch.at = 0;
  watch.dirty = true;
}

function playPause() {
  if (isLive()) watch.live(watch.paused ? "play" : "pause");
  else setPlaying(!watch.playing);
}

function oneStep() {
  if (isLive()) watch.live("step");
  else {
    setPlaying(false);
    watch.at = Math.min(watch.tape.last, Math.floor(watch.at) + 1);
  }
}

function jump(kind, back) {
  const { tape } = watch,
    events = tape.events.filter((event) => event.kind === kind);
  const now = watch.at + (back ? -0.5 / tape.dt : 2.6 / tape.dt);
  const lead = Math.round(2.5 / tape.dt);
  const found = back ? events.filter((event) => event.frame < now).pop() : events.find((event) => event.frame > now);
  if (!found) return say(`no ${back ? "earlier" : "later"} ${kind.replace("_", " ")}`, 1500);
  watch.at = Math.max(0, found.frame - lead);
  choose(found.row);
  toggleFollow(true);
  setPlaying(true);
}

function drawTicks() {
  const box = byId("ticks"),
    { tape } = watch;
  if (isLive()) return;
  const width = box.clientWidth,
    height = box.clientHeight;
  if (!width) return;
  [box.width, box.height] = [2 * width, 2 * height];
  const pen = box.getContext("2d");
  pen.clearRect(0, 0, 2 * width, 2 * height);
  for (const [kind, colour, tall] of [["red_light", "yellow", 0.5], ["offroad", "off", 0.8], ["collision", "crash", 1]]) {
    pen.fillStyle = watch.colours[colour] ?? "red";
    for (const event of tape.events) {
      if (event.kind !== kind) continue;
      const x = 16 + ((2 * width - 32) * event.frame) / Math.max(1, tape.last);
      pen.fillRect(x - 1.5, 2 * height * (1 - tall), 3, 2 * height * tall);
    }
  }
}

let silence = 0;
function say(text, forMs = 0, hint = false) {
  const box = byId("notice");
  box.classList.toggle("hint", hint);
  box.textContent = text;
  box.hidden = false;
  clearTimeout(silence);
  if (forMs) silence = setTimeout(() => (box.hidden = true), forMs);
}

function slider(name, { low, high, step, value, text, changed }) {
  const input = make("input", { type: "range", min: low, max: high, step, value, name }),
    out = make("output", { textContent: text(value) });
  input.oninput = () => (out.textContent = text(+input.value));
  input.onchange = () => changed(+input.value);
  const row = make("label", { className: "slider" }, make("span", { textContent: name.replaceAll("_", " "), title: name }), input, out);
  row.set = (now) => {
    if (document.activeElement === input && input.matches(":active")) return;
    input.value = now;
    out.textContent = text(now);
  };
  return row;
}

function picker(name, choices, value, changed) {
  const box = make("select", { name }, ...choices.map(([key, text]) => make("option", { value: key, textContent: text, selected: key === value })));
  box.onchange = () => changed(box.value);
  const row = make("label", { className: "slider" }, make("span", { textContent: name }), box);
  row.set = (now) => (box.value = now);
  return row;
}

function buildWorld(state) {
  const percent = (share) => `${Math.round(100 * share)} %`,
    whole = (n) => String(Math.round(n));
  const change = (more) => watch.live("world", more);
  const { agents, erratic, lights, drivers } = state.settings;
  watch.controls = {
    agents: slider("cars", { low: 1, high: state.most, step: 1, value: agents, text: whole, changed: (n) => change({ agents: n }) }),
    erratic: slider("erratic", { low: 0, high: 0.5, step: 0.05, value: erratic, text: percent, changed: (n) => change({ erratic: n }) }),
    lights: picker("lights", [["on", "on"], ["off", "off"]], lights, (text) => change({ lights: text })),
    drivers: picker("drivers", state.choices, drivers, (text) => change({ drivers: text })),
  };
  byId("sliders").replaceChildren(...Object.values(watch.controls));
  const wills = watch.head.coefficients.filter((name) => watch.head.ranges[name][1] > watch.head.ranges[name][0]);
  watch.wills = Object.fromEntries(
    wills.map((name) => {
      const [low, high] = watch.head.ranges[name],
        value = state.conditioning[name];
      const row = slider(name, { low, high, step: (high - low) / 50, value: value ?? (low + high) / 2, text: (n) => String(+n.toPrecision(3)), changed: (n) => watch.live("conditioning", { values: { [name]: n } }) });
      return [name, row];
    }),
  );
  byId("wills").replaceChildren(...Object.values(watch.wills));
  const mood = (name, share) =>
    make("button", {
      textContent: name,
      onclick: () => {
        const values = Object.fromEntries(wills.filter((one) => CAREFUL.includes(one)).map((one) => [one, watch.head.ranges[one][0] + share * (watch.head.ranges[one][1] - watch.head.ranges[one][0])]));
        watch.live("conditioning", { values });
      },
    });
  const drawn = make("button", { textContent: "as drawn", title: "Each car its own, drawn when it starts", onclick: () => watch.live("conditioning", { values: Object.fromEntries(wills.map((name) => [name, null])) }) });
  byId("moods").replaceChildren(...Object.entries(MOODS).map(([name, share]) => mood(name, share)), drawn);
  byId("worldbox").hidden = byId("willbox").hidden = byId("again").hidden = byId("take").hidden = false;
}

// --- a live world

function cameState(state) {
  if (watch.state && state.map !== watch.state.map) return location.reload();
  if (watch.state && state.world !== watch.state.world) {
    // Begun anew: other cars.
    const clip = { ...watch.head.clips[0], rows: state.rows };
    watch.head.clips[0] = clip;
    const view = { x: watch.view.x, y: watch.view.y, scale: watch.view.scale };
    const kept = state.human;
    watch.tape = liveTape(clip);
    watch.at = 0;
    watch.shownAt = -1;
    watch.totals = {};
    choose(kept);
    Object.assign(watch.view, view);
  }
  watch.state = state;
  watch.paused = state.paused;
  watch.pace = state.pace;
  if (!watch.controls) buildWorld(state);
  watch.controls.agents.set(state.settings.agents);
  watch.controls.erratic.set(state.settings.erratic);
  watch.controls.lights.set(state.settings.lights);
  watch.controls.drivers.set(state.settings.drivers);
  for (const [name, row] of Object.entries(watch.wills)) {
    const value = state.conditioning[name],
      [low, high] = watch.head.ranges[name];
    row.set(value ?? (low + high) / 2);
    if (value === null || value === undefined) row.lastChild.textContent = "drawn";
  }
  byId("play").replaceChildren(icon(state.paused ? "play" : "pause"));
  byId("pace").value = String(state.pace);
  if (watch.human !== state.human) {
    watch.human = state.human;
    watch.wheel.set(state.human >= 0);
    if (state.human >= 0) {
      choose(state.human);
      toggleFollow(true);
      say("Arrow keys, WASD or a gamepad. Brake again at a stand to reverse. A double ring: stop there.", 6000, true);
    }
  }
  byId("take").setAttribute("aria-pressed", state.human >= 0);
  byId("take").textContent = state.human >= 0 ? "Let go" : "Drive";
  watch.dirty = true;
}

function cameMoment(message) {
  if (!watch.state || message.world !== watch.state.world) return;
  const { tape } = watch;
  Object.assign(tape.bodies, message.bodies ?? {});
  tape.add(message);
  for (const event of message.events ?? []) tape.events.push({ ...event, frame: tape.last });
  watch.totals = message.totals;
  if (message.score) showScore(message.score);
  byId("score").hidden = !message.score;
  if (tape.last === tape.first) {
    watch.at = tape.first;
    if (watch.chosen < 0 && watch.head.drive && watch.human < 0) {
      watch.head.drive = false;
      watch.live("drive", { row: -1 });
    }
  }
}

function showScore(score) {
  const part = (value, name) => [make("span", {}, make("b", { textContent: value }), make("small", { textContent: ` ${name}` }))];
  byId("score").replaceChildren(
    ...part(`${Math.round(score.speed * 3.6)}`, "km/h"),
    ...part(score.goals, score.goals === 1 ? "goal" : "goals"),
    ...part(score.crashes, score.crashes === 1 ? "crash" : "crashes"),
    ...part(score.red_lights, "red"),
    ...part(`${Math.round(100 * score.comfort)} %`, "comfort"),
    ...part(Math.round(score.points), "points"),
  );
}

// --- start

function setTheme(dark) {
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  settings.colours = watch.colours = readColours();
  const style = getComputedStyle(document.documentElement);
  for (const name of CAR_COLOURS) watch.colours[name] = style.getPropertyValue("--" + name).trim();
  watch.ground?.forget();
  drawKey();
  if (watch.tape) drawTicks();
  watch.shownAt = -1;
  watch.dirty = true;
}

function drawKey() {
  const kinds = [["policy", "trained"], ["rules", "rules"], ["erratic", "erratic"], ["human", "you"], ["wreck", "wreck"]];
  byId("key2").replaceChildren(
    ...kinds.map(([name, text]) => {
      const dot = make("span", { className: "dot", style: "display:inline-block;margin-right:5px;vertical-align:-1px" });
      dot.style.background = `var(--${name})`;
      return make("span", {}, dot, text);
    }),
  );
}

function fit() {
  const panel = byId("panel").getBoundingClientRect(),
    covered = byId("panel").classList.contains("folded") || innerWidth <= 640 ? 0 : panel.right;
  const { view } = watch,
    bar = byId("transport").offsetHeight + 12;
  view.fit(watch.bounds, covered);
  // The bar below covers a part, too.
  view.scale *= Math.max(0.5, (view.height - 60 - bar) / Math.max(1, view.height - 80));
  view.x = (watch.bounds.x0 + watch.bounds.x1) / 2 - (covered - 56) / 2 / view.scale;
  view.y = (watch.bounds.y0 + watch.bounds.y1) / 2 - (bar / 2 - 6) / view.scale;
  watch.following = false;
  byId("follow").setAttribute("aria-pressed", "false");
  watch.dirty = true;
}

function resized() {
  const { view } = watch,
    first = view.width === 1;
  view.width = canvas.clientWidth;
  view.height = canvas.clientHeight;
  view.ratio = Math.min(window.devicePixelRatio || 1, 2);
  canvas.width = Math.round(view.width * view.ratio);
  canvas.height = Math.round(view.height * view.ratio);
  if (first) {
    fit();
    if (watch.chosen >= 0) toggleFollow(true);
  }
  drawTicks();
  watch.dirty = true;
}

function fold() {
  byId("fold").textContent = byId("panel").classList.toggle("folded") ? "+" : "–";
}

function pressed(event) {
  if (event.target instanceof HTMLInputElement && event.target.type !== "range") return;
  if (event.target instanceof HTMLSelectElement || event.ctrlKey || event.metaKey) return;
  const kind = JUMPS.find(([, , letter]) => letter === event.key.toUpperCase());
  if (event.key === " ") playPause();
  else if (event.key === ".") oneStep();
  else if (event.key === "f" || event.key === "F") toggleFollow();
  else if (event.key === "n" || event.key === "N") nextCar();
  else if (event.key === "Escape") choose(-1);
  else if ((event.key === "d" || event.key === "D") && isLive() && watch.human < 0) drive(watch.chosen);
  else if (kind && !isLive()) jump(kind[0], event.shiftKey);
  else return;
  event.preventDefault();
}

async function begin() {
  watch.head = JSON.parse(byId("head").textContent);
  watch.bytes = await inflated(byId("blob").textContent);
  watch.maps = [];
  watch.head.flags.forEach((name, k) => (FLAGS[name] = 1 << k));
  STEPS = watch.head.steps;
  const system = matchMedia("(prefers-color-scheme: dark)");
  system.onchange = () => setTheme(system.matches);
  setTheme(system.matches);
  byId("layers").replaceChildren(
    ...LAYERS.map(([name, title, on]) => {
      const box = make("input", { type: "checkbox", checked: on, name });
      box.onchange = () => {
        if (box.checked) watch.layers.add(name);
        else watch.layers.delete(name);
        watch.ground.forget();
        watch.dirty = true;
      };
      return make("label", {}, box, title);
    }),
  );
  byId("keys").replaceChildren(...KEYS.map(([key, text]) => make("tr", {}, make("th", { textContent: key }), make("td", { textContent: text }))));
  const paces = isLive() ? [0.25, 0.5, 1, 2, 4] : [0.25, 0.5, 1, 2, 4, 8];
  byId("pace").replaceChildren(...paces.map((n) => make("option", { value: String(n), textContent: `${n}×`, selected: n === 1 })));
  byId("pace").onchange = (event) => {
    if (isLive()) watch.live("pace", { pace: +event.target.value });
    else watch.pace = +event.target.value;
  };
  byId("step").append(icon("step"));
  byId("play").onclick = playPause;
  byId("step").onclick = oneStep;
  byId("follow").onclick = () => toggleFollow();
  byId("take").onclick = () => drive(watch.human >= 0 ? null : watch.chosen);
  byId("again").onclick = () => watch.live("again");
  byId("in").onclick = () => (watch.view.zoom(1.6), (watch.dirty = true));
  byId("out").onclick = () => (watch.view.zoom(1 / 1.6), (watch.dirty = true));
  byId("fit").onclick = fit;
  byId("theme").onclick = () => setTheme(document.documentElement.dataset.theme !== "dark");
  byId("fold").onclick = fold;
  if (innerWidth <= 640) fold();
  openClip(0);
  steer(canvas, watch.view, {
    changed: () => {
      watch.dirty = true;
      if (watch.view.dragged) watch.following = false;
    },
    clicked,
    hovered: () => {},
    fit,
  });
  canvas.addEventListener("pointermove", (event) => {
    if (event.buttons && watch.following && Math.hypot(event.movementX, event.movementY) > 3) toggleFollow(false);
  });
  addEventListener("keydown", pressed);
  addEventListener("resize", resized);
  watch.wheel = makeWheel((now) => watch.live?.("wheel", now));
  if (isLive()) {
    byId("facts").textContent = watch.head.about;
    watch.live = connect(watch.head, {
      moment: cameMoment,
      seen: (message) => {
        if (message.row !== watch.chosen) return;
        watch.seen = message.seen;
        watch.insight = message;
        watch.shownAt = -1;
        watch.dirty = true;
      },
      state: cameState,
      failed: (text) => say(text, 4000),
      lost: () => say("The server is gone: start gigaflow-env watch again, and open its address."),
    });
  } else {
    byId("line").hidden = false;
    const { clips } = watch.head;
    byId("facts").textContent = `replay · ${clips.length > 1 ? `${clips.length} clips · ` : ""}${watch.tape.rows} cars · ${clockText(watch.tape.last * watch.tape.dt)}`;
    byId("jumps").replaceChildren(
      ...JUMPS.flatMap(([kind, text]) => [
        make("button", { textContent: `${text} ›`, title: `Next ${text}; with shift the one before`, onclick: (event) => jump(kind, event.shiftKey) }),
      ]),
    );
    if (clips.length > 1) {
      byId("clipline").hidden = false;
      byId("clip").replaceChildren(...clips.map((clip, k) => make("option", { value: String(k), textContent: clip.title })));
      byId("clip").onchange = (event) => {
        openClip(+event.target.value);
        setPlaying(true);
      };
    }
    byId("seek").oninput = (event) => {
      watch.at = +event.target.value;
      watch.shownAt = -1;
      watch.dirty = true;
    };
    setPlaying(true);
  }
  resized();
  requestAnimationFrame(frame);
}

// For a page around this one: whether it can choose a clip.
function started() {
  return Boolean(watch.tape && watch.view);
}

begin();
