// The report of a benchmark: suite, types, scenes, worst first; a click plays a scene in the replay page that lies packed in here.

const byId = (id) => document.getElementById(id);
const report = { data: null, frame: null, open: -1 };

function make(tag, given = {}, ...children) {
  const found = Object.assign(document.createElement(tag), given);
  found.append(...children);
  return found;
}

const row = (cells, tag = "td") => make("tr", {}, ...cells.map((cell) => (cell instanceof Node ? cell : make(tag, { textContent: cell }))));

function figures() {
  const { columns, figures } = report.data;
  byId("figures").replaceChildren(
    make("thead", {}, row(["", ...columns], "th")),
    make(
      "tbody",
      {},
      ...figures.map((line) =>
        row([
          line.name,
          ...line.cells.map((cell) => make("td", {}, cell.value, ...(cell.interval ? [make("small", { textContent: cell.interval })] : []), ...(cell.n ? [make("small", { textContent: cell.n })] : []))),
          ...(line.published === null ? [] : [make("td", { className: "published", textContent: line.published })]),
        ]),
      ),
    ),
  );
}

function sceneRow(scene, width) {
  const name = scene.clip === null ? make("span", { textContent: scene.name }) : make("button", { className: "play", textContent: scene.name, title: "Play this scene" });
  if (scene.clip !== null) name.onclick = () => play(scene.clip);
  const line = row([make("td", {}, name), ...scene.cells.slice(0, width)]);
  line.classList.toggle("wrong", scene.wrong);
  return line;
}

function scenes() {
  const wanted = byId("find").value.trim().toLowerCase(),
    bad = byId("bad").checked;
  let shown = 0;
  const parts = report.data.types.map((type) => {
    const some = type.scenes.filter((scene) => scene.name.toLowerCase().includes(wanted) && (!bad || scene.wrong));
    shown += some.length;
    const head = make("summary", { textContent: `${type.name} · ${some.length} of ${type.scenes.length}${type.mean ? ` · ${type.mean}` : ""}` });
    const body = make("tbody", {}, ...some.map((scene) => sceneRow(scene, type.columns.length)));
    const table = make("table", {}, make("thead", {}, row(["scene", ...type.columns], "th")), body);
    return make("details", { className: "type", open: true }, head, make("div", { className: "wide" }, table));
  });
  byId("types").replaceChildren(...parts);
  byId("matches").textContent = `${shown} shown, worst first`;
}

function play(clip) {
  const stage = byId("stage");
  stage.hidden = false;
  report.open = clip;
  if (report.frame) {
    report.frame.contentWindow.openClip(clip);
    report.frame.contentWindow.setPlaying(true);
    return;
  }
  report.frame = make("iframe", { title: "replay" });
  report.frame.onload = () => later(clip);
  report.frame.srcdoc = JSON.parse(byId("viewer").textContent);
  stage.append(report.frame);
}

// The replay unpacks its data first; then it can be told which clip to show.
function later(clip) {
  const inside = report.frame.contentWindow;
  if (!inside.started?.()) return setTimeout(() => later(clip), 30);
  if (clip) inside.openClip(clip);
  inside.focus();
  inside.addEventListener("keydown", (event) => event.key === "Escape" && back());
}

function back() {
  byId("stage").hidden = true;
  report.frame?.contentWindow.setPlaying?.(false);
}

function begin() {
  report.data = JSON.parse(byId("data").textContent);
  const { data } = report;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const theme = () => (document.documentElement.dataset.theme = dark.matches ? "dark" : "light");
  dark.onchange = theme;
  theme();
  document.title = byId("title").textContent = data.title;
  byId("facts").textContent = data.facts;
  byId("settings").textContent = data.settings;
  byId("grey").hidden = !data.grey;
  byId("grey").textContent = data.grey ?? "";
  figures();
  scenes();
  byId("find").oninput = byId("bad").onchange = scenes;
  byId("back").onclick = back;
  addEventListener("keydown", (event) => event.key === "Escape" && back());
  byId("leftbox").hidden = !data.left.length;
  byId("left").replaceChildren(...data.left.map((one) => row([one.scene, one.reason])));
}

begin();
