// Moments of a world one after the other, and where everybody is between two of them. No drawing here.

const KEPT = 1200; // moments of a live world: two minutes at ten a second

// A table of whole numbers from the bytes: see gigaflow_env/replay/page.py. One row a moment.
function unpacked(bytes, [start, moments, columns]) {
  const count = moments * columns,
    values = new Int32Array(count);
  for (let c = 0, k = start; c < columns; c++) {
    for (let m = 0, last = 0; m < moments; m++, k++) {
      const zigzag = bytes[k] | (bytes[k + count] << 8) | (bytes[k + 2 * count] << 16) | (bytes[k + 3 * count] << 24);
      last += (zigzag >>> 1) ^ -(zigzag & 1);
      values[m * columns + c] = last;
    }
  }
  return { columns, row: (m) => values.subarray(m * columns, (m + 1) * columns) };
}

async function inflated(text) {
  const packed = Uint8Array.from(atob(text.trim()), (letter) => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

const textAt = (bytes, [start, length]) => new TextDecoder().decode(bytes.subarray(start, start + length));

// A recorded clip: `moment(k)` for k in 0 .. last.
function replayTape(clip, bytes) {
  const tables = Object.fromEntries(Object.entries(clip.tables).map(([name, at]) => [name, unpacked(bytes, at)]));
  const made = new Map(),
    count = clip.tables.x[1];
  const moment = (k) => {
    if (!made.has(k)) {
      if (made.size > 64) made.clear();
      made.set(k, Object.fromEntries(Object.entries(tables).map(([name, table]) => [name, table.row(k)])));
    }
    return made.get(k);
  };
  return {
    ...clip,
    first: 0,
    last: count - 1,
    moment,
    bodies: JSON.parse(textAt(bytes, clip.bodies)),
    sets: JSON.parse(textAt(bytes, clip.sets)),
    part: (name, k, row) => {
      const table = tables[name];
      if (!table) return null;
      const each = table.columns / clip.rows;
      return table.row(k).subarray(row * each, (row + 1) * each);
    },
  };
}

// A live world: moments come in at the end, the oldest are forgotten.
function liveTape(clip) {
  const moments = [];
  const tape = {
    ...clip,
    first: 0,
    last: -1,
    bodies: {},
    sets: {},
    events: [],
    moment: (k) => moments[k - tape.first],
    part: () => null,
    add: (moment) => {
      moments.push(moment);
      tape.last++;
      if (moments.length > KEPT) {
        moments.shift();
        tape.first++;
        tape.events = tape.events.filter((event) => event.frame >= tape.first);
      }
    },
  };
  return tape;
}

const has = (moment, row, flag) => (moment.flags[row] & FLAGS[flag]) !== 0;
const FLAGS = {}; // bits by name
let STEPS = {}; // what 1 means in a table

// Where a row is at moment `k` plus the share `u` of the way to the next one; null where it is not on the road.
function placeOf(tape, k, u, row) {
  const a = tape.moment(k);
  if (!a || !(has(a, row, "live") || has(a, row, "wreck"))) return null;
  const b = u > 0 ? tape.moment(k + 1) : null;
  const p = { row, x: a.x[row] * STEPS.x, y: a.y[row] * STEPS.y, h: a.h[row] * STEPS.h, v: a.v[row] * STEPS.v };
  p.steer = a.steer[row] * STEPS.steer;
  p.wreck = has(a, row, "wreck");
  p.gone = 0;
  if (!b || p.wreck) return p;
  if (b.episode[row] !== a.episode[row] || !(has(b, row, "live") || has(b, row, "wreck"))) {
    // Its episode ends in this step: straight on, while it fades.
    p.x += u * p.v * tape.dt * Math.cos(p.h);
    p.y += u * p.v * tape.dt * Math.sin(p.h);
    p.gone = Math.max(0, 2 * u - 1);
    return p;
  }
  const x1 = b.x[row] * STEPS.x,
    y1 = b.y[row] * STEPS.y,
    turn = wrapped(b.h[row] * STEPS.h - p.h);
  const v1 = b.v[row] * STEPS.v,
    way = tape.dt,
    h1 = p.h + turn;
  // Cubic Hermite: leaves and arrives with its speed and heading.
  const u2 = u * u,
    u3 = u2 * u;
  const mix = (p0, m0, p1, m1) =>
    (2 * u3 - 3 * u2 + 1) * p0 + (u3 - 2 * u2 + u) * m0 + (3 * u2 - 2 * u3) * p1 + (u3 - u2) * m1;
  const far = Math.hypot(x1 - p.x, y1 - p.y) > 3 + 2 * way * (Math.abs(p.v) + Math.abs(v1));
  if (far) return p; // put elsewhere by hand
  const x = mix(p.x, p.v * way * Math.cos(p.h), x1, v1 * way * Math.cos(h1));
  const y = mix(p.y, p.v * way * Math.sin(p.h), y1, v1 * way * Math.sin(h1));
  return { ...p, x, y, h: p.h + u * turn, v: p.v + u * (v1 - p.v), steer: p.steer + u * (b.steer[row] * STEPS.steer - p.steer) };
}
