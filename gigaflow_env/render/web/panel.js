// The panel: facts, search, details, legend. Names of the map get into the page as text only, never as HTML.

function make(tag, more = {}, ...children) {
  const element = Object.assign(document.createElement(tag), more);
  element.append(...children);
  return element;
}

const LISTED = 50; // marks in the list at a time
const byId = (id) => document.getElementById(id);
const number = (value, digits = 1) => value.toFixed(digits);

function describe(map, [kind, thing]) {
  const range = (values, digits, unit) => {
    const low = number(Math.min(...values), digits),
      high = number(Math.max(...values), digits);
    return [`${low === high ? low : `${low} to ${high}`} ${unit}`];
  };
  const lanes = (ids) => (ids.length ? ids.map((id) => ["lane", map.lanes.get(id)]) : ["none"]);
  if (isMark([kind, thing])) {
    const amount = `${+thing.amount?.toPrecision(3)} ${thing.unit}`;
    return [
      ["kind", [thing.kind]],
      ["about", [map.lanes.has(thing.about) ? ["lane", map.lanes.get(thing.about)] : thing.about]],
      ["done", thing.done === undefined ? [] : [thing.done]],
      ["line", thing.line == null ? [] : [String(thing.line)]],
      ["amount", thing.amount == null ? [] : [amount]],
      ["place", [thing.place ? `${number(thing.place.x + map.origin.x)}, ${number(thing.place.y + map.origin.y)} m` : "none"]],
    ].filter(([, values]) => values.length);
  }
  if (kind === "lane") {
    const points = thing.points,
      levels = [...new Set(thing.pieces.map((piece) => piece.level))].sort();
    const rows = [
      ["kind", [thing.kind]],
      ["length", [`${number(thing.length)} m`]],
      [
        "width",
        range(
          points.map((p) => p.w),
          2,
          "m",
        ),
      ],
      ["speed limit", [`${number(thing.speed * 3.6, 0)} km/h (${number(thing.speed)} m/s)`]],
      ["junction", thing.junction === undefined ? ["none"] : [["junction", map.junctions.get(thing.junction)]]],
      ["obeys", thing.signal === undefined ? ["no signal"] : [["signal", map.signals.get(thing.signal)]]],
      ["predecessors", lanes(thing.predecessors), "predecessor"],
      ["successors", lanes(thing.successors), "successor"],
      ["change left", lanes(thing.left === undefined ? [] : [thing.left]), "neighbour"],
      ["change right", lanes(thing.right === undefined ? [] : [thing.right]), "neighbour"],
      [
        "height",
        range(
          points.map((p) => p.z),
          2,
          "m",
        ),
      ],
      ["level", [levels.map((level) => levelName(level)).join(", ")]],
    ];
    return thing.kind === "driving" ? rows : rows.filter(([, shown]) => shown[0] !== "none");
  }
  if (kind === "signal") {
    const others = [...map.signals.values()].filter(
      (other) => other.group === thing.group && other !== thing && thing.group !== "",
    );
    return [
      ["kind", [{ light: "traffic light", stop: "stop sign", yield: "give way" }[thing.kind]]],
      ["group", [thing.group || "none"]],
      ...(thing.kind === "light" ? [["program", thing.program ? shownPhases(thing.program) : ["made, see lights=program"]]] : []),
      ["lanes", lanes(thing.lanes.map((lane) => lane.id))],
      ["same group", others.length ? others.map((other) => ["signal", other]) : ["none"]],
    ];
  }
  if (kind === "junction") {
    const signals = [...new Set(thing.lanes.map((lane) => lane.signal).filter((id) => id !== undefined))];
    return [
      ["lanes", lanes(thing.lanes.map((lane) => lane.id))],
      ["signals", signals.length ? signals.map((id) => ["signal", map.signals.get(id)]) : ["none"]],
    ];
  }
  const { x0, y0, x1, y1 } = thing.box;
  return [
    ["corners", [String(thing.outline.length)]],
    ["extent", [`${number(x1 - x0)} m x ${number(y1 - y0)} m`]],
    ["level", [levelName(thing.level)]],
  ];
}

const shownPhases = ({ phases }) => [phases.map(([colour, seconds]) => `${colour} ${seconds} s`).join(", ")];

const levelName = (level) => (level === 0 ? "ground" : level === 1 ? "bridge" : `bridge, level ${level}`);

function boxOfThing([kind, thing]) {
  if (kind === "lane" || kind === "crosswalk") return thing.box;
  if (isMark([kind, thing])) return thing.place ? boxOf([thing.place], 20) : null;
  const corners = thing.lanes.flatMap(({ box }) => [
    { x: box.x0, y: box.y0 },
    { x: box.x1, y: box.y1 },
  ]);
  return boxOf(corners, 5);
}

// `choose(thing)` selects, `go(thing)` also moves there.
function showDetails(map, selected, here, { choose, go }) {
  const section = byId("details");
  section.replaceChildren();
  section.hidden = !selected;
  if (!selected) return;
  const button = (thing, act) => make("button", { textContent: thing[1].id, title: thing[0], onclick: () => act(thing) });
  if (here.length > 1) {
    const others = here.filter((thing) => thing[1] !== selected[1]);
    section.append(make("div", { className: "here" }, "also here: ", ...others.map((thing) => button(thing, choose))));
  }
  section.append(make("h2", {}, `${selected[0]} ${selected[1].id}`));
  const table = make("table");
  for (const [name, values, colour] of describe(map, selected)) {
    const head = make("th");
    if (colour) {
      const mark = make("span", { className: "mark" });
      mark.style.background = `var(--${colour})`;
      head.append(mark);
    }
    head.append(name);
    const cells = values.map((value) => (typeof value === "string" ? value : button(value, go)));
    table.append(make("tr", {}, head, make("td", {}, ...cells)));
  }
  section.append(
    table,
    make("button", { textContent: "Show whole", onclick: () => go(selected, true) }),
    " ",
    make("button", { textContent: "Close", onclick: () => choose(null) }),
  );
}

// The list of marks of the chosen kind, and the number of the chosen one among them.
function showMarks(marks, kind, selected, go) {
  const of = marks.filter((mark) => !kind || mark.layer + " " + mark.kind === kind);
  const now = selected ? of.indexOf(selected[1]) : -1;
  byId("at").value = now < 0 ? `${of.length}` : `${now + 1} of ${of.length}`;
  const button = (mark) => {
    const row = make("button", { textContent: mark.id, onclick: () => go([mark.layer, mark]) });
    if (now >= 0 && of[now] === mark) row.style.borderColor = "var(--accent)";
    return make("li", {}, row);
  };
  const first = Math.max(0, Math.min(now - 2, of.length - LISTED));
  const rows = of.slice(first, first + LISTED).map(button);
  if (of.length > LISTED) rows.push(make("li", { textContent: `${LISTED} of ${of.length}` }));
  byId("listed").replaceChildren(...rows);
  const step = (by) => () => {
    const next = of[now < 0 ? (by > 0 ? 0 : of.length - 1) : (now + by + of.length) % of.length];
    if (next) go([next.layer, next]);
  };
  byId("before").onclick = step(-1);
  byId("after").onclick = step(1);
}

// How many there are, and their kinds to choose from.
function showKinds(map, chosen) {
  const count = (layer) => map.marks.filter((mark) => mark.layer === layer).length;
  byId("marks").hidden = map.marks.length === 0;
  byId("counted").textContent = `Import report (${count("report")}), problems (${count("problem")})`;
  const kinds = [...new Set(map.marks.map((mark) => `${mark.layer} ${mark.kind}`))];
  const option = (value, textContent) => make("option", { value, textContent });
  byId("kinds").replaceChildren(option("", "all"), ...kinds.map((kind) => option(kind, kind.replace(" ", ": "))));
  byId("kinds").onchange = (event) => chosen(event.target.value);
}

function search(map, text) {
  const wanted = text.trim().toLowerCase();
  if (!wanted) return [];
  const found = [];
  for (const [kind, things] of [
    ["lane", map.lanes],
    ["signal", map.signals],
    ["junction", map.junctions],
    ["crosswalk", map.crosswalks],
  ]) {
    for (const thing of things.values()) {
      const place = thing.id.toLowerCase().indexOf(wanted);
      if (place >= 0 && (kind !== "signal" || thing.lanes.length))
        found.push({ thing: [kind, thing], rank: thing.id.length + (place ? 1000 : 0) });
    }
  }
  return found
    .sort((a, b) => a.rank - b.rank)
    .slice(0, 12)
    .map(({ thing }) => thing);
}

// `text` is what was searched for: nothing found must not look like nothing searched.
function showFound(things, text, go) {
  const button = (thing) => make("button", { textContent: `${thing[0]} ${thing[1].id}`, onclick: () => go(thing) });
  const rows = things.map((thing) => make("li", {}, button(thing)));
  if (!rows.length && text.trim()) rows.push(make("li", { className: "none", textContent: "no match" }));
  byId("found").replaceChildren(...rows);
}

// Layers: name, title, and the picture of its key as SVG shapes [tag, attributes]. Only what the map has is listed.
function layersOf(map) {
  const box = (name) => [
    ["rect", { x: 0, y: 1, width: 26, height: 12, rx: 2, fill: `var(--${name})`, stroke: "var(--edge)" }],
  ];
  const bar = (name) => ["path", { d: "M13 0V14", stroke: `var(--${name})`, "stroke-width": 3 }];
  const lanes = [...map.lanes.values()],
    signals = [...map.signals.values()];
  const has = (layer) => lanes.some((lane) => layerOf(lane) === layer);
  const obeyed = (kind) => signals.some((signal) => signal.kind === kind && signal.lanes.length);
  return [
    ["driving", "driving lane", box("driving"), has("driving")],
    ["junction", "driving lane in a junction", box("junction"), has("junction")],
    ["shoulder", "shoulder", box("shoulder"), has("shoulder")],
    ["parking", "parking", box("parking"), has("parking")],
    ["biking", "bicycle lane", box("biking"), has("biking")],
    ["edges", "road edge, bold on bridges", [["path", { d: "M0 7H26", stroke: "var(--edge)", "stroke-width": 2 }]], true],
    [
      "markings",
      "borders, dashed: lane change",
      [
        ...box("driving"),
        ["path", { d: "M0 4H26", stroke: "var(--border)" }],
        ["path", { d: "M0 10H26", stroke: "var(--border)", "stroke-dasharray": "6 4" }],
      ],
      true,
    ],
    [
      "arrows",
      "direction of travel",
      [...box("driving"), ["path", { d: "M20 7L13 3V6H6V8H13V11Z", fill: "var(--arrow)" }]],
      true,
    ],
    [
      "ways",
      "way through a junction",
      [
        ...box("junction"),
        ["path", { d: "M0 12Q13 12 24 3", stroke: "var(--connector)", fill: "none", "stroke-width": 1.5 }],
      ],
      has("junction"),
    ],
    [
      "links",
      "link of lanes; square: no link",
      [
        ["circle", { cx: 6, cy: 7, r: 3, fill: "var(--joint)" }],
        ["rect", { x: 16, y: 3, width: 7, height: 7, fill: "var(--end)" }],
      ],
      true,
    ],
    [
      "light",
      "traffic light, its stop line",
      [bar("light"), ["circle", { cx: 13, cy: 7, r: 5, fill: "var(--light)", stroke: "#fff" }]],
      obeyed("light"),
    ],
    [
      "stop",
      "stop sign, its stop line",
      [bar("stop"), ["path", { d: "M10 2H16L19 5V9L16 12H10L7 9V5Z", fill: "var(--stop)", stroke: "#fff" }]],
      obeyed("stop"),
    ],
    [
      "yield",
      "give way, its line",
      [bar("yield"), ["path", { d: "M7 3H19L13 13Z", fill: "var(--yield)", stroke: "#fff" }]],
      obeyed("yield"),
    ],
    [
      "crosswalk",
      "crosswalk",
      [...box("driving"), ["path", { d: "M4 1V13M10 1V13M16 1V13M22 1V13", stroke: "var(--zebra)", "stroke-width": 3 }]],
      map.crosswalks.size > 0,
    ],
    [
      "report",
      "repaired or left out when imported",
      [["path", { d: "M13 1L19 7L13 13L7 7Z", fill: "var(--report)", stroke: "#fff" }]],
      map.marks.some(({ layer }) => layer === "report"),
    ],
    [
      "problem",
      "dead end, out of reach, trap, steep, tight",
      [["path", { d: "M13 1L19 5L17 12H9L7 5Z", fill: "var(--problem)", stroke: "#fff" }]],
      map.marks.some(({ layer }) => layer === "problem"),
    ],
    ["names", "lane ids (near)", [["text", { x: 1, y: 12, fill: "var(--ink)", "font-size": 12, children: "id" }]], true],
  ].filter(([, , , present]) => present);
}

function showLegend(layers, hidden, toggled) {
  const svg = (tag, { children, ...attributes }) => {
    const element = document.createElementNS(byId("key").namespaceURI, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    if (children) element.append(children);
    return element;
  };
  byId("legend").replaceChildren(
    ...layers.map(([name, title, key]) => {
      const box = make("input", { type: "checkbox", checked: !hidden.has(name), name });
      box.onchange = () => toggled(name, box.checked);
      const picture = svg("svg", { viewBox: "0 0 26 14" });
      picture.append(...key.map(([tag, attributes]) => svg(tag, attributes)));
      return make("label", {}, box, picture, title);
    }),
  );
}

function showFacts(map) {
  const facts = map.facts,
    count = (n, name) => `${n} ${name}${n === 1 ? "" : "s"}`;
  document.title = `${map.name} - road map`;
  byId("name").textContent = map.name;
  byId("facts").textContent = [
    `${number(facts.lane_km, 2)} lane-km`,
    count(facts.lanes, "lane"),
    count(facts.junctions, "junction"),
    count(facts.traffic_lights, "light"),
    facts.left_hand ? "left-hand traffic" : "right-hand traffic",
  ].join(" · ");
  const rows = [
    ["links", String(facts.links)],
    ["largest gap of a link", `${number(facts.max_link_gap_m * 1000, 0)} mm`],
    ["largest component", `${number(facts.largest_component * 100)} %`],
    ["light programs of the file", String(facts.light_programs_of_the_file)],
    ["stop signs", String(facts.stop_signs)],
    ["give way signs", String(facts.yield_signs)],
    ["stop lines", String(facts.stop_lines)],
    ["crosswalks", String(facts.crosswalks)],
    ["source", map.head.source],
    ["licence", map.head.licence],
    ["attribution", map.head.attribution],
  ];
  byId("about").replaceChildren(
    ...rows
      .filter(([, value]) => value)
      .map(([name, value]) => make("tr", {}, make("th", { textContent: name }), make("td", { textContent: value }))),
  );
}
