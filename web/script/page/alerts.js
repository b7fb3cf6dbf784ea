// Episodes that rules made alerts of, how their delivery went, and the rules and channels themselves.

import { get, send } from "../api.js";
import { fill, h, refill } from "../dom.js";
import { duration, score } from "../format.js";
import { repeat } from "../live.js";
import { metricLink } from "../part/ranked.js";
import { chip, empty } from "../part/states.js";
import { spanText, timeText } from "../time_zone.js";

const LIMIT = 100;
const REFRESH_MS = 5_000;
const DELIVERY = { delivered: ["delivered", "good"], waiting: ["trying again", "warn"], given_up: ["given up", "odd"] };

export const alerts = {
  title: "Alerts",
  async show(page) {
    const chosen = { state: page.query.get("state") === "all" ? "all" : "open" };
    const tabs = h("div", { class: "row tight", role: "group", "aria-label": "Which episodes" });
    const list = h("section", { class: "card flush", "aria-label": "Episodes" });
    const about = await get(["alerts", "rules"], {}, page.signal);
    const choose = (value) => () => {
      chosen.state = value;
      for (const tab of tabs.children) tab.setAttribute("aria-pressed", String(tab.dataset.state === value));
      draw();
    };
    fill(tabs, [["open", "Open"], ["all", "All"]].map(([value, text]) => h("button", { type: "button", data: { state: value }, "aria-pressed": String(chosen.state === value), text, on: { click: choose(value) } })));
    async function draw() {
      const answer = await get(["alerts"], { state: chosen.state, limit: LIMIT }, page.signal);
      page.setQuery({ state: chosen.state === "all" ? "all" : null });
      refill(list, answer.episodes.length > 0 ? table(answer.episodes) : calm(chosen.state, about));
    }
    fill(page.root, h("div", { class: "page-head" }, h("h1", { text: "Alerts" }), tabs), list,
      h("div", { class: "columns even" }, rulesCard(about.rules ?? []), channelsCard(about.channels ?? [])));
    await draw();
    repeat(REFRESH_MS, draw, page.signal);
  },
};

function calm(state, about) {
  const hasRules = (about.rules ?? []).length > 0;
  return empty(state === "open" ? "No alert is open" : "No alerts yet",
    h("p", { class: "soft", text: hasRules ? "An episode opens when a rule's metric stays above its threshold, and closes when it has calmed down."
      : "There are no rules. Add rules and channels to the settings file, in the section on alerts." }));
}

function table(episodes) {
  return h("table", {},
    h("thead", {}, h("tr", {}, h("th", { scope: "col", text: "Score" }), h("th", { scope: "col", text: "Metric" }),
      h("th", { scope: "col", class: "wide-only", text: "Rule" }), h("th", { scope: "col", class: "wide-only", text: "Episode" }), h("th", { scope: "col", class: "wide-only", text: "Delivery" }))),
    h("tbody", {}, episodes.map((episode) => {
      const isOpen = episode.until === null || episode.until === undefined;
      const when = isOpen ? `since ${timeText(episode.from)}` : `${spanText(episode.from, episode.until)}${episode.until > episode.from ? ` (${duration(episode.until - episode.from)})` : ""}`;
      return h("tr", {},
        h("td", { class: "mono odd", text: score(episode.peak_score) }),
        h("td", { class: "metric-cell" }, metricLink(episode.metric, { at: episode.peak_at, row: episode.rowid }),
          h("div", { class: "narrow-only small soft" }, `${episode.rule}, ${when}`, (episode.deliveries ?? []).map(delivery))),
        h("td", { class: "wide-only", text: episode.rule }),
        h("td", { class: "wide-only" }, isOpen ? chip("open", "odd") : null, isOpen ? " " : null, h("span", { class: "soft", text: when })),
        h("td", { class: "wide-only" }, (episode.deliveries ?? []).map(delivery)));
    })));
}

function delivery(one) {
  const [text, tone] = DELIVERY[one.state] ?? [one.state, "soft"];
  const tries = one.tries > 1 ? `, try ${one.tries}` : "";
  return h("div", { class: "delivery" }, chip(`${one.channel}: ${text}${tries}`, tone, one.last_error));
}

function rulesCard(rules) {
  return h("section", { class: "card flush", "aria-label": "Rules" }, h("div", { class: "card-head" }, h("h2", { text: "Rules" })),
    rules.length === 0 ? h("p", { class: "soft padded", text: "None. Rules are said in the settings file." })
      : h("ul", { class: "rule-list" }, rules.map((rule) => h("li", {}, h("h3", { text: rule.name ?? "rule" }),
        h("dl", { class: "facts" }, Object.entries(rule).filter(([key, value]) => key !== "name" && value !== null && value !== "" && !(Array.isArray(value) && value.length === 0))
          .map(([key, value]) => [h("dt", { text: key.replaceAll("_", " ") }), h("dd", { class: "mono small", text: said(value) })]))))));
}

function said(value) {
  if (Array.isArray(value)) return value.map(said).join(", ");
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

function channelsCard(channels) {
  return h("section", { class: "card flush", "aria-label": "Channels" }, h("div", { class: "card-head" }, h("h2", { text: "Channels" })),
    channels.length === 0 ? h("p", { class: "soft padded", text: "None. A channel is a webhook that alerts are sent to; it is said in the settings file." })
      : h("ul", { class: "rule-list" }, channels.map(channel)));
}

function channel(one) {
  const result = h("span", { class: "small", role: "status" });
  const button = h("button", { type: "button", text: "Send a test", "aria-label": `Send a test to ${one.name}`, on: { click: async () => {
    button.disabled = true;
    result.className = "small soft";
    result.textContent = "sending";
    try {
      const answer = await send("POST", ["alerts", "test"], { channel: one.name });
      result.className = answer.delivered ? "small good" : "small odd";
      result.textContent = answer.delivered ? `delivered${answer.status ? ` (${answer.status})` : ""}` : answer.error ?? `answered ${answer.status}`;
    } catch (error) {
      result.className = "small odd";
      result.textContent = error.message;
    }
    button.disabled = false;
  } } });
  return h("li", { class: "channel" }, h("div", {}, h("h3", { text: one.name }), h("p", { class: "small soft mono", text: `${one.kind}  ${one.url_shown ?? ""}` })),
    h("div", { class: "row tight" }, result, button));
}
