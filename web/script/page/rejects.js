// Where did my data go? The way of a sample with how many stand at each point of it, and what was refused and why.

import { get } from "../api.js";
import { fill, h, refill } from "../dom.js";
import { count, counted, figure } from "../format.js";
import { repeat } from "../live.js";
import { chip, copyable, firstSample } from "../part/states.js";
import { link } from "../route.js";
import { agoText } from "../time_zone.js";

const REFRESH_MS = 5_000;

export const rejects = {
  title: "Where did my data go?",
  async show(page) {
    const way = h("ol", { class: "way", "aria-label": "The way of a sample" });
    const list = h("section", { "aria-label": "Refused samples by reason" });
    const settings = await get(["settings"], {}, page.signal).catch(() => null);
    let last = "";
    async function draw() {
      const [now, refused] = await Promise.all([get(["overview"], {}, page.signal), get(["rejects"], {}, page.signal)]);
      refill(way, ...wayOf(now, refused));
      const text = JSON.stringify(refused);
      if (text === last) return;
      last = text;
      fill(list, ...listOf(refused, settings));
    }
    fill(page.root, h("div", { class: "page-head" }, h("h1", { text: "Where did my data go?" })), way, list);
    await draw();
    repeat(REFRESH_MS, draw, page.signal);
  },
};

function wayOf(now, refused) {
  const metrics = now.metrics ?? {};
  const rows = now.rows ?? {};
  const step = (title, value, text, href = null, tone = "") => h("li", { class: tone },
    h("h3", { text: title }), h("p", { class: "figure", text: value }), h("p", { class: "small soft" }, text, href ? [" ", h("a", { href: href[0], text: href[1] })] : null));
  return [
    step("Refused", count(refused.total), "lines and samples that could not be taken; by reason below", null, refused.total > 0 ? "odd" : ""),
    step("On the way", count(now.queues?.data), "batches received and not stored yet"),
    step("Stored", figure(rows.stored_total), "rows so far"),
    step("Wait for a model", count((metrics.pending_data ?? 0) + (metrics.learning ?? 0)), "metrics that still learn their range: their samples are kept and scored later", [link("metrics", null, { state: "pending_data" }), "Which?"]),
    step("Not monitored", count(metrics.unmonitored), "metrics stored without a model: no scores", [link("metrics", null, { state: "unmonitored" }), "Which?"]),
    step("Wait for a score", count(rows.unscored), "stored rows of models that have not stepped them yet"),
    step("Scored", figure(rows.scored_total), "rows so far"),
  ];
}

function listOf(refused, settings) {
  if (refused.rejects.length === 0) {
    return [h("section", { class: "card empty" },
      h("h2", { text: "Nothing was refused" }),
      h("p", { text: "Every line that arrived became a row. If a metric is missing all the same, its lines never came here: look at the sender's address and port, and try one by hand." }),
      copyable(firstSample(settings)))];
  }
  const sorted = [...refused.rejects].sort((a, b) => b.count - a.count);
  return [
    h("h2", { class: "list-title", text: `Refused by reason (${counted(sorted.length, "reason")})` }),
    h("div", { class: "reject-list" }, sorted.map((one) => h("article", { class: "card reject" },
      h("div", { class: "reject-head" }, h("h3", { text: titleOf(one.reason) }), chip(one.reason, "soft"),
        h("span", { class: "reject-count", text: count(one.count) })),
      h("p", { text: `${one.advice.charAt(0).toUpperCase()}${one.advice.slice(1)}.` }),
      one.example ? h("div", { class: "example" }, h("span", { class: "small soft", text: "Latest example" }), h("pre", { tabindex: 0, text: one.example })) : null,
      h("p", { class: "small soft", text: `Last seen ${agoText(one.last_seen)}` })))),
  ];
}

/** `late_sample` as words. */
function titleOf(reason) {
  const words = reason.replaceAll("_", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}
