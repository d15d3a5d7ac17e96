// What stands above all levels: what is selected, links, signs, names.

const GAP = 0.05; // m: a link that jumps farther is worth a look

// A dot where lanes join, a line across a gap, a square at an end from which nothing goes on and a start that nothing leads to.
function paintLinks(ctx, map, lanes, lifted, pixel, colours) {
  const near = pixel < 0.8,
    radius = near ? Math.min(0.5, 3 * pixel) : 1.6 * pixel;
  for (const lane of lanes) {
    if (lane.kind !== "driving") continue;
    const first = lane.points[0],
      last = lane.points[lane.points.length - 1],
      tail = lane.pieces[lane.pieces.length - 1];
    const ends = [
      [first, lane.predecessors, lane.pieces[0]],
      [last, lane.successors, tail],
    ];
    for (const [end, others, piece] of ends) {
      if (!lifted(piece) || (others.length && !near)) continue;
      ctx.fillStyle = others.length ? colours.joint : colours.end;
      ctx.beginPath();
      if (others.length) ctx.arc(end.x, end.y, radius, 0, 7);
      else ctx.rect(end.x - 1.6 * radius, end.y - 1.6 * radius, 3.2 * radius, 3.2 * radius);
      ctx.fill();
    }
    for (const other of lane.successors) {
      const next = map.lanes.get(other).points[0];
      if (Math.hypot(next.x - last.x, next.y - last.y) < GAP) continue;
      ctx.strokeStyle = colours.end;
      ctx.lineWidth = Math.max(0.1, 2 * pixel);
      ctx.beginPath();
      ctx.moveTo(last.x, last.y);
      ctx.lineTo(next.x, next.y);
      ctx.stroke();
    }
  }
}

// On the middle of the stop line, of a size that can be seen: a disc for a light, an octagon for stop, a triangle for give way.
const signRadius = (pixel) => Math.min(Math.max(0.8, 3.5 * pixel), 9 * pixel);

function paintSigns(ctx, map, lanes, pixel, colours, shown) {
  const radius = signRadius(pixel),
    drawn = new Set();
  ctx.lineWidth = 0.9 * pixel;
  ctx.strokeStyle = "#ffffff";
  for (const lane of lanes) {
    if (lane.signal === undefined) continue;
    const { x, y } = lane.points[0],
      { kind } = map.signals.get(lane.signal),
      place = `${x.toFixed(1)} ${y.toFixed(1)}`;
    if (!shown(kind) || drawn.has(place)) continue;
    drawn.add(place);
    ctx.fillStyle = colours[kind];
    const [corners, turn] = { light: [24, 0], stop: [8, Math.PI / 8], yield: [3, -Math.PI / 2] }[kind];
    ctx.beginPath();
    for (let k = 0; k < corners; k++) {
      const angle = turn + (2 * Math.PI * k) / corners;
      ctx.lineTo(x + radius * Math.cos(angle), y + radius * Math.sin(angle));
    }
    ctx.closePath();
    ctx.fill();
    ctx.stroke();
  }
}

// What importing did (a diamond), and what is worth a look (a pentagon); the chosen one has a ring.
function paintMarks(ctx, marks, { selected, colours, shown }, pixel) {
  const radius = 1.3 * signRadius(pixel);
  for (const mark of marks) {
    if (!mark.place || !shown(mark.layer)) continue;
    const corners = mark.layer === "report" ? 4 : 5,
      { x, y } = mark.place;
    const outline = (size) => {
      ctx.beginPath();
      for (let k = 0; k < corners; k++) {
        const angle = Math.PI / 2 + (2 * Math.PI * k) / corners;
        ctx.lineTo(x + size * Math.cos(angle), y + size * Math.sin(angle));
      }
      ctx.closePath();
    };
    outline(radius);
    ctx.fillStyle = colours[mark.layer];
    ctx.fill();
    ctx.lineWidth = 0.9 * pixel;
    ctx.strokeStyle = "#ffffff";
    ctx.stroke();
    if (!selected || selected[1] !== mark) continue;
    outline(2 * radius);
    ctx.lineWidth = 3 * pixel;
    ctx.strokeStyle = colours.selected;
    ctx.stroke();
  }
}

function paintSelection(ctx, map, { selected, colours }, pixel) {
  if (!selected || isMark(selected)) return;
  const [kind, thing] = selected;
  const tint = (lane, name, alpha) => {
    ctx.globalAlpha = alpha;
    ctx.fillStyle = ctx.strokeStyle = colours[name];
    ctx.lineWidth = 2 * pixel;
    for (const piece of lane.pieces) paintPiece(ctx, piece);
    ctx.globalAlpha = 1;
  };
  const all = (ids) => ids.filter((id) => id !== undefined).map((id) => map.lanes.get(id));
  if (kind === "lane") {
    for (const lane of all([thing.left, thing.right])) tint(lane, "neighbour", 0.45);
    for (const lane of all(thing.predecessors)) tint(lane, "predecessor", 0.55);
    for (const lane of all(thing.successors)) tint(lane, "successor", 0.55);
    tint(thing, "selected", 0.85);
    ctx.fillStyle = "#22262c";
    const size = Math.max(0.3 * thing.points[0].w, 5 * pixel),
      step = Math.max(2.5 * size, 40 * pixel);
    for (let s = Math.min(step, thing.length) / 2; s < thing.length; s += step) arrowhead(ctx, at(thing.points, s), size);
  } else if (kind === "crosswalk") {
    ctx.fillStyle = colours.selected;
    ctx.fill(kept(thing, "outline", () => pathOf(thing.outline, true)));
  } else {
    for (const lane of thing.lanes) tint(lane, "selected", 0.6);
  }
}

function paintNames(ctx, lanes, view, colours) {
  if (view.scale < 1.2) return;
  const ratio = view.ratio;
  ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
  ctx.font = "11px system-ui, 'DejaVu Sans', sans-serif";
  ctx.textAlign = "center";
  ctx.textBaseline = "middle";
  ctx.lineWidth = 3;
  ctx.strokeStyle = colours.paper;
  ctx.fillStyle = colours.ink;
  const taken = [];
  for (const lane of lanes) {
    const { x, y } = view.toScreen(at(lane.points, lane.length / 2)),
      half = ctx.measureText(lane.id).width / 2 + 3;
    // Where names would cover each other, the first one stands; nearer there's room for more.
    const covers = (other) => Math.abs(other.x - x) < other.half + half && Math.abs(other.y - y) < 13;
    if (lane.length * view.scale < 30 || taken.some(covers)) continue;
    taken.push({ x, y, half });
    ctx.strokeText(lane.id, x, y);
    ctx.fillText(lane.id, x, y);
  }
}
