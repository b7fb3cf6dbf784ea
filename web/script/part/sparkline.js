// A small line without axes, for a figure that is asked for again and again.

import { h } from "../dom.js";
import { colour } from "../theme.js";

const [WIDTH, HEIGHT] = [120, 26];

/** Draws `values`, the newest at the right; nothing until there are three. */
export function sparkline(values, of) {
  if (values.length < 3) return null;
  const ratio = devicePixelRatio || 1;
  const canvas = h("canvas", { class: "sparkline", width: WIDTH * ratio, height: HEIGHT * ratio, "aria-hidden": "true" });
  const context = canvas.getContext("2d");
  const high = Math.max(...values, 1e-9);
  context.scale(ratio, ratio);
  context.strokeStyle = colour(of);
  context.lineWidth = 1.4;
  context.beginPath();
  values.forEach((value, at) => {
    const left = (at / (values.length - 1)) * (WIDTH - 2) + 1;
    const top = HEIGHT - 2 - (value / high) * (HEIGHT - 4);
    if (at === 0) context.moveTo(left, top);
    else context.lineTo(left, top);
  });
  context.stroke();
  return canvas;
}
