// What part of the map is on the screen, and how mouse, fingers and keys change it.

function makeView(bounds) {
  const view = { x: 0, y: 0, scale: 1, width: 1, height: 1, ratio: 1 }; // center [m], pixels per metre, size [pixels]
  const wide = Math.max(bounds.x1 - bounds.x0, bounds.y1 - bounds.y0, 1);
  const scales = () => [(0.2 * Math.min(view.width, view.height)) / wide, 400];

  view.toScreen = ({ x, y }) => ({
    x: view.width / 2 + (x - view.x) * view.scale,
    y: view.height / 2 - (y - view.y) * view.scale,
  });
  view.toMap = (x, y) => ({
    x: view.x + (x - view.width / 2) / view.scale,
    y: view.y - (y - view.height / 2) / view.scale,
  });
  view.window = (margin) => {
    const low = view.toMap(0, view.height),
      high = view.toMap(view.width, 0);
    return { x0: low.x - margin, y0: low.y - margin, x1: high.x + margin, y1: high.y + margin };
  };
  view.pan = (dx, dy) => {
    view.x -= dx / view.scale;
    view.y += dy / view.scale;
  };
  // What is under the pixel stays there.
  view.zoom = (factor, x = view.width / 2, y = view.height / 2) => {
    const before = view.toMap(x, y),
      [least, most] = scales();
    view.scale = Math.min(most, Math.max(least, view.scale * factor));
    const after = view.toMap(x, y);
    view.x += before.x - after.x;
    view.y += before.y - after.y;
  };
  // `panel`: pixels that it covers on the left; the buttons are on the right.
  view.fit = (box, panel = 0, most = 40) => {
    const buttons = 56,
      width = Math.max(100, view.width - panel - buttons - 40),
      height = Math.max(100, view.height - 80);
    view.scale = Math.min(width / Math.max(box.x1 - box.x0, 1), height / Math.max(box.y1 - box.y0, 1), most);
    view.x = (box.x0 + box.x1) / 2 - (panel - buttons) / 2 / view.scale;
    view.y = (box.y0 + box.y1) / 2;
  };
  return view;
}

// Calls `changed()` after each movement, `clicked(x, y)` for a press without movement, `hovered(x, y)` for the mouse.
function steer(canvas, view, { changed, clicked, hovered, fit }) {
  const fingers = new Map();
  let moved = 0;
  const spread = () => {
    const [a, b] = [...fingers.values()];
    return { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2, distance: Math.hypot(a.x - b.x, a.y - b.y) };
  };
  canvas.addEventListener("pointerdown", (event) => {
    if (event.pointerType === "mouse" && event.button !== 0) return;
    canvas.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    moved = fingers.size > 1 ? Infinity : 0;
  });
  canvas.addEventListener("pointermove", (event) => {
    const finger = fingers.get(event.pointerId);
    if (!finger) {
      hovered(event.clientX, event.clientY);
      return;
    }
    const before = fingers.size === 2 ? spread() : null;
    const dx = event.clientX - finger.x,
      dy = event.clientY - finger.y;
    finger.x = event.clientX;
    finger.y = event.clientY;
    if (before) {
      const after = spread();
      view.pan(after.x - before.x, after.y - before.y);
      view.zoom(after.distance / Math.max(before.distance, 1), after.x, after.y);
    } else {
      moved += Math.hypot(dx, dy);
      if (moved <= 4) return; // a click may tremble
      view.pan(dx, dy);
    }
    changed();
  });
  canvas.addEventListener("pointerup", (event) => {
    if (fingers.delete(event.pointerId) && moved <= 4 && !fingers.size) clicked(event.clientX, event.clientY);
  });
  canvas.addEventListener("pointercancel", (event) => fingers.delete(event.pointerId));
  canvas.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      const pixels = event.deltaY * (event.deltaMode === 1 ? 16 : event.deltaMode === 2 ? 400 : 1);
      // A pinch on a touch pad comes as a wheel with ctrl and small steps.
      view.zoom(Math.exp(-pixels * (event.ctrlKey ? 0.01 : 0.0015)), event.clientX, event.clientY);
      changed();
    },
    { passive: false },
  );
  canvas.addEventListener("keydown", (event) => {
    const steps = { ArrowLeft: [80, 0], ArrowRight: [-80, 0], ArrowUp: [0, 80], ArrowDown: [0, -80] };
    if (steps[event.key]) view.pan(...steps[event.key]);
    else if (event.key === "+" || event.key === "=") view.zoom(1.4);
    else if (event.key === "-") view.zoom(1 / 1.4);
    else if (event.key === "0") fit();
    else return;
    event.preventDefault();
    changed();
  });
}
