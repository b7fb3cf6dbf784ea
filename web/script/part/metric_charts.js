// The panes of one metric, one below the other over the same time: value, raw anomaly score, anomaly score, detection
// score. The cursor stands in all of them, and a stretch dragged over is loaded anew, as fine as the screen can show it.

import { area, edge, line, pane, paneHead } from "../chart.js";
import { columnsOf, extremes, roomy } from "../chart_data.js";
import { anomalyMarks, rangeMarks, thresholdMark, usualMark, weekendMarks } from "../chart_marks.js";
import { ALERT_SCORE, HIGH_SCORE } from "../detection_scale.js";
import { fill, h } from "../dom.js";
import { number, score } from "../format.js";
import { colour, onTheme } from "../theme.js";
import { timeText } from "../time_zone.js";

const SYNC = "metric";
/** A click this near an anomaly means it. */
const NEAR_PX = 14;
const NARROW_PX = 560;

/** `{element, draw(series), choose(rowid, usual)}`; `onZoom(from, until)`, `onReset()`, `onChoose(anomaly)`. */
export function metricCharts({ onZoom, onReset, onChoose, signal }) {
  const time = h("span", { class: "reading" });
  const heads = {
    value: paneHead("Value", "The samples as they came; where many share a pixel, their mean within their extremes"),
    raw: paneHead("Raw anomaly score", "Share of what the model saw that it had not predicted"),
    anomaly: paneHead("Anomaly score", "How unlikely the recent raw scores are for this metric"),
    detection: paneHead("Detection score", `Fuses everything; ${ALERT_SCORE} and above is worth an alert`),
  };
  const hosts = Object.fromEntries(Object.keys(heads).map((name) => [name, h("div", { class: `pane pane-${name}` })]));
  const key = h("div", { class: "chart-key small soft" },
    h("span", {}, h("i", { class: "key-line" }), "value"),
    h("span", { class: "key-range-text" }, h("i", { class: "key-range" }), h("span", { text: "range" })),
    h("span", {}, h("i", { class: "key-odd" }), "anomaly"),
    h("span", {}, h("i", { class: "key-weekend" }), "weekend"));
  const element = h("div", { class: "panes" },
    h("div", { class: "pane-top" }, key, time),
    Object.keys(heads).map((name) => [heads[name].element, hosts[name]]));
  const unscored = h("p", { class: "small soft", hidden: true, text: "No scores in this window yet: they begin when the metric's range is known, for earlier samples too." });
  element.append(unscored);
  let panes = [];
  let shown = null;
  let columns = null;
  let chosen = null;
  let usual = null;

  function drop() {
    for (const one of panes) one.destroy();
    panes = [];
  }

  function read(at) {
    const has = at !== null && columns !== null && columns.time[at] !== undefined;
    time.textContent = has ? timeText(columns.time[at]) : "";
    const say = (name, text) => { heads[name].reading.textContent = has ? text() : ""; };
    say("value", () => {
      const [low, high] = [columns.low[at], columns.high[at]];
      return low !== null && low !== high ? `${number(columns.value[at])} (${number(low)} to ${number(high)})` : number(columns.value[at]);
    });
    for (const name of ["raw", "anomaly", "detection"]) say(name, () => score(columns[name][at]));
  }

  function click(at, plot) {
    const reach = Math.abs(plot.posToVal(NEAR_PX, "x") - plot.posToVal(0, "x"));
    const distance = (anomaly) => (at < anomaly.from ? anomaly.from - at : at > anomaly.until ? at - anomaly.until : 0);
    const near = shown.anomalies.filter((anomaly) => distance(anomaly) <= reach).sort((a, b) => distance(a) - distance(b));
    if (near.length > 0) onChoose(near[0]);
  }

  function build() {
    drop();
    if (shown === null) return;
    const x = () => [shown.from, shown.until];
    const leftPx = element.clientWidth < NARROW_PX ? 42 : 56;
    const shared = { x, leftPx, sync: SYNC, onZoom, onReset, onClick: click };
    const marks = (withPoints) => anomalyMarks(() => shown.anomalies, () => chosen, withPoints);
    const small = element.clientWidth < NARROW_PX ? 74 : 92;
    const values = extremes(columns) ?? [0, 1];
    const one = (name, options) => panes.push(pane(hosts[name], { ...shared, ...options }));
    one("value", {
      height: element.clientWidth < NARROW_PX ? 210 : 340, label: `Values of ${shown.metric}`,
      data: [columns.time, columns.low, columns.high, columns.value],
      lines: [edge("low"), edge("high"), line("value", "series", 1.5)],
      bands: [{ series: [2, 1], fill: () => colour("envelope") }],
      y: () => roomy(withRange(values)), onCursor: read,
      plugins: [weekendMarks(), rangeMarks(() => shown.range), marks(true), usualMark(() => usual)],
    });
    const hasScores = columns.raw.some((value) => value !== null);
    unscored.hidden = hasScores;
    for (const name of ["raw", "anomaly", "detection"]) heads[name].element.hidden = hosts[name].hidden = !hasScores;
    if (!hasScores) return;
    one("raw", { height: small, hasTime: false, label: "Raw anomaly scores", data: [columns.time, columns.raw], lines: [line("raw", "raw", 1)], y: () => [0, 1.02], plugins: [marks(false)] });
    one("anomaly", { height: small, hasTime: false, label: "Anomaly scores", data: [columns.time, columns.anomaly], lines: [line("anomaly", "likelihood", 1.2)], y: () => [0, 1.02], plugins: [marks(false)] });
    const highest = columns.detection.reduce((most, value) => Math.max(most, value ?? 0), HIGH_SCORE);
    one("detection", { height: small + 52, label: "Detection scores, with the threshold of alerts", data: [columns.time, columns.detection], lines: [area("detection", "detection")], y: () => [0, Math.min(1.02, highest * 1.04)], plugins: [marks(false), thresholdMark()] });
  }

  /** The range, where it is near enough to the values not to flatten them. */
  function withRange([low, high]) {
    const { range } = shown;
    if (!range) return [low, high];
    const span = high - low || 1;
    return [range.min > low - span ? Math.min(low, range.min) : low, range.max < high + span ? Math.max(high, range.max) : high];
  }

  onTheme(build, signal);
  signal.addEventListener("abort", drop);
  return {
    element,
    draw(series) {
      shown = series;
      columns = columnsOf(series);
      fill(key.querySelector(".key-range-text span"), series.range?.learned ? "learned range" : "declared range");
      key.querySelector(".key-range-text").hidden = !series.range;
      build();
      read(null);
    },
    choose(rowid, usualThere) {
      chosen = rowid;
      usual = usualThere ?? null;
      for (const one of panes) one.redraw();
    },
  };
}
