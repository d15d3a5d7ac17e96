// Driving: keys, fingers and gamepads become gas, brake and steering, each 0 to 1 or -1 to 1, left positive.

function makeWheel(changed) {
  const held = new Set(),
    touch = { steer: 0, gas: 0, brake: 0 };
  let on = false,
    last = "";
  const names = {
    ArrowUp: "gas", KeyW: "gas", ArrowDown: "brake", KeyS: "brake", ArrowLeft: "left", KeyA: "left", ArrowRight: "right",
    KeyD: "right", Space: "brake",
  };
  const read = () => {
    let steer = (held.has("left") ? 1 : 0) - (held.has("right") ? 1 : 0) + touch.steer,
      gas = Math.max(held.has("gas") ? 1 : 0, touch.gas),
      brake = Math.max(held.has("brake") ? 1 : 0, touch.brake);
    for (const pad of navigator.getGamepads?.() ?? []) {
      if (!pad) continue;
      if (Math.abs(pad.axes[0] ?? 0) > 0.08) steer -= pad.axes[0];
      gas = Math.max(gas, pad.buttons[7]?.value ?? 0, pad.buttons[0]?.value ?? 0);
      brake = Math.max(brake, pad.buttons[6]?.value ?? 0, pad.buttons[1]?.value ?? 0);
    }
    return { steer: Math.max(-1, Math.min(1, steer)), gas, brake };
  };
  const tell = () => {
    if (!on) return;
    const now = read(),
      text = JSON.stringify(now);
    if (text !== last) changed(now);
    last = text;
  };
  // Before the map gets them, which would move.
  addEventListener(
    "keydown",
    (event) => {
      if (!on || event.target instanceof HTMLInputElement || event.ctrlKey || event.metaKey || !names[event.code]) return;
      held.add(names[event.code]);
      event.preventDefault();
      event.stopPropagation();
      tell();
    },
    true,
  );
  addEventListener("keyup", (event) => names[event.code] && (held.delete(names[event.code]), tell()), true);
  addEventListener("blur", () => (held.clear(), tell()));
  const stick = byId("stick"),
    knob = stick.firstElementChild;
  const turn = (event) => {
    const box = stick.getBoundingClientRect(),
      share = event ? Math.max(-1, Math.min(1, (event.clientX - box.x - box.width / 2) / (box.width / 2 - 30))) : 0;
    touch.steer = -share;
    knob.style.transform = `translateX(${share * (box.width / 2 - 36)}px)`;
    tell();
  };
  stick.addEventListener("pointerdown", (event) => (stick.setPointerCapture(event.pointerId), turn(event)));
  stick.addEventListener("pointermove", (event) => event.buttons && turn(event));
  for (const end of ["pointerup", "pointercancel"]) stick.addEventListener(end, () => turn(null));
  for (const name of ["gas", "brake"]) {
    const pedal = byId(name);
    pedal.addEventListener("pointerdown", (event) => (pedal.setPointerCapture(event.pointerId), (touch[name] = 1), tell()));
    for (const end of ["pointerup", "pointercancel"]) pedal.addEventListener(end, () => ((touch[name] = 0), tell()));
  }
  setInterval(tell, 50); // gamepads send no events
  return {
    set: (driving) => {
      on = driving;
      last = "";
      held.clear();
      byId("pads").hidden = !driving || !(matchMedia("(pointer: coarse)").matches || innerWidth <= 640);
      document.body.classList.toggle("driving", driving);
    },
  };
}
