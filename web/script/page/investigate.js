// What was odd between two times: ranked, by metric, by episode or by the groups of a tag; and everything found side by
// side on the page that compares.

import { get } from "../api.js";
import { ALERT_SCORE } from "../detection_scale.js";
import { fill, h } from "../dom.js";
import { counted } from "../format.js";
import { rankedTable } from "../part/ranked.js";
import { empty } from "../part/states.js";
import { placePicker } from "../part/window_picker.js";
import { link } from "../route.js";
import { resolved, windowOf, windowQuery } from "../time_window.js";
import { MAX_COMPARED } from "./compare.js";

const LIMIT = 200;
/** Keys of tags are read off so many metrics. */
const ASKED_FOR_TAGS = 200;

export const investigate = {
  title: "Investigate",
  async show(page) {
    let window = windowOf(page.query);
    const chosen = {
      min_score: Number.parseFloat(page.query.get("min_score") ?? "") || ALERT_SCORE,
      group_by: page.query.get("group_by") ?? "metric", glob: page.query.get("glob") ?? "", tag: page.query.get("tag") ?? "",
    };
    const picked = new Set();
    const picker = h("div");
    const result = h("section", { class: "card flush", "aria-label": "Result", "aria-live": "polite" });
    const compare = h("div", { class: "row" });
    const { metrics } = await get(["metrics"], { limit: ASKED_FOR_TAGS }, page.signal);
    const keys = [...new Set(metrics.flatMap((metric) => Object.keys(metric.tags ?? {})))].sort();
    if (chosen.group_by.startsWith("tag:") && !keys.includes(chosen.group_by.slice(4))) keys.push(chosen.group_by.slice(4));

    const threshold = h("input", { type: "number", min: 0, max: 1, step: "any", required: true, value: chosen.min_score, id: "threshold" });
    const groups = h("select", { id: "group-by" }, h("option", { value: "metric", text: "Metric" }), h("option", { value: "episode", text: "Episode" }),
      keys.map((key) => h("option", { value: `tag:${key}`, text: `Tag: ${key}` })));
    groups.value = chosen.group_by;
    const glob = h("input", { type: "text", placeholder: "servers.*.cpu", value: chosen.glob, id: "glob" });
    const tag = h("input", { type: "text", placeholder: "key=value", value: chosen.tag, id: "tag", pattern: "[^=]+=.*", title: "key=value" });
    const field = (label, input) => h("label", { class: "field", for: input.id }, h("span", { text: label }), input);
    const form = h("form", { class: "card inline-form", "aria-label": "What to look for", on: { submit: (event) => {
      event.preventDefault();
      Object.assign(chosen, { min_score: threshold.valueAsNumber, group_by: groups.value, glob: glob.value.trim(), tag: tag.value.trim() });
      draw();
    } } },
    field("Detection score from", threshold), field("Group by", groups), field("Names like", glob), field("Tag", tag), h("button", { class: "main", text: "Look" }));

    let turn = 0;
    async function draw() {
      const mine = (turn += 1);
      page.setQuery({ ...windowQuery(window), min_score: chosen.min_score === ALERT_SCORE ? null : chosen.min_score, group_by: chosen.group_by === "metric" ? null : chosen.group_by, glob: chosen.glob, tag: chosen.tag });
      const shown = await resolved(window, page.signal);
      const answer = await get(["anomalies"], { from: shown.from, until: shown.until, limit: LIMIT, ...chosen }, page.signal);
      if (mine !== turn) return;
      picked.clear();
      placePicker(picker, window, shown, (next) => {
        window = next;
        draw();
      });
      const found = answer.anomalies;
      if (found.length === 0) {
        fill(result, empty("Nothing was that odd", h("p", { class: "soft", text: "Look at a longer window, or from a lower score on." })));
        fill(compare);
        return;
      }
      const key = chosen.group_by.startsWith("tag:") ? chosen.group_by.slice(4) : null;
      const table = key && found.every((one) => !one.metric) ? groupTable(found, key, shown)
        : rankedTable(found, { groupName: key, isEpisodes: chosen.group_by === "episode", choose: { isChosen: (one) => picked.has(one.metric), onChoose: (one, isChosen) => { picked[isChosen ? "add" : "delete"](one.metric); drawCompare(found, shown); } } });
      fill(result, table, answer.truncated ? h("p", { class: "small soft padded", text: `Only the ${LIMIT} oddest are shown.` }) : null);
      drawCompare(found, shown);
    }

    function drawCompare(found, shown) {
      const names = [...new Set(found.map((one) => one.metric).filter(Boolean))];
      const some = names.filter((name) => picked.has(name));
      const to = (list) => link("compare", null, { from: shown.from, until: shown.until, m: list.slice(0, MAX_COMPARED) });
      fill(compare, h("span", { class: "soft small", text: chosen.group_by === "episode" ? counted(found.length, "episode") : counted(found.length, chosen.group_by === "metric" ? "metric" : "group") }),
        some.length > 0 ? h("a", { class: "button main", href: to(some), text: `Compare ${some.length} chosen` }) : null,
        names.length > 0 ? h("a", { class: some.length > 0 ? "button" : "button main", href: to(names), text: names.length > MAX_COMPARED ? `Compare the first ${MAX_COMPARED}` : "Compare all" }) : null);
    }

    fill(page.root, h("div", { class: "page-head" }, h("h1", { text: "Investigate" }), picker),
      form, compare, result);
    await draw();
  },
};

/** Groups that name no metric: each leads to its metrics, side by side. */
function groupTable(found, key, shown) {
  const rows = found.map((one) => {
    const target = link("compare", null, { from: shown.from, until: shown.until, tag: `${key}=${one.group}` });
    return { ...one, target };
  });
  const table = rankedTable(rows, { groupName: key });
  table.querySelectorAll("tbody tr").forEach((row, at) => {
    row.querySelector(".metric-cell").replaceChildren(h("a", { href: rows[at].target, text: "Compare its metrics" }));
  });
  return table;
}
