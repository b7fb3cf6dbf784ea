// One metric: its values and scores over time, where it was odd and why, and what can be done with it.

import { get, isLeft } from "../api.js";
import { columnsOf } from "../chart_data.js";
import { fill, h, icon, ICONS, renewable } from "../dom.js";
import { bytes, count, duration, number, score } from "../format.js";
import { follow, repeat, seldom } from "../live.js";
import { explanation } from "../part/explanation.js";
import { metricActions } from "../part/metric_actions.js";
import { metricCharts } from "../part/metric_charts.js";
import { navigator } from "../part/navigator.js";
import { scoreMark } from "../part/ranked.js";
import { chip, empty, failure, learningBar, loading, stateChip } from "../part/states.js";
import { link } from "../route.js";
import { agoText, spanText, timeText } from "../time_zone.js";

const POINTS = 1_500;
/** Enough for the strip of all rows. */
const OVERVIEW_POINTS = 900;
/** An anomaly that a link leads to is shown with so many usual intervals at each side. */
const CONTEXT_INTERVALS = 170;
const REFRESH_MS = 30_000;
const LIVE_PAUSE_MS = 3_000;
/** A window that ends within so many usual intervals of the newest row moves on with it. */
const LIVE_INTERVALS = 3;

/** Signals: what is wrong when they are on. */
const SIGNALS = { no_data: "no data", flat_line: "flat line", out_of_range: "out of range", saturated_encoder: "beyond the encoder" };

export const metric = {
  title: "Metric",
  async show(page) {
    if (page.name === null) throw new Error("This address names no metric that could be read.");
    page.setTitle(page.name);
    let [about, whole] = await Promise.all([
      get(["metrics", page.name], {}, page.signal),
      get(["metrics", page.name, "series"], { points: OVERVIEW_POINTS }, page.signal),
    ]);
    const state = { from: 0, until: 0, chosen: null, follows: false };
    const head = h("header", { class: "metric-head" });
    const facts = h("section", { class: "card", "aria-label": "About this metric" });
    const list = h("section", { class: "card flush", "aria-label": "Anomalies" });
    const why = h("section", { class: "card", "aria-label": "Why", "aria-live": "polite" });
    const tools = h("div", { class: "row tools" });
    const spanLabel = h("span", { class: "soft small span-label" });

    function drawAbout() {
      fill(head, ...headOf(about));
      fill(facts, h("div", { class: "card-head" }, h("h2", { text: "About" })), ...factsOf(about), metricActions(about, {
        windowNow: () => ({ from: state.from, until: state.until }), onDone: page.again, onGone: () => page.go("#/metrics"),
      }));
    }

    drawAbout();
    if (whole.rows === 0 || whole.time.length === 0) {
      fill(page.root, head, empty("No samples yet", h("p", { text: "The metric is known, but nothing was stored for it. When its samples are refused, the page of refused samples says why." }),
        h("p", {}, h("a", { href: "#/rejects", text: "Where did my data go?" }))), facts);
      return;
    }
    const usual = Math.max(1, whole.usual_interval_s ?? whole.step_s ?? 60);
    let ends = [whole.from, whole.until];
    const charts = metricCharts({ onZoom: zoom, onReset: () => zoom(...ends), onChoose: (anomaly) => choose(anomaly), signal: page.signal });
    const drawn = renewable(page.signal);
    let strip = stripOf();

    function stripOf() {
      return navigator({ columns: columnsOf(whole), anomalies: whole.anomalies ?? [], from: whole.from, until: Math.max(whole.until, whole.from + 1), onChoose: zoom, signal: drawn() });
    }

    let turn = 0;
    async function zoom(from, until, keepAddress = false) {
      const mine = (turn += 1);
      const least = Math.max(60, usual * 4);
      const middle = (from + until) / 2;
      if (until - from < least) [from, until] = [Math.floor(middle - least / 2), Math.ceil(middle + least / 2)];
      let series;
      try {
        series = await get(["metrics", page.name, "series"], { from, until, points: POINTS }, page.signal);
      } catch (error) {
        if (!isLeft(error)) fill(why, failure(error, () => zoom(from, until)));
        return;
      }
      if (mine !== turn) return;
      // The answer may have rounded them.
      [state.from, state.until] = [from, until];
      state.follows = until >= ends[1] - LIVE_INTERVALS * usual;
      state.series = series;
      spanLabel.textContent = `${spanText(from, until)} (${duration(until - from)}), ${count(series.rows)} samples`;
      strip.show(from, until);
      charts.draw({ ...series, from, until });
      charts.choose(state.chosen, state.usual);
      drawList();
      const isAll = from === ends[0] && until === ends[1];
      if (!keepAddress) page.setQuery(isAll ? { row: state.chosen } : { from, until, row: state.chosen });
    }

    function drawList() {
      const anomalies = [...(state.series.anomalies ?? [])].sort((a, b) => b.max_score - a.max_score);
      const rows = anomalies.slice(0, 100).map((anomaly) => h("li", {},
        h("button", { type: "button", class: "anomaly", "aria-pressed": String(anomaly.rowid === state.chosen), on: { click: () => choose(anomaly) } },
          h("span", { class: "anomaly-time", text: timeText(anomaly.peak_at) }),
          scoreMark(anomaly.max_score),
          h("span", { class: "small soft", text: `value ${number(anomaly.value)}${anomaly.until > anomaly.from ? `, elevated ${duration(anomaly.until - anomaly.from)}` : ""}` }))));
      fill(list, h("div", { class: "card-head" }, h("h2", { text: `Anomalies in view` }), chip(count(anomalies.length), anomalies.length > 0 ? "odd" : "soft")),
        anomalies.length > 0 ? h("ol", { class: "anomaly-list", tabindex: 0, "aria-label": "Anomalies in view, the oddest first" }, rows) : h("p", { class: "soft padded", text: "None in this window." }));
    }

    async function choose(anomaly) {
      state.chosen = anomaly.rowid;
      state.usual = null;
      drawList();
      charts.choose(anomaly.rowid, null);
      fill(why, h("h2", { text: "Why" }), loading("Asking the engine"));
      page.setQuery({ from: state.from, until: state.until, row: anomaly.rowid });
      try {
        const answer = await get(["metrics", page.name, "explain"], { rowid: anomaly.rowid }, page.signal);
        if (state.chosen !== anomaly.rowid) return;
        const around = CONTEXT_INTERVALS * usual;
        fill(why, h("div", { class: "card-head" }, h("h2", { text: "Why" }),
          h("button", { type: "button", class: "plain", text: "Zoom to it", on: { click: () => zoom(Math.floor(answer.timestamp - around / 3), Math.ceil(answer.timestamp + around / 3)) } })),
        explanation(answer, { onWindow: (from, until) => zoom(Math.floor(from), Math.ceil(until)) }));
        state.usual = answer.usual_range ? { ...answer.usual_range, at: answer.timestamp } : null;
        charts.choose(anomaly.rowid, state.usual);
      } catch (error) {
        if (!isLeft(error)) fill(why, failure(error, () => choose(anomaly)));
      }
    }

    fill(tools, ...zoomTools(state, zoom, () => ends), spanLabel);
    fill(why, h("h2", { text: "Why" }), h("p", { class: "soft", text: "Choose an anomaly in the chart or in the list." }));
    fill(page.root, head,
      h("div", { class: "metric-layout" },
        h("section", { class: "card charts-card", "aria-label": "Charts" }, tools, charts.element, strip.element,
          h("p", { class: "small faint", text: "Drag over a chart to zoom in, double-click to see everything." })),
        h("div", { class: "rail" }, why, list, facts)));

    const begin = startWindow(page.query, whole, usual);
    const row = Number.parseInt(page.query.get("row") ?? "", 10);
    // Charts must be in the page to know their width.
    page.root.addEventListener("placed", async () => {
      await zoom(begin.from, begin.until, true);
      const known = (state.series?.anomalies ?? []).find((anomaly) => anomaly.rowid === row)
        ?? (Number.isFinite(begin.at) ? nearest(state.series?.anomalies ?? [], begin.at) : null);
      if (known) choose(known);
      else if (Number.isFinite(row)) choose({ rowid: row });
    }, { once: true });

    let newest = whole.until;
    /** Shows rows that have come, where their end is looked at. */
    async function moveOn() {
      const moved = newest - ends[1];
      if (moved <= 0) return;
      const sawAll = state.from === ends[0] && state.until === ends[1];
      ends = [ends[0], newest];
      if (sawAll) await zoom(...ends, true);
      else if (state.follows) await zoom(state.from + moved, state.until + moved, true);
    }
    async function refresh() {
      [about, whole] = await Promise.all([
        get(["metrics", page.name], {}, page.signal), get(["metrics", page.name, "series"], { points: OVERVIEW_POINTS }, page.signal),
      ]);
      // Nobody loses what they are typing, or where they are.
      if (!facts.querySelector("form:not([hidden])") && !facts.matches(":focus-within") && !head.matches(":focus-within")) drawAbout();
      const next = stripOf();
      strip.element.replaceWith(next.element);
      strip = next;
      strip.show(state.from, state.until);
      newest = Math.max(newest, whole.until);
      await moveOn();
    }
    repeat(REFRESH_MS, refresh, page.signal);
    const soon = seldom(LIVE_PAUSE_MS, () => moveOn().catch(() => null), page.signal);
    follow({ metrics: [about.name] }, (event) => {
      newest = Math.max(newest, event.rows.at(-1)?.timestamp ?? 0);
      soon();
    }, page.signal);
  },
};

/** The window that the address asks for: two times, or the surroundings of one; everything otherwise. */
function startWindow(query, whole, usual) {
  const [from, until, at] = ["from", "until", "at"].map((name) => Number.parseInt(query.get(name) ?? "", 10));
  if (Number.isFinite(from) && Number.isFinite(until) && until > from && from < whole.until && until > whole.from) return { from, until, at };
  if (!Number.isFinite(at)) return { from: whole.from, until: whole.until };
  const half = CONTEXT_INTERVALS * usual;
  return { from: Math.max(whole.from, Math.floor(at - half)), until: Math.min(whole.until, Math.ceil(at + half)), at };
}

function nearest(anomalies, at) {
  const distance = (anomaly) => (at < anomaly.from ? anomaly.from - at : at > anomaly.until ? at - anomaly.until : 0);
  return [...anomalies].sort((a, b) => distance(a) - distance(b) || b.max_score - a.max_score)[0] ?? null;
}

function headOf(about) {
  const tags = Object.entries(about.tags ?? {});
  const on = (about.signals ?? []).filter((signal) => signal.state === "on");
  return [
    h("p", { class: "small crumbs" }, h("a", { href: "#/metrics", text: "Metrics" })),
    h("h1", { class: "mono", text: about.name }),
    h("div", { class: "chips" },
      stateChip(about),
      on.map((signal) => chip(SIGNALS[signal.name] ?? signal.name, "odd", signal.since ? `since ${timeText(signal.since)}` : null)),
      tags.map(([key, value]) => h("a", { class: "chip tag", href: link("compare", null, { tag: `${key}=${value}` }), title: "Compare all with this tag", text: `${key}=${value}` }))),
    about.message ? h("p", { class: "odd small", text: about.message }) : null,
    learningBar(about.learning),
  ];
}

function factsOf(about) {
  const newest = about.newest_row;
  const model = about.model;
  const rows = [
    ["Newest value", newest ? `${number(newest.value)}, ${agoText(newest.timestamp)}` : "none"],
    ["Newest score", newest?.detection ? score(newest.detection.score) : "none"],
    ["Rows", `${count(about.rows ?? about.last_rowid)}, ${count(about.scored_rows)} with scores`],
    ["Range", about.range ? `${number(about.range.min)} to ${number(about.range.max)} (${about.range.learned ? "learned" : "declared"})` : "none yet"],
    ["Model", model ? modelText(model) : null],
    ["Signals", (about.signals ?? []).map((signal) => `${SIGNALS[signal.name] ?? signal.name}: ${signal.state}`).join(", ") || null],
    ["Description", about.description],
    ["Id", about.uid],
  ].filter(([, text]) => text);
  return [h("dl", { class: "facts" }, rows.map(([name, text]) => [h("dt", { text: name }), h("dd", { text })]))];
}

function modelText(model) {
  return model.file_saved_at ? `saved ${agoText(model.file_saved_at)}, ${bytes(model.file_bytes)}` : "not saved yet";
}

function zoomTools(state, zoom, ends) {
  const square = (label, shape, act) => h("button", { type: "button", class: "square", "aria-label": label, title: label, on: { click: act } }, icon(shape));
  const by = (low, high) => () => {
    const span = state.until - state.from;
    zoom(Math.floor(state.from + low * span), Math.ceil(state.until + high * span));
  };
  return [
    square("Earlier", ICONS.left, by(-0.5, -0.5)), square("Later", ICONS.right, by(0.5, 0.5)),
    square("Zoom in", ICONS.plus, by(0.25, -0.25)), square("Zoom out", ICONS.minus, by(-0.5, 0.5)),
    h("button", { type: "button", text: "Everything", on: { click: () => zoom(...ends()) } }),
  ];
}
