"use strict";
// A square to draw on, by pointer or by keyboard. Points are in parts of its side, x right, y down.

const STEP = 0.03; // of the pen, by an arrow key
const FAR = 0.12; // with Shift
const NEAREST = 0.006; // points that are closer to the last one say nothing new
const LINE = 0.045; // width of the line

class Pad {
  // `changed()` is called when a line is finished, or taken back; `say(words)` tells of the pen.
  constructor(canvas, changed, say) {
    this.canvas = canvas;
    this.changed = changed;
    this.say = say;
    this.strokes = [];
    this.pen = [0.5, 0.5];
    this.pointer = null; // the pointer that draws
    this.down = false; // whether the keyboard's pen is
    this.byKey = false;
    canvas.addEventListener("pointerdown", (event) => this.begin(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    for (const name of ["pointerup", "pointercancel", "lostpointercapture"])
      canvas.addEventListener(name, (event) => this.end(event));
    canvas.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener("blur", () => this.lift());
    canvas.addEventListener("focus", () => this.paint());
    new ResizeObserver(() => this.paint()).observe(canvas);
  }

  place(event) {
    const box = this.canvas.getBoundingClientRect();
    const within = (value) => Math.round(Math.min(1, Math.max(0, value)) * 1e4) / 1e4;
    return [
      within((event.clientX - box.left) / box.width),
      within((event.clientY - box.top) / box.height),
    ];
  }

  begin(event) {
    if (event.button !== 0 || this.pointer !== null) return;
    event.preventDefault(); // no scrolling, no selection
    this.canvas.focus({ preventScroll: true });
    this.lift();
    this.byKey = false;
    this.pointer = event.pointerId;
    this.canvas.setPointerCapture(event.pointerId);
    this.strokes.push([this.place(event)]);
    this.paint();
  }

  move(event) {
    if (event.pointerId !== this.pointer) return;
    const seen = event.getCoalescedEvents ? event.getCoalescedEvents() : [];
    for (const one of seen.length ? seen : [event]) this.extend(this.place(one), NEAREST);
    this.paint();
  }

  end(event) {
    if (event.pointerId !== this.pointer) return;
    this.pointer = null;
    this.pen = this.strokes.at(-1).at(-1);
    this.paint();
    this.changed();
  }

  extend(point, nearest) {
    const line = this.strokes.at(-1);
    const last = line.at(-1);
    if (line.length < 1000 && Math.hypot(point[0] - last[0], point[1] - last[1]) >= nearest)
      line.push(point);
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const way = ways[event.key];
    this.byKey = true;
    if (way) this.step(way, event.shiftKey ? FAR : STEP);
    else if (event.key === " ") this.down ? this.lift() : this.set();
    else if (event.key === "Backspace") this.undo();
    else if (event.key === "Delete") this.clear();
    else return;
    event.preventDefault();
    this.paint();
  }

  step(way, length) {
    const to = (value) => Math.round(Math.min(1, Math.max(0, value)) * 1e4) / 1e4;
    this.pen = [to(this.pen[0] + way[0] * length), to(this.pen[1] + way[1] * length)];
    if (this.down) this.extend(this.pen, 1e-4);
  }

  set() {
    this.down = true;
    this.strokes.push([this.pen]);
    this.say("Pen down");
  }

  lift() {
    if (this.down) {
      this.down = false;
      this.say("Pen up");
      this.changed();
    }
    this.paint();
  }

  undo() {
    if (this.pointer !== null || !this.strokes.length) return;
    this.down = false;
    this.strokes.pop();
    this.say("Last line taken back");
    this.paint();
    this.changed();
  }

  clear() {
    this.down = false;
    this.pointer = null;
    this.strokes = [];
    this.paint();
    this.changed();
  }

  // The lines that are finished.
  drawing() {
    return this.strokes.slice(0, this.strokes.length - (this.down || this.pointer !== null));
  }

  paint() {
    const context = paint(this.canvas, this.strokes);
    if (!this.byKey || document.activeElement !== this.canvas) return;
    const side = this.canvas.width;
    context.strokeStyle = context.fillStyle =
      getComputedStyle(this.canvas).getPropertyValue("--strong");
    context.lineWidth = Math.max(2, side / 60);
    context.beginPath();
    context.arc(this.pen[0] * side, this.pen[1] * side, side * 0.04, 0, 2 * Math.PI);
    this.down ? context.fill() : context.stroke();
  }
}

// Lines on a square canvas, as sharp as the screen is.
function paint(canvas, strokes) {
  const side = Math.max(1, Math.round(canvas.clientWidth * window.devicePixelRatio));
  if (canvas.width !== side || canvas.height !== side) canvas.width = canvas.height = side;
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, side, side);
  context.strokeStyle = context.fillStyle = getComputedStyle(canvas).color;
  context.lineCap = context.lineJoin = "round";
  context.lineWidth = LINE * side;
  for (const line of strokes) {
    context.beginPath();
    context.moveTo(line[0][0] * side, line[0][1] * side);
    for (const [x, y] of line) context.lineTo(x * side, y * side);
    context.stroke();
  }
  return context;
}
