// One picture of the map on the canvas: level by level, so that a bridge covers what it crosses; then the marks on top.

const COLOURS = [
  "paper",
  "ink",
  "faint",
  "driving",
  "junction",
  "shoulder",
  "parking",
  "biking",
  "ghost",
  "border",
  "edge",
  "connector",
  "arrow",
  "zebra",
  "light",
  "stop",
  "yield",
  "joint",
  "end",
  "selected",
  "successor",
  "predecessor",
  "neighbour",
  "report",
  "problem",
];
const ARROW_EVERY = 15; // m, and 70 pixels
const ARROW = [
  [0.6, 0],
  [0, 0.33],
  [0, 0.1],
  [-0.6, 0.1],
  [-0.6, -0.1],
  [0, -0.1],
  [0, -0.33],
]; // on a lane of width 1

function readColours() {
  const style = getComputedStyle(document.documentElement);
  return Object.fromEntries(COLOURS.map((name) => [name, style.getPropertyValue("--" + name).trim()]));
}

function pathOf(points, closed) {
  const path = new Path2D();
  points.forEach((p, k) => (k ? path.lineTo(p.x, p.y) : path.moveTo(p.x, p.y)));
  if (closed) path.closePath();
  return path;
}

// Paths are made when first drawn and kept with what they belong to.
function kept(owner, name, make) {
  return (owner["path_" + name] ??= make());
}

function paint(ctx, map, view, settings) {
  const { colours, shown, level: only } = settings;
  const ratio = view.ratio,
    pixel = 1 / view.scale; // metres
  ctx.setTransform(1, 0, 0, 1, 0, 0);
  ctx.globalAlpha = 1;
  ctx.fillStyle = colours.paper;
  ctx.fillRect(0, 0, ctx.canvas.width, ctx.canvas.height);
  const k = view.scale * ratio;
  const [a, b, c, d] = settings.warp?.matrix ?? [1, 0, 0, 1], // the image of the map in a map variant
    about = settings.warp?.about ?? { x: 0, y: 0 };
  const left = about.x - a * about.x - b * about.y - view.x,
    up = about.y - c * about.x - d * about.y - view.y;
  ctx.setTransform(a * k, -c * k, b * k, -d * k, (view.width * ratio) / 2 + left * k, (view.height * ratio) / 2 - up * k);
  ctx.lineJoin = "bevel"; // three times as fast as round ones
  const window = settings.warp ? { x0: -Infinity, y0: -Infinity, x1: Infinity, y1: Infinity } : view.window(10);
  const seen = ({ box }) => box.x1 > window.x0 && box.x0 < window.x1 && box.y1 > window.y0 && box.y0 < window.y1;
  const pieces = map.pieces.filter((piece) => seen(piece) && shown(layerOf(piece.lane)));
  const crosswalks = shown("crosswalk") ? [...map.crosswalks.values()].filter(seen) : [];
  ctx.fillStyle = ctx.strokeStyle = colours.ghost;
  ctx.lineWidth = 0.8 * pixel;
  for (const piece of pieces) if (only !== null && piece.level !== only) paintPiece(ctx, piece);
  for (let level = 0; level <= map.top; level++) {
    const here = pieces.filter((piece) => piece.level === level);
    if (only !== null && only !== level) continue;
    paintRoad(ctx, here, pixel, colours, shown);
    if (shown("edges"))
      paintEdges(
        ctx,
        map.edges.filter((edge) => edge.level === level && seen(edge)),
        pixel,
        colours,
        level,
      );
    for (const crosswalk of crosswalks) if (crosswalk.level === level) paintCrosswalk(ctx, crosswalk, pixel, colours);
    if (shown("arrows")) paintArrows(ctx, here, pixel, colours);
    paintStopLines(ctx, map, here, pixel, colours, shown);
  }
  paintSelection(ctx, map, settings, pixel);
  const lifted = (piece) => only === null || piece.level === only;
  const lanes = [...map.lanes.values()].filter((lane) => seen(lane) && shown(layerOf(lane)));
  if (shown("links")) paintLinks(ctx, map, lanes, lifted, pixel, colours);
  paintSigns(
    ctx,
    map,
    lanes.filter((lane) => lifted(lane.pieces[0])),
    pixel,
    colours,
    shown,
  );
  paintMarks(ctx, map.marks, settings, pixel);
  if (shown("names"))
    paintNames(
      ctx,
      lanes.filter((lane) => lane.pieces.some(lifted)),
      view,
      colours,
    );
}

function paintRoad(ctx, pieces, pixel, colours, shown) {
  ctx.lineWidth = 0.8 * pixel; // hides the seams
  for (const piece of pieces) {
    ctx.fillStyle = ctx.strokeStyle = colours[layerOf(piece.lane)];
    paintPiece(ctx, piece);
  }
  if (shown("markings") && pixel < 0.9) {
    ctx.strokeStyle = colours.border;
    ctx.lineWidth = Math.max(0.15, 0.7 * pixel);
    for (const piece of pieces) {
      if (piece.lane.junction !== undefined || piece.lane.kind === "shoulder") continue; // its outer side is the road's edge
      for (const [name, beside] of [
        ["left", piece.lane.left],
        ["right", piece.lane.right],
      ]) {
        ctx.setLineDash(beside === undefined ? [] : [4, 6]); // metres: a lane change is permitted
        ctx.lineDashOffset = piece.from;
        ctx.stroke(kept(piece, name, () => pathOf(piece[name])));
      }
    }
    ctx.setLineDash([]);
  }
  if (!shown("ways")) return;
  ctx.strokeStyle = ctx.fillStyle = colours.connector;
  ctx.lineWidth = Math.max(0.12, 0.8 * pixel);
  for (const piece of pieces) {
    if (layerOf(piece.lane) !== "junction") continue;
    ctx.stroke(kept(piece, "center", () => pathOf(piece.center)));
    if (pixel < 0.25 && piece.to - piece.from > 3) {
      const tip = at(piece.lane.points, piece.from + 0.62 * (piece.to - piece.from));
      arrowhead(ctx, tip, Math.max(0.9, 5 * pixel));
    }
  }
}

function paintEdges(ctx, edges, pixel, colours, level) {
  ctx.strokeStyle = colours.edge;
  ctx.lineWidth = level ? Math.max(2 * pixel, 0.45) : Math.max(pixel, 0.2); // a bridge has a parapet
  for (const edge of edges) ctx.stroke(kept(edge, "line", () => pathOf(edge.points)));
}

function paintPiece(ctx, piece) {
  const path = kept(piece, "outline", () => pathOf(piece.outline, true));
  ctx.fill(path);
  ctx.stroke(path);
}

function arrowhead(ctx, { x, y, h }, size) {
  const cos = Math.cos(h) * size,
    sin = Math.sin(h) * size;
  ctx.beginPath();
  ctx.moveTo(x + cos, y + sin);
  ctx.lineTo(x - 0.5 * sin, y + 0.5 * cos);
  ctx.lineTo(x + 0.5 * sin, y - 0.5 * cos);
  ctx.fill();
}

function paintCrosswalk(ctx, crosswalk, pixel, colours) {
  if (pixel > 0.6) return; // only a smear
  const outline = kept(crosswalk, "outline", () => pathOf(crosswalk.outline, true));
  ctx.strokeStyle = colours.faint; // for those that reach beyond the road
  ctx.lineWidth = 0.5 * pixel;
  ctx.stroke(outline);
  ctx.fillStyle = colours.zebra;
  ctx.save();
  ctx.clip(outline);
  for (const stripe of crosswalk.stripes) ctx.fill(pathOf(stripe, true));
  ctx.restore();
}

// Every 15 m, fewer where that is too close on the screen: every second, fourth ..., at least one where there's room.
function paintArrows(ctx, pieces, pixel, colours) {
  ctx.fillStyle = colours.arrow;
  const every = 2 ** Math.max(0, Math.ceil(Math.log2((70 * pixel) / ARROW_EVERY)));
  for (const { lane, from, to } of pieces) {
    if (layerOf(lane) !== "driving") continue;
    const count = Math.max(1, Math.round(lane.length / ARROW_EVERY));
    const first = Math.min(every, count) >> 1;
    for (let k = first; k < count; k += every) {
      const s = (lane.length * (k + 0.5)) / count;
      if (s < from || s >= to) continue;
      const p = at(lane.points, s),
        size = Math.max(p.w, 7 * pixel);
      if (lane.length < 1.6 * size || size > 2.2 * p.w) continue;
      const cos = Math.cos(p.h) * size,
        sin = Math.sin(p.h) * size;
      ctx.beginPath();
      for (const [u, v] of ARROW) ctx.lineTo(p.x + u * cos - v * sin, p.y + u * sin + v * cos);
      ctx.fill();
    }
  }
}

function paintStopLines(ctx, map, pieces, pixel, colours, shown) {
  ctx.lineWidth = Math.max(0.5, 2 * pixel);
  for (const { lane, from } of pieces) {
    if (from > 0 || lane.signal === undefined) continue;
    const { kind } = map.signals.get(lane.signal);
    if (!shown(kind)) continue;
    ctx.strokeStyle = colours[kind];
    const start = lane.points[0],
      a = side(start, 1),
      b = side(start, -1);
    ctx.beginPath();
    ctx.moveTo(a.x, a.y);
    ctx.lineTo(b.x, b.y);
    ctx.stroke();
  }
}
