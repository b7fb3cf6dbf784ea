// Every metric with its state and newest row: searched, filtered and paged by the engine.

import { get } from "../api.js";
import { fill, h } from "../dom.js";
import { count, counted, number, score } from "../format.js";
import { repeat } from "../live.js";
import { metricLink } from "../part/ranked.js";
import { copyable, empty, firstSample, stateChip } from "../part/states.js";
import { stepOf } from "../detection_scale.js";
import { agoText } from "../time_zone.js";

const ROWS = 50;
const TYPING_MS = 250;
const REFRESH_MS = 10_000;
/** Filters: what the engine calls them, and what people read. */
const FILTERS = [["", "Any state"], ["active", "active"], ["pending_data", "waiting for data"],
  ["create_pending", "being made"], ["error", "error"], ["unmonitored", "not monitored"]];

export const metrics = {
  title: "Metrics",
  async show(page) {
    const chosen = { search: page.query.get("search") ?? "", state: page.query.get("state") ?? "", tag: page.query.getAll("tag") };
    let cursors = [null];
    let typing = null;
    const table = h("section", { class: "card flush", "aria-label": "Metrics" });
    const pager = h("div", { class: "row pager" });
    const search = h("input", { type: "search", placeholder: "Part of a name", value: chosen.search, "aria-label": "Search metrics", on: { input: typed } });
    const state = h("select", { "aria-label": "State", on: { change: () => { chosen.state = state.value; restart(); } } },
      FILTERS.map(([value, text]) => h("option", { value, text })));
    state.value = chosen.state;
    function typed() {
      clearTimeout(typing);
      typing = setTimeout(() => {
        chosen.search = search.value.trim();
        restart();
      }, TYPING_MS);
    }
    function restart() {
      cursors = [null];
      return draw();
    }
    let turn = 0;
    async function draw() {
      const mine = (turn += 1);
      page.setQuery(chosen);
      const answer = await get(["metrics"], { search: chosen.search, status: chosen.state, tag: chosen.tag.join(";"), limit: ROWS, cursor: cursors.at(-1) }, page.signal);
      if (mine !== turn) return;
      if (answer.metrics.length > 0) fill(table, tableOf(answer.metrics));
      else if (chosen.search || chosen.state) fill(table, empty("No metric fits", h("button", { type: "button", text: "Show all", on: { click: () => { search.value = chosen.search = ""; state.value = chosen.state = ""; restart(); } } })));
      else fill(table, empty("No metrics yet", h("p", { text: "Send a first sample:" }), copyable(firstSample(await get(["settings"], {}, page.signal).catch(() => null)))));
      const first = (cursors.length - 1) * ROWS;
      const step = (act, text, enabled) => h("button", { type: "button", text, disabled: !enabled, on: { click: () => { act(); draw(); } } });
      fill(pager, h("span", { class: "soft small", text: answer.total > 0 ? `${first + 1} to ${first + answer.metrics.length} of ${counted(answer.total, "metric")}` : "" }),
        step(() => cursors.pop(), "Previous", cursors.length > 1),
        step(() => cursors.push(answer.next_cursor), "Next", answer.next_cursor !== null));
    }
    fill(page.root, h("div", { class: "page-head" }, h("h1", { text: "Metrics" })),
      h("div", { class: "row tools" }, search, state, chosen.tag.map((tag) => h("span", { class: "chip tag", text: tag }))), table, pager);
    await draw();
    repeat(REFRESH_MS, async () => {
      if (!table.matches(":focus-within")) await draw();
    }, page.signal);
  },
};

function tableOf(list) {
  return h("table", {},
    h("thead", {}, h("tr", {},
      h("th", { scope: "col", text: "Metric" }), h("th", { scope: "col", text: "State" }),
      h("th", { scope: "col", class: "number wide-only", text: "Newest value" }),
      h("th", { scope: "col", class: "number wide-only", text: "Detection score" }),
      h("th", { scope: "col", class: "wide-only", text: "Newest sample" }),
      h("th", { scope: "col", class: "number wider-only", text: "Rows" }))),
    h("tbody", {}, list.map(row)));
}

function row(metric) {
  const newest = metric.newest_row;
  const detection = newest?.detection?.score;
  const learning = metric.learning ? `${metric.learning.rows} of ${metric.learning.of}` : null;
  return h("tr", {},
    h("td", { class: "metric-cell" }, metricLink(metric.name),
      h("div", { class: "narrow-only small soft", text: newest ? `${number(newest.value)}, ${agoText(newest.timestamp)}` : "no samples" })),
    h("td", { class: "nowrap" }, stateChip(metric), learning ? h("div", { class: "small soft", text: learning }) : null),
    h("td", { class: "number wide-only", text: newest ? number(newest.value) : "" }),
    h("td", { class: `number wide-only mono ${stepOf(detection) > 0 ? "odd" : ""}`, text: typeof detection === "number" ? score(detection) : "" }),
    h("td", { class: "wide-only nowrap soft", text: newest ? agoText(newest.timestamp) : "none" }),
    h("td", { class: "number wider-only", text: count(metric.last_rowid) }));
}
