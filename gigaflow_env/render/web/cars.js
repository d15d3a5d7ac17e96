// What moves, drawn on top of the map: cars, lights, trails, goals, crashes, and what the chosen car sees.

const CAR_COLOURS = [
  "policy", "rules", "human", "erratic", "wreck", "crash", "off", "goal", "red", "yellow", "green", "glassy", "trail", "seen",
  "other",
];
const MARK_SECONDS = 6;
const TRAIL_SECONDS = 12;

// The ground: painted once, larger than the screen, and moved until its margin is used up.
function makeGround(map) {
  const canvas = document.createElement("canvas"),
    ctx = canvas.getContext("2d", { alpha: false });
  let at = null,
    zoomed = 0;
  return {
    forget: () => (at = null),
    // Returns whether it has to be painted again soon.
    show: (target, view, settings) => {
      const now = performance.now();
      if (at && at.scale !== view.scale && zoomed === 0) zoomed = now;
      const settled = !at || now - zoomed > 160;
      const outside =
        at &&
        (Math.abs(view.x - at.x) * view.scale > 0.24 * view.width || Math.abs(view.y - at.y) * view.scale > 0.24 * view.height);
      const other = at && at.scale !== view.scale && (settled || view.scale / at.scale > 2 || view.scale / at.scale < 0.6);
      if (!at || outside || other || at.width !== view.width || at.height !== view.height) {
        zoomed = 0;
        at = { x: view.x, y: view.y, scale: view.scale, width: view.width, height: view.height, ratio: view.ratio };
        const wide = { ...view, width: Math.round(view.width * 1.5), height: Math.round(view.height * 1.5) };
        wide.window = (margin) => ({
          x0: wide.x - wide.width / 2 / wide.scale - margin,
          y0: wide.y - wide.height / 2 / wide.scale - margin,
          x1: wide.x + wide.width / 2 / wide.scale + margin,
          y1: wide.y + wide.height / 2 / wide.scale + margin,
        });
        wide.toScreen = ({ x, y }) => ({
          x: wide.width / 2 + (x - wide.x) * wide.scale,
          y: wide.height / 2 - (y - wide.y) * wide.scale,
        });
        const pixels = [Math.round(wide.width * wide.ratio), Math.round(wide.height * wide.ratio)];
        if (canvas.width !== pixels[0] || canvas.height !== pixels[1]) [canvas.width, canvas.height] = pixels;
        paint(ctx, map, wide, settings);
      }
      const grown = view.scale / at.scale,
        ratio = view.ratio;
      target.setTransform(1, 0, 0, 1, 0, 0);
      target.fillStyle = settings.colours.paper;
      target.fillRect(0, 0, target.canvas.width, target.canvas.height);
      const left = (view.width / 2 + (at.x - view.x) * view.scale) * ratio - (canvas.width * grown) / 2;
      const top = (view.height / 2 - (at.y - view.y) * view.scale) * ratio - (canvas.height * grown) / 2;
      target.drawImage(canvas, left, top, canvas.width * grown, canvas.height * grown);
      return at.scale !== view.scale;
    },
  };
}

// Stop lines of lights with the light's number, in the world's coordinates.
function lightLines(map, clip, warp) {
  const numbers = new Map(clip.lights.map((id, k) => [id, k])),
    found = [];
  for (const lane of map.lanes.values()) {
    if (lane.signal === undefined || !numbers.has(lane.signal)) continue;
    const start = lane.points[0];
    found.push({ a: warp(side(start, 1)), b: warp(side(start, -1)), light: numbers.get(lane.signal) });
  }
  return found;
}

function carColour(scene, moment, row, place) {
  if (place.wreck) return scene.colours.wreck;
  if (row === scene.human) return scene.colours.human;
  if (has(moment, row, "rules")) return scene.colours.rules;
  return has(moment, row, "erratic") ? scene.colours.erratic : scene.colours.policy;
}

function rounded(ctx, x, y, width, height, radius) {
  ctx.beginPath();
  ctx.roundRect(x, y, width, height, radius);
}

function paintCar(ctx, place, body, colour, pixel, scene, chosen) {
  const long = Math.max(body.length, 7 * pixel),
    wide = Math.max(body.width, 4 * pixel);
  ctx.save();
  ctx.translate(place.x, place.y);
  ctx.rotate(place.h);
  ctx.globalAlpha = 1 - place.gone;
  if (chosen) {
    ctx.strokeStyle = scene.colours.selected;
    ctx.lineWidth = Math.max(0.35, 2.5 * pixel);
    rounded(ctx, -long / 2 - 0.7, -wide / 2 - 0.7, long + 1.4, wide + 1.4, 0.9);
    ctx.stroke();
  }
  ctx.fillStyle = colour;
  rounded(ctx, -long / 2, -wide / 2, long, wide, Math.min(0.3 * wide, 0.9));
  ctx.fill();
  if (pixel < 0.22 && body.length > 2.5 && !place.wreck) {
    // Windows, headlights, and brake lights.
    ctx.fillStyle = scene.colours.glassy;
    ctx.globalAlpha *= 0.75;
    rounded(ctx, 0.06 * long, -0.4 * wide, 0.17 * long, 0.8 * wide, 0.15);
    ctx.fill();
    rounded(ctx, -0.38 * long, -0.36 * wide, 0.1 * long, 0.72 * wide, 0.12);
    ctx.fill();
    ctx.globalAlpha = 1 - place.gone;
    ctx.fillStyle = "#fff7d6";
    for (const s of [-1, 1]) ctx.fillRect(0.47 * long, s * 0.32 * wide - 0.12, 0.025 * long, 0.24);
    if (place.braking) {
      ctx.fillStyle = "#ff4040";
      for (const s of [-1, 1]) ctx.fillRect(-0.5 * long, s * 0.34 * wide - 0.2, 0.035 * long, 0.4);
    }
  } else if (!place.wreck) {
    ctx.fillStyle = "#ffffffb0";
    ctx.beginPath();
    ctx.moveTo(0.42 * long, 0);
    ctx.lineTo(0.1 * long, 0.3 * wide);
    ctx.lineTo(0.1 * long, -0.3 * wide);
    ctx.fill();
  }
  if (place.wreck) {
    ctx.strokeStyle = scene.colours.crash;
    ctx.lineWidth = Math.max(0.2, 1.3 * pixel);
    rounded(ctx, -long / 2, -wide / 2, long, wide, Math.min(0.3 * wide, 0.9));
    ctx.stroke();
  }
  ctx.restore();
}

function paintTrail(ctx, tape, k, row, colour, pixel, fades) {
  const steps = Math.min(k - tape.first, Math.round(TRAIL_SECONDS / tape.dt)),
    episode = tape.moment(k).episode[row];
  ctx.strokeStyle = colour;
  ctx.lineCap = "round";
  if (!fades) {
    // One line: those of all cars have to be cheap.
    ctx.globalAlpha = 0.3;
    ctx.lineWidth = Math.max(0.3, 1.6 * pixel);
    ctx.beginPath();
    for (let m = k - steps; m <= k; m++) {
      const moment = tape.moment(m);
      if (moment && moment.episode[row] === episode) ctx.lineTo(moment.x[row] * STEPS.x, moment.y[row] * STEPS.y);
    }
    ctx.stroke();
    ctx.globalAlpha = 1;
    return;
  }
  let before = null;
  for (let m = k - steps; m <= k; m++) {
    const moment = tape.moment(m);
    if (!moment || moment.episode[row] !== episode) {
      before = null;
      continue;
    }
    const here = { x: moment.x[row] * STEPS.x, y: moment.y[row] * STEPS.y };
    if (before) {
      const fresh = (m - (k - steps)) / steps;
      ctx.globalAlpha = 0.55 * fresh * fresh;
      ctx.lineWidth = Math.max(0.3, 2 * pixel) * (0.4 + 0.6 * fresh);
      ctx.beginPath();
      ctx.moveTo(before.x, before.y);
      ctx.lineTo(here.x, here.y);
      ctx.stroke();
    }
    before = here;
  }
  ctx.globalAlpha = 1;
}

function paintGoal(ctx, place, moment, row, radius, colour, pixel, strong) {
  const x = moment.gx[row] * STEPS.gx,
    y = moment.gy[row] * STEPS.gy;
  ctx.strokeStyle = ctx.fillStyle = colour;
  ctx.globalAlpha = strong ? 0.9 : 0.35;
  ctx.lineWidth = Math.max(0.2, 1.2 * pixel);
  ctx.setLineDash([Math.max(1, 5 * pixel), Math.max(1.2, 6 * pixel)]);
  ctx.beginPath();
  ctx.moveTo(place.x, place.y);
  ctx.lineTo(x, y);
  ctx.stroke();
  ctx.setLineDash([]);
  ctx.beginPath();
  ctx.arc(x, y, Math.max(radius, 4 * pixel), 0, 7);
  ctx.stroke();
  if (moment.left[row] === 1) {
    // The last one: it counts only for a car that is nearly standing.
    ctx.beginPath();
    ctx.arc(x, y, 0.55 * Math.max(radius, 4 * pixel), 0, 7);
    ctx.stroke();
  }
  ctx.beginPath();
  ctx.arc(x, y, Math.max(radius, 4 * pixel), 0, 7);
  ctx.globalAlpha *= 0.25;
  ctx.fill();
  ctx.globalAlpha = 1;
}

// What the chosen car observes: lane samples by their way to the goal, road edges, stop lines, and other cars.
function paintSeen(ctx, seen, place, scene, pixel) {
  const reach = Math.max(30, ...seen.lanes.filter(({ d }) => d !== null).map(({ d }) => d));
  for (const { x, y } of seen.edges) {
    ctx.fillStyle = scene.colours.edge;
    ctx.beginPath();
    ctx.arc(x, y, Math.max(0.28, 1.8 * pixel), 0, 7);
    ctx.fill();
  }
  for (const { x, y, d } of seen.lanes) {
    ctx.fillStyle = d === null ? scene.colours.faint : `hsl(${160 - (160 * d) / reach} 75% 50%)`;
    ctx.beginPath();
    ctx.arc(x, y, Math.max(0.75, 4 * pixel), 0, 7);
    ctx.fill();
    ctx.strokeStyle = "#ffffffc0";
    ctx.lineWidth = Math.max(0.1, pixel);
    ctx.stroke();
  }
  ctx.lineWidth = Math.max(0.25, 1.4 * pixel);
  for (const { x, y, colour } of seen.stops) {
    if (!colour) continue;
    ctx.strokeStyle = scene.colours[["faint", "green", "yellow", "red"][colour]];
    ctx.beginPath();
    ctx.arc(x, y, Math.max(2.2, 7 * pixel), 0, 7);
    ctx.stroke();
  }
  ctx.strokeStyle = scene.colours.other;
  for (const other of seen.others) {
    ctx.globalAlpha = 0.7;
    ctx.lineWidth = Math.max(0.12, pixel);
    ctx.beginPath();
    ctx.moveTo(place.x, place.y);
    ctx.lineTo(other.x, other.y);
    ctx.stroke();
    ctx.globalAlpha = 1;
    ctx.lineWidth = Math.max(0.2, 1.6 * pixel);
    ctx.beginPath();
    ctx.arc(other.x, other.y, Math.max(3, 7 * pixel), 0, 7);
    ctx.stroke();
  }
}

function paintMark(ctx, event, age, scene, pixel) {
  const fade = Math.max(0, 1 - age / MARK_SECONDS),
    size = Math.max(1.6, 8 * pixel) * (1 + 0.8 * Math.max(0, 0.5 - age));
  ctx.save();
  ctx.translate(event.x, event.y);
  ctx.globalAlpha = Math.min(1, 1.4 * fade);
  ctx.lineWidth = Math.max(0.4, 2.4 * pixel);
  ctx.lineCap = "round";
  if (event.kind === "goal" || event.kind === "route_done") {
    ctx.strokeStyle = scene.colours.goal;
    ctx.beginPath();
    ctx.arc(0, 0, size * (0.6 + 1.6 * Math.min(1, age)), 0, 7);
    ctx.globalAlpha *= Math.max(0, 1 - age);
    ctx.stroke();
  } else if (event.kind !== "timeout") {
    ctx.strokeStyle = event.kind === "collision" ? scene.colours.crash : event.kind === "offroad" ? scene.colours.off : scene.colours.red;
    ctx.beginPath();
    if (event.kind === "red_light") ctx.arc(0, 0, size, 0, 7);
    else {
      ctx.moveTo(-size, -size);
      ctx.lineTo(size, size);
      ctx.moveTo(-size, size);
      ctx.lineTo(size, -size);
    }
    ctx.stroke();
  }
  ctx.restore();
}

// One picture. Returns the places of all rows, for clicks.
function paintWorld(ctx, map, view, scene) {
  const { tape, k, u, offset } = scene,
    moment = tape.moment(k),
    pixel = 1 / view.scale,
    scale = view.scale * view.ratio;
  ctx.setTransform(
    scale, 0, 0, -scale, (view.width * view.ratio) / 2 + (offset.x - view.x) * scale,
    (view.height * view.ratio) / 2 - (offset.y - view.y) * scale,
  );
  ctx.globalAlpha = 1;
  if (scene.on("lights") && moment.lights) {
    ctx.lineCap = "butt";
    for (const { a, b, light } of scene.lines) {
      const colour = moment.lights[light];
      if (!colour) continue;
      ctx.strokeStyle = scene.colours[["", "green", "yellow", "red"][colour]];
      ctx.lineWidth = Math.max(0.7, 2.6 * pixel);
      ctx.beginPath();
      ctx.moveTo(a.x - offset.x, a.y - offset.y);
      ctx.lineTo(b.x - offset.x, b.y - offset.y);
      ctx.stroke();
    }
  }
  const places = [];
  for (let row = 0; row < tape.rows; row++) {
    const place = placeOf(tape, k, u, row);
    if (place) places.push(place);
  }
  const next = tape.moment(k + 1);
  for (const place of places) {
    const later = next && next.episode[place.row] === moment.episode[place.row] ? next : null;
    place.braking = later !== null && (later.v[place.row] - moment.v[place.row]) * STEPS.v < -0.35 * tape.dt * 2;
    place.chosen = place.row === scene.chosen;
  }
  for (const place of places) {
    const goals = scene.on("goals") || (place.chosen && scene.on("seen"));
    if (goals && !place.wreck && !place.gone) {
      const body = tape.bodies[moment.body[place.row]];
      paintGoal(ctx, place, moment, place.row, body?.conditioning.goal_radius ?? 4, scene.colours.goal, pixel, place.chosen);
    }
    if (scene.on("trails") || place.chosen) {
      paintTrail(ctx, tape, k, place.row, place.chosen ? scene.colours.selected : scene.colours.trail, pixel, place.chosen);
    }
  }
  const chosen = places.find((place) => place.chosen);
  if (chosen && scene.seen && scene.on("seen") && chosen.row !== scene.human) paintSeen(ctx, scene.seen, chosen, scene, pixel);
  for (const place of places) {
    const body = tape.bodies[moment.body[place.row]] ?? { length: 4.5, width: 2 };
    paintCar(ctx, place, body, carColour(scene, moment, place.row, place), pixel, scene, place.chosen);
  }
  if (scene.on("marks")) {
    const now = k + u;
    for (const event of tape.events) {
      const age = (now - event.frame) * tape.dt;
      if (age >= 0 && age < MARK_SECONDS) paintMark(ctx, event, age, scene, pixel);
    }
  }
  if (scene.on("numbers") && pixel < 0.5) {
    ctx.setTransform(view.ratio, 0, 0, view.ratio, 0, 0);
    ctx.font = "600 11px system-ui, 'DejaVu Sans', sans-serif";
    ctx.textAlign = "center";
    ctx.lineWidth = 3;
    ctx.strokeStyle = scene.colours.paper;
    ctx.fillStyle = scene.colours.ink;
    for (const place of places) {
      const at = view.toScreen({ x: place.x + offset.x, y: place.y + offset.y });
      ctx.strokeText(String(place.row), at.x, at.y - 12);
      ctx.fillText(String(place.row), at.x, at.y - 12);
    }
  }
  return places;
}
