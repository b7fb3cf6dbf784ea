// One pane of a chart: uPlot (vendor/uplot) with our axes, our way of zooming, and cursors that move together. A pane
// draws; its owner decides what to load when a person drags over a stretch of time.

import { h } from "./dom.js";
import { short } from "./format.js";
import { colour } from "./theme.js";
import { civil, zonedDate } from "./time_zone.js";

const DAY_S = 86_400;
const FONT = '11px "Inter", system-ui, -apple-system, "Segoe UI", "Noto Sans", "DejaVu Sans", sans-serif';
/** Fewer pixels than this are a click and not a stretch of time. */
const MIN_DRAG_PX = 5;

const two = (value) => String(value).padStart(2, "0");

/** Labels of the axis of time: the date where the day changes, the time of day elsewhere. */
function timeLabels(u, splits, axis, space, step) {
  let last = null;
  return splits.map((time) => {
    const at = civil(time);
    const date = `${two(at.month)}-${two(at.day)}`;
    const isNewYear = last === null || last.year !== at.year;
    const isNewDay = isNewYear || last.month !== at.month || last.day !== at.day;
    last = at;
    if (step >= 28 * DAY_S) return isNewYear ? `${at.year}-${two(at.month)}` : two(at.month);
    if (step >= DAY_S) return isNewYear ? `${date}\n${at.year}` : date;
    const clock = `${two(at.hour)}:${two(at.minute)}${step < 60 ? `:${two(at.second)}` : ""}`;
    return isNewDay ? `${clock}\n${isNewYear ? `${at.year}-${date}` : date}` : clock;
  });
}

function axes(hasTime, leftPx) {
  const shared = () => ({
    stroke: () => colour("ink-faint"), font: FONT,
    grid: { stroke: () => colour("line"), width: 1 },
    ticks: { show: false },
  });
  return [
    { ...shared(), values: timeLabels, show: true, size: hasTime ? 36 : 4, space: 78, gap: hasTime ? 6 : 0, ...(hasTime ? {} : { values: (u, splits) => splits.map(() => "") }) },
    { ...shared(), size: leftPx, gap: 6, space: 26, values: (u, splits) => splits.map(short) },
  ];
}

/**
 * Draws into `host`. `lines` are uPlot series without the first; `data` is `[time, ...columns]`; `y` gives the scale's
 * ends; `sync` names panes whose cursors move together; `onZoom(from, until)`, `onReset()`, `onCursor(idx)`,
 * `onClick(time, pane)` tell what a person does.
 */
export function pane(host, { data, lines, bands, y, x, height, hasTime = true, leftPx = 52, plugins = [], sync, label,
  onZoom, onReset, onCursor, onClick }) {
  const width = () => Math.max(120, Math.floor(host.clientWidth));
  let pressed = null;
  const plot = new window.uPlot({
    width: width(), height, data, plugins, bands,
    padding: [8, 8, 0, 0],
    tzDate: zonedDate,
    legend: { show: false },
    scales: { x: { time: true, range: () => x() }, y: { range: () => y() } },
    axes: axes(hasTime, leftPx),
    series: [{}, ...lines.map((line) => ({ spanGaps: false, points: { show: false }, ...line }))],
    cursor: {
      sync: sync ? { key: sync, setSeries: false } : undefined,
      drag: { x: Boolean(onZoom), y: false, setScale: false, dist: MIN_DRAG_PX },
      y: false,
      points: { size: 6, fill: (u, series) => (series < 1 ? "transparent" : String(u.series[series]._stroke ?? colour("ink"))) },
      bind: { dblclick: () => () => onReset?.() },
    },
    hooks: {
      setSelect: [(u) => {
        const { left, width: wide } = u.select;
        if (wide < MIN_DRAG_PX || !onZoom) return;
        const [from, until] = [left, left + wide].map((position) => u.posToVal(position, "x"));
        u.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
        onZoom(Math.floor(from), Math.ceil(until));
      }],
      setCursor: [(u) => onCursor?.(u.cursor.idx ?? null)],
    },
  }, data, host);
  plot.root.setAttribute("role", "img");
  plot.root.setAttribute("aria-label", label ?? "chart");
  if (onClick) {
    plot.over.addEventListener("mousedown", (event) => { pressed = event.clientX; });
    plot.over.addEventListener("click", (event) => {
      if (pressed === null || Math.abs(event.clientX - pressed) >= MIN_DRAG_PX) return;
      const left = event.clientX - plot.over.getBoundingClientRect().left;
      onClick(plot.posToVal(left, "x"), plot);
    });
  }
  const observer = new ResizeObserver(() => {
    if (host.isConnected && width() !== plot.width) plot.setSize({ width: width(), height });
  });
  observer.observe(host);
  return {
    plot,
    redraw: () => plot.redraw(false, true),
    destroy: () => {
      observer.disconnect();
      plot.destroy();
    },
  };
}

/** A line. */
export function line(name, of, width = 1.4) {
  return { label: name, stroke: () => colour(of), width };
}

/** A line over an area from zero. */
export function area(name, of) {
  return { label: name, stroke: () => colour(of), width: 1.2, fill: () => `color-mix(in srgb, ${colour(of)} 18%, transparent)`, fillTo: 0 };
}

/** The edge of an envelope: unseen, filled between two of them. */
export function edge(name) {
  return { label: name, stroke: "transparent", width: 0, points: { show: false } };
}

/** A heading above a pane, with a place for what the cursor reads. */
export function paneHead(title, hint) {
  const reading = h("span", { class: "reading" });
  const element = h("div", { class: "pane-head" }, h("h3", { text: title, title: hint }), reading);
  return { element, reading };
}
