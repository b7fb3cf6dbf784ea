// What the engine was told, where it was said, and where else it can be asked.

import { get } from "../api.js";
import { fill, h } from "../dom.js";
import { duration } from "../format.js";
import { chip } from "../part/states.js";
import { timeText } from "../time_zone.js";

/** Addresses for programs, relative to ours. */
const ADDRESSES = [
  ["api/v1/openapi.json", "The API, described for programs"], ["metrics", "Figures for Prometheus"],
  ["healthz", "Is the process alive"], ["readyz", "Can it take requests"],
];

export const settings = {
  title: "Settings",
  async show(page) {
    const [answer, now] = await Promise.all([get(["settings"], {}, page.signal), get(["overview"], {}, page.signal)]);
    const body = h("tbody");
    const filter = h("input", { type: "search", placeholder: "Part of a name", "aria-label": "Filter settings", on: { input: draw } });
    function draw() {
      const text = filter.value.trim().toLowerCase();
      const found = answer.settings.filter((one) => one.name.toLowerCase().includes(text));
      fill(body, found.map((one) => h("tr", {}, h("td", { class: "mono", text: one.name }), h("td", { class: "mono setting-value", text: shown(one.value) }),
        h("td", { class: "soft wide-only" }, one.layer === "default" ? chip("default") : one.layer))));
    }
    draw();
    fill(page.root, h("div", { class: "page-head" }, h("h1", { text: "Settings" })),
      h("p", { class: "soft", text: "As they are in effect. They are changed in the settings file, by flags or in the environment; secrets are not shown." }),
      h("div", { class: "row tools" }, filter),
      h("section", { class: "card flush", "aria-label": "Settings" }, h("table", { class: "settings" },
        h("thead", {}, h("tr", {}, h("th", { scope: "col", text: "Setting" }), h("th", { scope: "col", text: "Value" }), h("th", { scope: "col", class: "wide-only", text: "Said in" }))), body)),
      h("div", { class: "columns even" },
        h("section", { class: "card", "aria-label": "This engine" }, h("div", { class: "card-head" }, h("h2", { text: "This engine" })), h("dl", { class: "facts" },
          [["Version", now.version], ["Running since", `${timeText(now.started_at)} (${duration(now.now - now.started_at)})`], ["Address", location.host]].map(([name, text]) => [h("dt", { text: name }), h("dd", { text })]))),
        h("section", { class: "card", "aria-label": "For programs" }, h("div", { class: "card-head" }, h("h2", { text: "For programs" })),
          h("dl", { class: "facts" }, ADDRESSES.map(([path, text]) => [h("dt", { text }), h("dd", {}, h("a", { href: path, class: "mono", text: `/${path}` }))])))));
  },
};

function shown(value) {
  if (value === null || value === undefined || value === "") return "\u2013";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}
