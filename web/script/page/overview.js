// The first page: is the engine well, what comes in, which models are how far, and what was odd.

import { get } from "../api.js";
import { fill, h, refill, renewable } from "../dom.js";
import { bytes, count, counted, duration, figure, percent } from "../format.js";
import { ALERT_SCORE } from "../detection_scale.js";
import { follow, repeat, seldom } from "../live.js";
import { cellsFor, heatGrid, legend } from "../part/heat_grid.js";
import { rankedTable } from "../part/ranked.js";
import { sparkline } from "../part/sparkline.js";
import { chip, copyable, firstSample } from "../part/states.js";
import { placePicker } from "../part/window_picker.js";
import { link } from "../route.js";
import { chooseWindow, resolved, windowOf, windowQuery } from "../time_window.js";

const FIGURES_MS = 3_000;
const ANOMALIES_MS = 20_000;
const LIVE_PAUSE_MS = 2_000;
const RANKED = 12;
/** With no more odd metrics than these, their episodes are listed until somebody chooses. */
const FEW_METRICS = 3;
const STRIPS = 10;
/** Points of the small charts of rates. */
const REMEMBERED = 60;

/** Models by state: key of the figures, words, filter of the page of metrics, colour. */
const STATES = [
  ["active", "active", "active", "good"], ["learning", "learning", "active", "learning"],
  ["pending_data", "waiting for data", "pending_data", "accent"], ["create_pending", "being made", "create_pending", "likelihood"],
  ["error", "error", "error", "odd"], ["unmonitored", "not monitored", "unmonitored", "line-strong"],
];

export const overview = {
  title: "Overview",
  async show(page) {
    let window = windowOf(page.query);
    let grouping = page.query.get("by");
    const rates = { stored: [], scored: [] };
    const health = h("div");
    const tiles = h("section", { class: "tiles", "aria-label": "Figures" });
    const models = h("section", { class: "card", "aria-label": "Metrics by state" });
    const picker = h("div");
    const odd = h("section", { class: "card flush" });
    const strip = h("section", { class: "card heat-card", "aria-label": "The oddest metrics over time" });

    async function figures() {
      const now = await get(["overview"], {}, page.signal);
      remember(rates.stored, now.rows?.stored_per_s);
      remember(rates.scored, now.rows?.scored_per_s);
      fill(health, healthLine(now));
      refill(tiles, tilesOf(now, rates));
      refill(models, ...modelsOf(now));
      return now;
    }

    const drawn = renewable(page.signal);
    let turn = 0;
    async function anomalies(isAsked = false) {
      const mine = (turn += 1);
      const shown = await resolved(window, page.signal);
      const options = { from: shown.from, until: shown.until };
      const rankedBy = (by) => get(["anomalies"], { ...options, limit: RANKED, group_by: by, min_score: ALERT_SCORE }, page.signal);
      let [ranked, heat] = await Promise.all([
        rankedBy(grouping ?? "metric"),
        get(["heat"], { ...options, cells: cellsFor(document.getElementById("main").clientWidth), limit: STRIPS, sort: "score" }, page.signal),
      ]);
      const by = grouping ?? (ranked.anomalies.length > FEW_METRICS ? "metric" : "episode");
      if (grouping === null && by === "episode") ranked = await rankedBy(by);
      if (mine !== turn) return;
      const choose = (next, nextGrouping = grouping) => {
        [window, grouping] = [next, nextGrouping];
        chooseWindow(next);
        page.setQuery({ ...windowQuery(next), by: grouping });
        anomalies(true);
      };
      placePicker(picker, window, shown, (next) => choose(next));
      (isAsked ? fill : refill)(odd, ...oddOf(ranked, shown, window, { by, onBy: (next) => choose(window, next), onAll: () => choose({ span: "all" }) }));
      const rows = heat.rows.filter((row) => row.max !== null);
      strip.hidden = rows.length === 0;
      if (rows.length > 0 && !strip.matches(":focus-within")) {
        fill(strip, h("div", { class: "card-head" }, h("h2", { text: "When" }), legend(), h("a", { href: link("heat", null, windowQuery(window)), text: `All ${counted(heat.total, "metric")}` })),
          heatGrid({ ...heat, rows }, {
            signal: drawn(),
            open: (row, from, until) => page.go(link("metric", row.metric, { at: Math.round((from + until) / 2) })),
          }));
      }
    }

    const first = await figures();
    if ((first.metrics?.total ?? 0) === 0) {
      fill(page.root, h("div", { class: "page-head" }, h("h1", { text: "Overview" })), health, await welcome(page.signal), tiles);
      repeat(FIGURES_MS, async () => {
        if (((await figures()).metrics?.total ?? 0) > 0) page.again();
      }, page.signal);
      return;
    }
    await anomalies();
    fill(page.root,
      h("div", { class: "page-head" }, h("h1", { text: "Overview" }), picker),
      health, tiles, h("div", { class: "columns" }, odd, models), strip);
    repeat(FIGURES_MS, figures, page.signal);
    repeat(ANOMALIES_MS, () => anomalies(), page.signal);
    follow({ minScore: ALERT_SCORE }, seldom(LIVE_PAUSE_MS, () => anomalies().catch(() => null), page.signal), page.signal);
  },
};

function remember(list, value) {
  if (typeof value === "number") list.push(value);
  if (list.length > REMEMBERED) list.shift();
}

function healthLine(now) {
  const isWell = now.health?.status === "ok";
  const problems = now.health?.problems ?? [];
  return h("div", { class: `health ${isWell ? "good" : "odd"}` },
    h("strong", { text: isWell ? "Healthy" : "Degraded" }),
    h("span", { class: "soft", text: `running for ${duration(now.now - now.started_at)}` }),
    problems.length > 0 ? h("ul", {}, problems.map((text) => h("li", { text }))) : null);
}

function tile(title, value, below, extra = null, href = null) {
  const body = [h("h3", { text: title }), h("p", { class: "figure", text: value }), h("p", { class: "small soft" }, below), extra];
  return href ? h("a", { class: "tile", href }, body) : h("div", { class: "tile" }, body);
}

function tilesOf(now, rates) {
  const { metrics = {}, rows = {}, models = {}, queues = {} } = now;
  const share = models.budget_bytes > 0 ? models.resident_bytes / models.budget_bytes : null;
  return [
    tile("Metrics", count(metrics.total), `${count(metrics.active)} active`, null, "#/metrics"),
    tile("Samples stored", `${figure(rows.stored_per_s)}/s`, `${figure(rows.stored_total)} so far`, sparkline(rates.stored, "series")),
    tile("Samples scored", `${figure(rows.scored_per_s)}/s`, `${count(rows.unscored)} waiting for a score`, sparkline(rates.scored, "likelihood")),
    tile("Models in memory", `${count(models.resident)} of ${count(models.known)}`, share === null ? bytes(models.resident_bytes) : `${bytes(models.resident_bytes)}, ${percent(share)} of the budget`),
    tile("Queues", count((queues.data ?? 0) + (queues.hints ?? 0) + (queues.scores ?? 0)), `${count(queues.data)} data, ${count(queues.hints)} hints, ${count(queues.scores)} scores`),
    tile("Samples refused", count(now.rejects_total), now.rejects_total > 0 ? "see why" : "none", null, "#/rejects"),
  ];
}

function modelsOf(now) {
  const metrics = now.metrics ?? {};
  const known = STATES.filter(([key]) => metrics[key] > 0);
  const all = known.reduce((sum, [key]) => sum + metrics[key], 0) || 1;
  // What the process that steps models says of itself; nothing where it is another one.
  const models = { ...(now.engine ?? {}), ...(now.models ?? {}) };
  const facts = [
    ["Waiting for a turn", count(models.hungry)],
    ["Read from disk, put away", models.swaps_in === undefined ? null : `${count(models.swaps_in)}, ${count(models.swaps_out)}`],
    ["Saved", models.checkpoints === undefined ? null : counted(models.checkpoints, "time")],
    ["Model files", models.model_file_bytes === undefined ? null : bytes(models.model_file_bytes)],
    ["Put aside as broken", models.quarantined === undefined ? null : count(models.quarantined)],
  ].filter(([, value]) => value !== null);
  return [
    h("div", { class: "card-head" }, h("h2", { text: "Metrics by state" })),
    h("div", { class: "stack-bar", role: "img", "aria-label": known.map(([key, text]) => `${metrics[key]} ${text}`).join(", ") },
      known.map(([key, , , tone]) => h("span", { style: { width: `${(metrics[key] / all) * 100}%`, background: `var(--${tone})` } }))),
    h("ul", { class: "state-list" }, STATES.map(([key, text, filter, tone]) => h("li", {},
      h("a", { href: link("metrics", null, { state: filter }) }, h("i", { style: { background: `var(--${tone})` } }), h("span", { text })),
      h("span", { class: "mono", text: count(metrics[key]) })))),
    h("dl", { class: "facts" }, facts.map(([name, value]) => [h("dt", { text: name }), h("dd", { text: value })])),
  ];
}

function oddOf(ranked, shown, window, { by, onBy, onAll }) {
  const list = ranked.anomalies;
  const choice = (value, text) => h("button", { type: "button", class: "slim", "aria-pressed": String(by === value), text, on: { click: () => onBy(value) } });
  const head = h("div", { class: "card-head" }, h("h2", { text: "What was odd" }),
    h("span", { class: "small soft", text: `detection score ${ALERT_SCORE} and above` }),
    h("span", { class: "row tight", role: "group", "aria-label": "Group by" }, choice("metric", "Metrics"), choice("episode", "Episodes")),
    h("a", { href: link("investigate", null, windowQuery(window)), text: "Investigate" }));
  if (list.length > 0) return [head, rankedTable(list, { isEpisodes: by === "episode" })];
  return [head, h("div", { class: "calm" }, chip("calm", "good"),
    h("p", { class: "soft", text: shown.isAll ? "Nothing was odd in any sample that was scored." : "Nothing was odd in this window." }),
    shown.isAll ? null : h("button", { type: "button", text: "Look at everything", on: { click: onAll } }))];
}

async function welcome(signal) {
  const settings = await get(["settings"], {}, signal).catch(() => null);
  const learningRows = settings?.settings?.find((setting) => setting.name === "learning_rows")?.value;
  return h("section", { class: "card welcome" },
    h("h2", { text: "No metrics yet" }),
    h("p", { text: "Send a first sample as a Graphite line. It appears here within a second, and gets a model of its own that learns what is normal for it." }),
    copyable(firstSample(settings)),
    firstSample(settings).endsWith("PORT") ? h("p", { class: "small soft", text: "PORT is the one that the engine named when it started: \u201ctakes Graphite lines on TCP\u201d." }) : null,
    h("p", { class: "soft", text: `A line is a name, a value and a time in unix seconds. Whatever sends to Graphite can send here: collectd, StatsD, Telegraf, carbon-relay. Once the metric's range is known${learningRows ? `, after ${learningRows} samples` : ""}, scores begin.` }));
}
