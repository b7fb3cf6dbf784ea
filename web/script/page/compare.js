// Several metrics over the same time, a small chart each: one cursor and one zoom for all of them.

import { get, isLeft } from "../api.js";
import { edge, line, pane } from "../chart.js";
import { columnsOf, extremes, roomy } from "../chart_data.js";
import { anomalyMarks, scoreStrip, weekendMarks } from "../chart_marks.js";
import { fill, h, icon, ICONS } from "../dom.js";
import { count, number, score } from "../format.js";
import { keep, kept } from "../kept.js";
import { metricLink } from "../part/ranked.js";
import { empty, failure } from "../part/states.js";
import { placePicker } from "../part/window_picker.js";
import { chooseWindow, resolved, windowOf, windowQuery } from "../time_window.js";
import { colour, onTheme } from "../theme.js";
import { timeText } from "../time_zone.js";

/** Charts at once. */
export const MAX_COMPARED = 24;
const POINTS = 600;
/** Series loaded side by side. */
const AT_ONCE = 4;
const SUGGESTIONS = 12;
const TYPING_MS = 200;

export const compare = {
  title: "Compare",
  async show(page) {
    let window = windowOf(page.query);
    const chosen = { m: page.query.getAll("m"), glob: page.query.get("glob") ?? "", tag: page.query.getAll("tag") };
    const charts = new Map();
    const picker = h("div");
    const more = h("p", { class: "small soft" });
    const grid = h("div", { class: "multiples" });
    const when = h("span", { class: "mono small soft" });
    const weekend = h("input", { type: "checkbox", on: { change: () => { keep("weekends", weekend.checked ? "1" : "0"); for (const one of charts.values()) one.pane?.redraw(); } } });
    weekend.checked = kept("weekends", "1") === "1";
    const filter = h("input", { type: "text", value: chosen.glob || chosen.tag[0] || "", placeholder: "servers.*.cpu or key=value", "aria-label": "All metrics like this, or with this tag" });
    const matching = h("form", { class: "row tight", on: { submit: (event) => {
      event.preventDefault();
      const text = filter.value.trim();
      const isTag = /^[^=*?{[]+=./.test(text);
      Object.assign(chosen, { glob: isTag ? "" : text, tag: isTag ? [text] : [] });
      draw();
    } } }, filter, h("button", { text: "Add all" }));

    async function listed() {
      const found = [...chosen.m];
      let total = found.length;
      if (chosen.glob || chosen.tag.length > 0) {
        const answer = await get(["metrics"], { glob: chosen.glob, tag: chosen.tag.join(";"), limit: MAX_COMPARED }, page.signal);
        found.push(...answer.metrics.map((metric) => metric.name).filter((name) => !found.includes(name)));
        total += answer.total;
      }
      return { list: found.slice(0, MAX_COMPARED), total };
    }

    let turn = 0;
    async function draw() {
      const mine = (turn += 1);
      page.setQuery({ ...windowQuery(window), ...chosen });
      const [shown, { list, total }] = [await resolved(window, page.signal), await listed()];
      if (mine !== turn) return;
      placePicker(picker, window, shown, (next) => {
        window = next;
        draw();
      });
      more.textContent = total > list.length ? `${count(total - list.length)} more fit and are not shown: at most ${MAX_COMPARED} are compared.` : "";
      more.hidden = total <= list.length;
      clear();
      if (list.length === 0) {
        fill(grid, empty("Nothing to compare yet", h("p", { class: "soft", text: "Search for metrics by name, or add all that match a pattern or carry a tag." })));
        return;
      }
      fill(grid, list.map((name) => box(name, list)));
      await load(list, shown, mine);
    }

    function remove(name, list) {
      // What a pattern found becomes a list of names when one of them is not wanted.
      Object.assign(chosen, { m: list.filter((one) => one !== name), glob: "", tag: [] });
      filter.value = "";
      draw();
    }

    function clear() {
      for (const one of charts.values()) one.pane?.destroy();
      charts.clear();
    }

    function box(name, list) {
      const host = h("div", { class: "pane" });
      const reading = h("span", { class: "reading small" });
      const element = h("figure", { class: "card multiple", "aria-label": name }, h("figcaption", {}, metricLink(name, windowQuery(window)), reading,
        h("button", { type: "button", class: "remove", "aria-label": `Remove ${name}`, title: "Remove", on: { click: () => remove(name, list) } }, icon(ICONS.close, 12))), host);
      charts.set(name, { host, reading, pane: null, columns: null, series: null });
      return element;
    }

    async function load(list, shown, mine) {
      const waiting = [...list];
      const worker = async () => {
        for (let name = waiting.shift(); name !== undefined && mine === turn; name = waiting.shift()) {
          const chart = charts.get(name);
          try {
            const series = await get(["metrics", name, "series"], { from: shown.from, until: shown.until, points: POINTS }, page.signal);
            if (mine === turn) put(chart, { ...series, from: shown.from, until: shown.until });
          } catch (error) {
            if (isLeft(error)) return;
            fill(chart.host, failure(error, null));
          }
        }
      };
      await Promise.all(Array.from({ length: AT_ONCE }, worker));
    }

    function put(chart, series) {
      chart.pane?.destroy();
      chart.series = series;
      chart.columns = columnsOf(series);
      fill(chart.host);
      if (chart.columns.time.length === 0) {
        fill(chart.host, h("p", { class: "soft small padded", text: "No samples in this window." }));
        return;
      }
      const values = roomy(extremes(chart.columns) ?? [0, 1]);
      // Room below for the strip of scores.
      const y = [values[0] - (values[1] - values[0]) * 0.09, values[1]];
      chart.pane = pane(chart.host, {
        data: [chart.columns.time, chart.columns.low, chart.columns.high, chart.columns.value], height: 138, leftPx: 48,
        lines: [edge("low"), edge("high"), line("value", "series", 1.3)],
        bands: [{ series: [2, 1], fill: () => colour("envelope") }],
        x: () => [series.from, series.until], y: () => y, sync: "compare", label: `Values of ${series.metric}`,
        plugins: [weekendMarks(() => weekend.checked), anomalyMarks(() => series.anomalies ?? []), scoreStrip(() => chart.columns)],
        onZoom: (from, until) => choose({ from, until }), onReset: () => choose({ span: "auto" }),
        onCursor: (at) => read(chart, at),
      });
    }

    let zooming = false;
    function choose(next) {
      // Panes whose cursors move together all hear of one drag.
      if (zooming) return;
      zooming = true;
      queueMicrotask(() => { zooming = false; });
      window = next;
      chooseWindow(next);
      draw();
    }

    function read(chart, at) {
      const has = at !== null && chart.columns.time[at] !== undefined && chart.columns.value[at] !== null;
      chart.reading.textContent = has ? `${number(chart.columns.value[at])}  ${score(chart.columns.detection[at])}` : "";
      when.textContent = has ? timeText(chart.columns.time[at]) : "";
    }

    fill(page.root, h("div", { class: "page-head" }, h("h1", { text: "Compare" }), picker),
      h("div", { class: "row tools" }, searchField(page, (name) => {
        if (!chosen.m.includes(name)) chosen.m.push(name);
        draw();
      }), matching, h("label", { class: "tick" }, weekend, "Shade weekends"), when),
      more, grid);
    onTheme(() => { for (const one of charts.values()) if (one.series) put(one, one.series); }, page.signal);
    page.signal.addEventListener("abort", clear);
    page.root.addEventListener("placed", () => draw().catch((error) => {
      if (!isLeft(error)) fill(grid, failure(error, page.again));
    }), { once: true });
  },
};

/** Names that the engine finds for what is typed; choosing one adds it. */
function searchField(page, onChosen) {
  const options = h("datalist", { id: "found-metrics" });
  const field = h("input", { type: "search", list: "found-metrics", placeholder: "Add a metric by name", "aria-label": "Add a metric by name", autocomplete: "off", on: { input: typed } });
  let typing = null;
  let known = new Set();
  const take = (name) => {
    field.value = "";
    onChosen(name);
  };
  function typed() {
    if (known.has(field.value)) return take(field.value);
    clearTimeout(typing);
    typing = setTimeout(async () => {
      try {
        const { metrics } = await get(["metrics"], { search: field.value.trim(), limit: SUGGESTIONS }, page.signal);
        known = new Set(metrics.map((metric) => metric.name));
        fill(options, metrics.map((metric) => h("option", { value: metric.name })));
      } catch { /* no suggestions then; the banner says why */ }
    }, TYPING_MS);
    return undefined;
  }
  const form = h("form", { class: "row tight", on: { submit: async (event) => {
    event.preventDefault();
    const text = field.value.trim();
    if (text === "") return;
    const { metrics } = await get(["metrics"], { search: text, limit: 1 }, page.signal);
    field.setCustomValidity(metrics.length > 0 ? "" : "No metric has this in its name.");
    if (metrics.length > 0) take(metrics[0].name);
    else field.reportValidity();
  } } }, field, options, h("button", { text: "Add" }));
  field.addEventListener("input", () => field.setCustomValidity(""));
  return form;
}
