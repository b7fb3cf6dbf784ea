// Anomalies of many metrics, the oddest first, as a table that leads to each of them.

import { h } from "../dom.js";
import { count, counted, duration, number, score } from "../format.js";
import { HIGH_SCORE, STEP_NAMES, stepOf } from "../detection_scale.js";
import { link } from "../route.js";
import { spanText, timeText } from "../time_zone.js";

/** A bar with the number beside it. */
export function scoreMark(value) {
  const step = Math.max(0, stepOf(value));
  return h("span", { class: "score-mark", title: `detection score ${score(value)}: ${STEP_NAMES[step]}` },
    h("span", { class: "score-bar" }, h("span", { class: `heat-${step}`, style: { width: `${Math.min(100, (value / HIGH_SCORE) * 100)}%` } })),
    h("span", { class: "mono", text: score(value) }));
}

/** A link to the metric around the time of an anomaly. */
export function metricLink(name, query = {}) {
  return h("a", { class: "metric-name mono", href: link("metric", name, query), title: name, text: name });
}

/** `groupName` says what a group is, where there are groups; `isEpisodes` that each row is one episode; `choose`, where
 *  given, adds boxes to tick: `{isChosen(anomaly), onChoose(anomaly, isChosen)}`. */
export function rankedTable(anomalies, { groupName = null, isEpisodes = false, choose = null } = {}) {
  const head = h("tr", {},
    choose ? h("th", { scope: "col" }, h("span", { class: "visually-hidden", text: "Compare" })) : null,
    h("th", { scope: "col", text: "Score" }),
    groupName ? h("th", { scope: "col", text: groupName }) : null,
    h("th", { scope: "col", text: groupName ? "Oddest metric" : "Metric" }),
    h("th", { scope: "col", class: "wide-only", text: "Peak at" }),
    h("th", { scope: "col", class: "number wide-only", text: "Value there" }),
    h("th", { scope: "col", class: "number wide-only", text: isEpisodes ? "Lasted" : "Episodes" }),
    h("th", { scope: "col", class: "number wider-only", text: "Samples" }));
  return h("table", { class: "ranked" }, h("thead", {}, head), h("tbody", {}, anomalies.map((anomaly) => row(anomaly, groupName, isEpisodes, choose))));
}

function lasted(anomaly) {
  return anomaly.last > anomaly.first ? duration(anomaly.last - anomaly.first) : "one sample";
}

function row(anomaly, groupName, isEpisodes, choose) {
  const name = anomaly.metric ?? anomaly.group;
  const elevated = anomaly.last > anomaly.first ? `between ${spanText(anomaly.first, anomaly.last)}` : timeText(anomaly.first);
  const box = choose && h("input", { type: "checkbox", "aria-label": `compare ${name}`, on: { change: (event) => choose.onChoose(anomaly, event.target.checked) } });
  if (box) box.checked = choose.isChosen(anomaly);
  const target = { at: anomaly.peak_at, row: anomaly.peak_rowid };
  return h("tr", {},
    box ? h("td", {}, box) : null,
    h("td", { class: "score-cell" }, scoreMark(anomaly.max_score)),
    groupName ? h("td", { class: "group-cell", text: anomaly.group ?? "" }) : null,
    h("td", { class: "metric-cell" }, anomaly.metric ? metricLink(anomaly.metric, target) : h("span", { class: "soft", text: counted(anomaly.rows, "sample") }),
      h("div", { class: "narrow-only small soft", text: `${timeText(anomaly.peak_at)}, value ${number(anomaly.peak_value)}` })),
    h("td", { class: "wide-only nowrap", text: timeText(anomaly.peak_at) }),
    h("td", { class: "number wide-only", text: number(anomaly.peak_value) }),
    h("td", { class: "number wide-only", title: elevated, text: isEpisodes ? lasted(anomaly) : count(anomaly.episodes) }),
    h("td", { class: "number wider-only", title: elevated, text: count(anomaly.rows) }));
}
