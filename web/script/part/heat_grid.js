// The heat strip: a line for each metric, a cell for each stretch of time, coloured by the highest detection score in it.
// Drawn on one canvas; names are links beside it, and a cell is chosen with the pointer or the arrow keys.

import { h, speak } from "../dom.js";
import { score } from "../format.js";
import { STEP_NAMES, STEPS, stepColour, stepOf } from "../detection_scale.js";
import { link } from "../route.js";
import { colour, onTheme } from "../theme.js";
import { civil, roundTimes, spanText } from "../time_zone.js";

/** Below this width names stand above their strips. */
const NARROW_PX = 620;
const AXIS_PX = 24;
const DAY_S = 86_400;

/** How many cells fit; a cell is wide enough to be hit with a finger where that is how it is hit. */
export function cellsFor(width) {
  return width < NARROW_PX ? 48 : width < 1100 ? 96 : 144;
}

export function legend() {
  return h("div", { class: "heat-legend small soft", role: "img", "aria-label": "colours of detection scores" },
    h("span", {}, h("i", { class: "heat-calm" }), "calm"),
    STEPS.map((step, at) => h("span", {}, h("i", { class: `heat-${at}` }), `${STEP_NAMES[at]} (from ${step})`)));
}

/** The strip of an answer of `/heat`, with `open(row, from, until)` when a cell is chosen for good. */
export function heatGrid(answer, { open, signal }) {
  const rows = answer.rows;
  const cells = answer.cells;
  const canvas = h("canvas", { class: "heat-canvas" });
  const cursor = h("div", { class: "heat-cursor", hidden: true });
  const tip = h("div", { class: "heat-tip", hidden: true });
  const labels = h("ol", { class: "heat-labels" }, rows.map((row) => h("li", {},
    h("a", { class: "mono", href: link("metric", row.metric, { from: Math.floor(answer.from), until: Math.ceil(answer.until) }), title: row.metric, text: row.metric }),
    h("span", { class: "mono small faint", text: row.max === null ? "" : score(row.max) }))));
  const surface = h("div", { class: "heat-surface", tabindex: 0, role: "application", "aria-roledescription": "heat strip",
    "aria-label": `Detection scores of ${rows.length} metrics, ${spanText(answer.from, answer.until)}. Arrow keys choose a cell, Enter opens the metric there.` },
    canvas, cursor, tip);
  const root = h("div", { class: "heat" }, labels, surface);
  let place = null;
  let at = null;

  function layout() {
    const width = root.clientWidth;
    if (width === 0) return;
    const isNarrow = width < NARROW_PX;
    root.classList.toggle("narrow", isNarrow);
    const left = isNarrow ? 0 : Math.min(380, Math.round(width * 0.27));
    place = { left, width: width - left, pitch: isNarrow ? 42 : 24, top: isNarrow ? 22 : 1, high: isNarrow ? 18 : 22 };
    root.style.setProperty("--heat-left", `${left}px`);
    root.style.setProperty("--heat-pitch", `${place.pitch}px`);
    const height = rows.length * place.pitch + AXIS_PX;
    const ratio = devicePixelRatio || 1;
    canvas.width = Math.round(place.width * ratio);
    canvas.height = Math.round(height * ratio);
    canvas.style.setProperty("width", `${place.width}px`);
    canvas.style.setProperty("height", `${height}px`);
    draw(canvas.getContext("2d"), ratio, height);
    mark();
  }

  function draw(context, ratio, height) {
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, place.width, height);
    const wide = place.width / cells;
    rows.forEach((row, index) => {
      const top = index * place.pitch + place.top;
      context.fillStyle = colour("heat-calm");
      context.fillRect(0, top, place.width, place.high);
      row.cells.forEach((value, cell) => {
        if (stepOf(value) < 0) return;
        context.fillStyle = stepColour(value);
        const left = Math.floor(cell * wide);
        context.fillRect(left, top, Math.max(2, Math.ceil((cell + 1) * wide) - left), place.high);
      });
    });
    axis(context, rows.length * place.pitch);
  }

  function axis(context, top) {
    context.font = '11px "Inter", system-ui, "Segoe UI", "DejaVu Sans", sans-serif';
    context.textBaseline = "top";
    const span = answer.until - answer.from;
    const { times, step } = roundTimes(answer.from, answer.until, Math.max(2, Math.floor(place.width / 96)));
    for (const time of times) {
      const left = ((time - answer.from) / span) * place.width;
      const text = axisText(time, step);
      const half = context.measureText(text).width / 2;
      context.fillStyle = colour("line-strong");
      context.fillRect(Math.round(left), top, 1, 5);
      context.fillStyle = colour("ink-faint");
      context.textAlign = "center";
      context.fillText(text, Math.max(half, Math.min(place.width - half, left)), top + 8);
    }
  }

  function mark() {
    cursor.hidden = tip.hidden = at === null || place === null;
    if (cursor.hidden) return;
    const wide = place.width / cells;
    const [left, top] = [at.cell * wide, at.row * place.pitch + place.top];
    for (const [key, value] of [["left", left - 1], ["top", top - 1], ["width", wide + 2], ["height", place.high + 2]]) {
      cursor.style.setProperty(key, `${value}px`);
    }
    tip.textContent = cellText();
    tip.style.setProperty("top", `${top + place.high + 6}px`);
    const half = Math.min(tip.offsetWidth / 2, place.width / 2);
    tip.style.setProperty("left", `${Math.max(half, Math.min(place.width - half, left + wide / 2))}px`);
  }

  const timesOf = (cell) => [answer.from + cell * answer.cell_s, answer.from + (cell + 1) * answer.cell_s];

  function cellText() {
    const row = rows[at.row];
    const value = row.cells[at.cell];
    const [from, until] = timesOf(at.cell);
    const said = value === null ? "calm" : `${score(value)} ${STEP_NAMES[Math.max(0, stepOf(value))]}`;
    return `${row.metric}: ${said}, ${spanText(Math.floor(from), Math.ceil(until))}`;
  }

  function choose(next) {
    at = next;
    mark();
  }

  function cellAt(event) {
    const box = canvas.getBoundingClientRect();
    const row = Math.floor((event.clientY - box.top) / place.pitch);
    const cell = Math.floor(((event.clientX - box.left) / box.width) * cells);
    return row >= 0 && row < rows.length && cell >= 0 && cell < cells ? { row, cell } : null;
  }

  const enter = () => at && open(rows[at.row], ...timesOf(at.cell));
  canvas.addEventListener("pointermove", (event) => choose(cellAt(event)));
  surface.addEventListener("pointerleave", () => choose(null));
  canvas.addEventListener("click", (event) => {
    choose(cellAt(event));
    enter();
  });
  surface.addEventListener("blur", () => choose(null));
  surface.addEventListener("keydown", (event) => {
    const now = at ?? { row: 0, cell: cells - 1 };
    const moves = {
      ArrowLeft: { cell: now.cell - 1 }, ArrowRight: { cell: now.cell + 1 }, ArrowUp: { row: now.row - 1 },
      ArrowDown: { row: now.row + 1 }, Home: { cell: 0 }, End: { cell: cells - 1 },
      PageUp: { row: now.row - 10 }, PageDown: { row: now.row + 10 },
    };
    if (event.key === "Enter") enter();
    if (event.key === "Escape") choose(null);
    const move = moves[event.key];
    if (!move || rows.length === 0) return;
    event.preventDefault();
    const within = (value, end) => Math.max(0, Math.min(end - 1, value));
    const moved = at === null ? now : { ...now, ...move };
    choose({ row: within(moved.row, rows.length), cell: within(moved.cell, cells) });
    speak(cellText());
    cursor.scrollIntoView({ block: "nearest" });
  });
  const observer = new ResizeObserver(layout);
  observer.observe(root);
  signal.addEventListener("abort", () => observer.disconnect());
  onTheme(layout, signal);
  return root;
}

const two = (value) => String(value).padStart(2, "0");

function axisText(time, step) {
  const at = civil(time);
  const date = `${two(at.month)}-${two(at.day)}`;
  if (step >= 28 * DAY_S) return `${at.year}-${two(at.month)}`;
  if (step >= DAY_S) return `${at.year}-${date}`;
  return at.hour === 0 && at.minute === 0 ? date : `${two(at.hour)}:${two(at.minute)}`;
}
