// The panel of the chosen car: what it will do, what it expects, what it is paid for, and how it is conditioned.

const PACES = ["brake hard", "brake", "hold", "accelerate"];
const SIDES = ["right", "straight", "left"];

// Builds the panel once for a car; what it returns fills in the numbers of a moment.
function buildInspector(box, row, head, close) {
  box.replaceChildren();
  const dot = make("span", { className: "dot" }),
    title = make("span");
  const shut = make("button", { textContent: "×", title: "Close (Esc)", onclick: close });
  box.append(make("h2", {}, dot, title, shut));
  const facts = make("p");
  box.append(facts);
  const cells = [],
    grid = make("div", { className: "grid" });
  grid.append(make("span"));
  for (const name of [2, 1, 0]) grid.append(make("span", { className: "side", textContent: SIDES[name], style: "text-align:center" }));
  for (let pace = 3; pace >= 0; pace--) {
    grid.append(make("span", { className: "side", textContent: PACES[pace] }));
    for (const turn of [2, 1, 0]) {
      const cell = make("span");
      cells[3 * pace + turn] = cell;
      grid.append(cell);
    }
  }
  const spark = make("canvas", { id: "spark" }),
    valued = make("h3");
  const actions = make("div", {}, make("h3", { textContent: "action probabilities" }), grid, valued, spark);
  const bars = (title, names) => {
    const list = make("div", { className: "bars" }),
      parts = {};
    for (const name of names) {
      const fill = make("i"),
        out = make("output");
      list.append(make("span", { textContent: name.replaceAll("_", " ") }), make("div", { className: "bar" }, fill), out);
      parts[name] = { fill, out };
    }
    const part = make("div", {}, make("h3", { textContent: title }), list);
    return { part, parts };
  };
  const rewards = bars("reward terms of this step", head.terms),
    wills = bars("conditioning", head.coefficients);
  box.append(actions, rewards.part, wills.part);
  const values = [];
  return ({ colour, name, body, speed, left, p, value, terms }) => {
    dot.style.background = colour;
    title.textContent = name;
    facts.textContent = [
      `${number(speed * 3.6, 0)} km/h`,
      left === undefined ? "" : `${left} goal${left === 1 ? "" : "s"} left`,
      body ? `${body.kind}, ${number(body.length)} m x ${number(body.width)} m` : "",
    ]
      .filter(Boolean)
      .join(" · ");
    actions.hidden = !p;
    if (p) {
      p.forEach((share, k) => {
        cells[k].textContent = share < 0.005 ? "·" : `${Math.round(100 * share)}`;
        cells[k].style.background = `color-mix(in srgb, var(--accent) ${Math.round(85 * Math.sqrt(share))}%, var(--soft))`;
        cells[k].style.color = share > 0.35 ? "#fff" : "";
      });
      valued.textContent = `value ${number(value, 2)}: what it expects to earn`;
      values.push(value);
      if (values.length > 120) values.shift();
      drawSpark(spark, values);
    }
    rewards.part.hidden = !terms;
    if (terms) {
      head.terms.forEach((term, k) => {
        const { fill, out } = rewards.parts[term],
          amount = terms[k] || 0,
          share = Math.min(1, Math.sqrt(Math.abs(amount)));
        fill.style.background = amount < 0 ? "var(--bad)" : "var(--good)";
        fill.style.left = amount < 0 ? `${50 - 50 * share}%` : "50%";
        fill.style.width = `${50 * share}%`;
        out.textContent = Math.abs(amount) < 5e-5 ? "0" : (amount > 0 ? "+" : "−") + Math.abs(amount).toFixed(Math.abs(amount) < 0.1 ? 4 : 2);
      });
    }
    wills.part.hidden = !body;
    if (body) {
      for (const name of head.coefficients) {
        const { fill, out } = wills.parts[name],
          amount = body.conditioning[name],
          [low, high] = head.ranges?.[name] ?? [0, Math.max(amount, 1e-9)];
        fill.style.background = "var(--accent)";
        fill.style.left = "0";
        fill.style.width = `${100 * Math.min(1, Math.max(0.02, high > low ? (amount - low) / (high - low) : 1))}%`;
        out.textContent = String(+amount.toPrecision(3));
      }
    }
  };
}

function drawSpark(canvas, values) {
  const width = canvas.clientWidth || 270,
    height = canvas.clientHeight || 42,
    ctx = canvas.getContext("2d");
  if (canvas.width !== 2 * width) [canvas.width, canvas.height] = [2 * width, 2 * height];
  ctx.setTransform(2, 0, 0, 2, 0, 0);
  ctx.clearRect(0, 0, width, height);
  const low = Math.min(0, ...values),
    high = Math.max(low + 0.5, ...values),
    style = getComputedStyle(document.documentElement);
  ctx.strokeStyle = style.getPropertyValue("--accent");
  ctx.lineWidth = 1.5;
  ctx.beginPath();
  values.forEach((value, k) =>
    ctx.lineTo(2 + ((width - 4) * k) / 119, height - 3 - ((height - 6) * (value - low)) / (high - low)),
  );
  ctx.stroke();
}

// What a recorded car sees at a moment, from the tables of the clip.
function recordedSeen(tape, k, row) {
  const set = tape.sets[tape.moment(k).set[row]],
    moment = tape.moment(k);
  const pairs = (flat) => Array.from({ length: flat.length / 2 }, (_, n) => ({ x: flat[2 * n] / 10, y: flat[2 * n + 1] / 10 }));
  const far = tape.part("far", k, row),
    colours = tape.part("colours", k, row);
  const [lanes, edges, stops] = set ? set.map(pairs) : [[], [], []];
  const others = Array.from(tape.part("others", k, row)).filter((other) => other >= 0);
  return {
    lanes: lanes.map((point, n) => ({ ...point, d: far[n] * STEPS.far >= 0.999 ? null : far[n] * STEPS.far * tape.range })),
    edges,
    stops: stops.map((point, n) => ({ ...point, colour: colours[n] })),
    others: others.map((other) => ({ x: moment.x[other] * STEPS.x, y: moment.y[other] * STEPS.y })),
  };
}
