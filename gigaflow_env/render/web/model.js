// The map: lanes as strips of points in metres, cut where their level changes, and what links to what. No drawing here.

const SCALES = [0.01, 0.01, 0.01, 1e-4, 0.01]; // x, y, z, heading, width: the integers of the file format
const TURN = 0.06; // rad between two points of a curve
const KINDS = ["shoulder", "parking", "biking", "driving"]; // painted in this order

function wrapped(angle) {
  return angle - 2 * Math.PI * Math.round(angle / (2 * Math.PI));
}

// Points {x, y, z, h, w, s} along a lane. Between knots: cubic Hermite, tangents as long as the chord.
function sampled(line, origin) {
  const knots = line.map((row) => row.map((n, k) => n * SCALES[k]));
  const points = [];
  let s = 0;
  const add = (x, y, z, h, w) => {
    const last = points[points.length - 1];
    if (last) s += Math.hypot(x - last.x, y - last.y);
    points.push({ x, y, z, h, w, s });
  };
  for (let k = 0; k + 1 < knots.length; k++) {
    const [x0, y0, z0, h0, w0] = knots[k];
    const [x1, y1, z1, h1, w1] = knots[k + 1];
    const dx = x1 - x0,
      dy = y1 - y0,
      chord = Math.hypot(dx, dy),
      way = Math.atan2(dy, dx);
    const turn = Math.abs(wrapped(h0 - way)) + Math.abs(wrapped(h1 - way));
    const steps = Math.min(64, Math.max(1, Math.ceil(turn / TURN)));
    const ax = chord * Math.cos(h0),
      ay = chord * Math.sin(h0),
      bx = chord * Math.cos(h1),
      by = chord * Math.sin(h1);
    for (let i = k === 0 ? 0 : 1; i <= steps; i++) {
      const u = i / steps;
      const x = u * (ax + u * (3 * dx - 2 * ax - bx + u * (ax + bx - 2 * dx)));
      const y = u * (ay + u * (3 * dy - 2 * ay - by + u * (ay + by - 2 * dy)));
      const vx = ax + u * (2 * (3 * dx - 2 * ax - bx) + u * 3 * (ax + bx - 2 * dx));
      const vy = ay + u * (2 * (3 * dy - 2 * ay - by) + u * 3 * (ay + by - 2 * dy));
      add(x0 + x - origin.x, y0 + y - origin.y, z0 + u * (z1 - z0), Math.atan2(vy, vx), w0 + u * (w1 - w0));
    }
  }
  return points;
}

// The point at `s` metres: between two samples straight.
function at(points, s) {
  let low = 0,
    high = points.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (points[middle].s <= s) low = middle;
    else high = middle;
  }
  const a = points[low],
    b = points[high];
  const u = b.s > a.s ? Math.min(1, Math.max(0, (s - a.s) / (b.s - a.s))) : 0;
  const mix = (p, q) => p + u * (q - p);
  return { x: mix(a.x, b.x), y: mix(a.y, b.y), z: mix(a.z, b.z), h: a.h + u * wrapped(b.h - a.h), w: mix(a.w, b.w), s };
}

function between(points, from, to) {
  const inside = points.filter((p) => p.s > from + 0.01 && p.s < to - 0.01);
  return [at(points, from), ...inside, at(points, to)];
}

function boxOf(points, margin = 0) {
  const box = { x0: Infinity, y0: Infinity, x1: -Infinity, y1: -Infinity };
  for (const p of points) {
    box.x0 = Math.min(box.x0, p.x - margin);
    box.y0 = Math.min(box.y0, p.y - margin);
    box.x1 = Math.max(box.x1, p.x + margin);
    box.y1 = Math.max(box.y1, p.y + margin);
  }
  return box;
}

function contains(outline, x, y) {
  let inside = false;
  for (let i = 0, j = outline.length - 1; i < outline.length; j = i++) {
    const a = outline[i],
      b = outline[j];
    if (a.y > y !== b.y > y && x < a.x + ((y - a.y) / (b.y - a.y)) * (b.x - a.x)) inside = !inside;
  }
  return inside;
}

const side = (p, sign) => ({ x: p.x - (sign * Math.sin(p.h) * p.w) / 2, y: p.y + (sign * Math.cos(p.h) * p.w) / 2 });

function buildMap(given) {
  const { map, facts, levels, crosswalk_levels: crosswalkLevels } = given;
  // Map, not objects: a lane may be named "constructor". Near the origin, float32 of the graphics is exact enough.
  const [low, left, high, right] = facts.bounds;
  const origin = { x: Math.round((low + high) / 2), y: Math.round((left + right) / 2) };
  const lanes = new Map(),
    signals = new Map(),
    crosswalks = new Map(),
    junctions = new Map();
  const levelsOf = new Map(Object.entries(levels)),
    zebraLevels = new Map(Object.entries(crosswalkLevels));
  for (const [id, record] of Object.entries(map.lanes)) {
    const points = sampled(record.line, origin);
    const lane = { ...record, id, points, length: points[points.length - 1].s, predecessors: [], pieces: [] };
    for (const [from, to, level] of levelsOf.get(id) ?? [[0, lane.length, 0]]) {
      const center = between(points, from, Math.min(to, lane.length));
      const leftSide = center.map((p) => side(p, 1)),
        rightSide = center.map((p) => side(p, -1));
      const outline = [...leftSide, ...rightSide.slice().reverse()];
      lane.pieces.push({ lane, level, from, to, center, left: leftSide, right: rightSide, outline, box: boxOf(outline) });
    }
    lane.box = boxOf(lane.pieces.flatMap((piece) => piece.outline));
    lanes.set(id, lane);
    if (record.junction !== undefined) {
      if (!junctions.has(record.junction)) junctions.set(record.junction, { id: record.junction, lanes: [] });
      junctions.get(record.junction).lanes.push(lane);
    }
  }
  for (const [id, record] of Object.entries(map.signals)) signals.set(id, { ...record, id, lanes: [] });
  for (const lane of lanes.values()) {
    for (const other of lane.successors) lanes.get(other).predecessors.push(lane.id);
    if (lane.signal !== undefined) signals.get(lane.signal).lanes.push(lane);
  }
  for (const [id, record] of Object.entries(map.crosswalks)) {
    const outline = record.outline.map(([x, y, z]) => ({ x: x * 0.01 - origin.x, y: y * 0.01 - origin.y, z: z * 0.01 }));
    crosswalks.set(id, { id, outline, level: zebraLevels.get(id) ?? 0, box: boxOf(outline), stripes: stripes(outline) });
  }
  const edges = given.edges.flatMap((lines, level) => lines.map((steps) => ({ level, ...edgeOf(steps, origin) })));
  const pieces = [...lanes.values()].flatMap((lane) => lane.pieces);
  pieces.sort((a, b) => a.level - b.level || rank(a.lane) - rank(b.lane));
  const boxes = [...pieces.map((piece) => piece.box), ...[...crosswalks.values()].map((crosswalk) => crosswalk.box)];
  const bounds = boxOf(
    boxes.flatMap((box) => [
      { x: box.x0, y: box.y0 },
      { x: box.x1, y: box.y1 },
    ]),
  );
  const top = Math.max(0, ...new Set(pieces.map((piece) => piece.level)));
  const marks = marksOf(given, lanes, origin);
  return { name: map.name, head: map, facts, origin, lanes, signals, crosswalks, junctions, pieces, edges, bounds, top, marks };
}

// Entries of the report, and problems: where the file names no place, that of the lane they are about, if there is one.
function marksOf({ report, problems }, lanes, origin) {
  const placed = (place, lane) => {
    if (place) return { x: place[0] - origin.x, y: place[1] - origin.y };
    return lanes.has(lane) ? lanes.get(lane).points[0] : null;
  };
  const entry = (found) => ({ ...found, layer: "report", id: `${found.kind} ${found.element}`, about: found.element });
  const problem = (found) => ({ ...found, layer: "problem", id: `${found.kind}: ${found.lane}`, about: found.lane });
  return [...report.map(entry), ...problems.map(problem)].map((mark, number) => ({
    ...mark,
    number,
    place: placed(mark.place, mark.about),
  }));
}

const isMark = ([kind]) => kind === "report" || kind === "problem";

// Centimetres: the first point, then steps.
function edgeOf(steps, origin) {
  const points = [];
  for (let k = 0, x = -100 * origin.x, y = -100 * origin.y; k < steps.length; k += 2) {
    points.push({ x: (x += steps[k]) / 100, y: (y += steps[k + 1]) / 100 });
  }
  return { points, box: boxOf(points) };
}

// Connectors first: the lanes around a junction show their lines.
const rank = (lane) => KINDS.indexOf(lane.kind) + (lane.kind === "driving" && lane.junction === undefined ? 1 : 0);

// Zebra stripes of about 0.5 m across the longest side of a crosswalk, to be clipped by its outline.
function stripes(outline) {
  let way = { x: 1, y: 0, length: 0 };
  for (let i = 0; i < outline.length; i++) {
    const a = outline[i],
      b = outline[(i + 1) % outline.length],
      length = Math.hypot(b.x - a.x, b.y - a.y);
    if (length > way.length) way = { x: (b.x - a.x) / length, y: (b.y - a.y) / length, length };
  }
  const along = outline.map((p) => p.x * way.x + p.y * way.y),
    across = outline.map((p) => p.y * way.x - p.x * way.y);
  const first = Math.min(...along),
    width = Math.max(...along) - first;
  const low = Math.min(...across),
    high = Math.max(...across);
  const count = Math.min(200, Math.max(1, Math.round(width)));
  const place = (u, v) => ({ x: u * way.x - v * way.y, y: u * way.y + v * way.x });
  return Array.from({ length: count }, (_, k) => {
    const a = first + (width * (k + 0.25)) / count,
      b = first + (width * (k + 0.75)) / count;
    return [place(a, low), place(b, low), place(b, high), place(a, high)];
  });
}

// Everything at a place: marks within `reach` metres, signals within `reach` metres of their stop line's middle, lanes from the top down, crosswalks.
function thingsAt(map, x, y, reach, shown) {
  const found = [];
  for (const mark of map.marks) {
    if (mark.place && shown(mark.layer) && Math.hypot(mark.place.x - x, mark.place.y - y) < reach)
      found.push([mark.layer, mark]);
  }
  for (const signal of map.signals.values()) {
    const near = ({ points, pieces }) =>
      shown(signal.kind, pieces[0].level) && Math.hypot(points[0].x - x, points[0].y - y) < reach;
    if (signal.lanes.some(near)) found.push(["signal", signal]);
  }
  for (let k = map.pieces.length - 1; k >= 0; k--) {
    const { box, outline, lane, level } = map.pieces[k];
    if (x < box.x0 || x > box.x1 || y < box.y0 || y > box.y1) continue;
    if (shown(layerOf(lane), level) && contains(outline, x, y) && !found.some(([, other]) => other === lane))
      found.push(["lane", lane]);
  }
  for (const crosswalk of map.crosswalks.values()) {
    if (shown("crosswalk", crosswalk.level) && contains(crosswalk.outline, x, y)) found.push(["crosswalk", crosswalk]);
  }
  return found;
}

const layerOf = (lane) => (lane.kind === "driving" && lane.junction !== undefined ? "junction" : lane.kind);
