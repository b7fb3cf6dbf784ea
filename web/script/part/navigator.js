// All rows of a metric in one thin strip, with the window that the charts show: dragging over it chooses another.

import { extremes } from "../chart_data.js";
import { h } from "../dom.js";
import { colour, onTheme } from "../theme.js";
import { civil } from "../time_zone.js";

const HEIGHT = 54;
const AXIS = 16;
const MIN_DRAG_PX = 4;
/** Below this, ends are told apart by the time of day. */
const SHORT_S = 4 * 86_400;
const two = (value) => String(value).padStart(2, "0");

/** `columns` and `anomalies` of all rows between `from` and `until`; `onChoose(from, until)`. */
export function navigator({ columns, anomalies, from, until, onChoose, signal }) {
  const canvas = h("canvas", { class: "navigator", role: "img", "aria-label": "All samples; dragging over a part shows it" });
  let shown = [from, until];
  let drag = null;
  const width = () => canvas.clientWidth || 1;
  const left = (time) => ((time - from) / (until - from || 1)) * width();
  const timeAt = (event) => {
    const box = canvas.getBoundingClientRect();
    return from + Math.max(0, Math.min(1, (event.clientX - box.left) / box.width)) * (until - from);
  };

  function draw() {
    if (canvas.clientWidth === 0) return;
    const ratio = devicePixelRatio || 1;
    canvas.width = Math.round(width() * ratio);
    canvas.height = HEIGHT * ratio;
    const context = canvas.getContext("2d");
    context.scale(ratio, ratio);
    const room = HEIGHT - AXIS;
    const [low, high] = extremes(columns) ?? [0, 1];
    const top = (value) => room - 3 - ((value - low) / (high - low || 1)) * (room - 6);
    context.strokeStyle = colour("raw");
    context.beginPath();
    let isHole = true;
    for (let at = 0; at < columns.time.length; at += 1) {
      if (columns.low[at] === null) {
        isHole = true;
        continue;
      }
      const x = left(columns.time[at]);
      if (isHole) context.moveTo(x, top(columns.low[at]));
      isHole = false;
      context.lineTo(x, top(columns.low[at]));
      context.lineTo(x, top(columns.high[at]));
    }
    context.stroke();
    context.fillStyle = colour("odd");
    for (const anomaly of anomalies) context.fillRect(left(anomaly.peak_at) - 1, room - 5, 2, 5);
    const [start, end] = shown.map(left);
    context.fillStyle = colour("sunken");
    context.globalAlpha = 0.72;
    context.fillRect(0, 0, start, room);
    context.fillRect(end, 0, width() - end, room);
    context.globalAlpha = 1;
    context.strokeStyle = colour("accent");
    context.lineWidth = 1.5;
    context.strokeRect(Math.max(0.75, start), 0.75, Math.max(2, Math.min(width() - 0.75, end) - Math.max(0.75, start)), room - 1.5);
    context.fillStyle = colour("ink-faint");
    context.font = '10.5px "Inter", system-ui, "Segoe UI", "DejaVu Sans", sans-serif';
    context.textBaseline = "top";
    const isShort = until - from < SHORT_S;
    for (const [time, align] of [[from, "left"], [(from + until) / 2, "center"], [until, "right"]]) {
      const at = civil(time);
      context.textAlign = align;
      const date = `${two(at.month)}-${two(at.day)}`;
      context.fillText(isShort ? `${date} ${two(at.hour)}:${two(at.minute)}` : `${at.year}-${date}`, left(time), room + 4);
    }
  }

  canvas.addEventListener("pointerdown", (event) => {
    drag = { time: timeAt(event), x: event.clientX, isOver: false };
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (drag === null) return;
    drag.isOver ||= Math.abs(event.clientX - drag.x) > MIN_DRAG_PX;
    if (!drag.isOver) return;
    const now = timeAt(event);
    shown = [Math.min(drag.time, now), Math.max(drag.time, now)];
    draw();
  });
  canvas.addEventListener("pointerup", () => {
    if (drag === null) return;
    const { isOver, time } = drag;
    drag = null;
    if (isOver) return onChoose(Math.floor(shown[0]), Math.ceil(shown[1]));
    // A click moves the window there.
    const half = (shown[1] - shown[0]) / 2;
    return onChoose(Math.floor(time - half), Math.ceil(time + half));
  });
  canvas.addEventListener("pointercancel", () => { drag = null; });
  const observer = new ResizeObserver(draw);
  observer.observe(canvas);
  signal.addEventListener("abort", () => observer.disconnect());
  onTheme(draw, signal);
  return {
    element: canvas,
    show(start, end) {
      shown = [Math.max(from, start), Math.min(until, end)];
      draw();
    },
  };
}
