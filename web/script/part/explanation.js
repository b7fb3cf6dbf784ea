// Why a row was odd: the engine's sentences, which parts of the detection fired, what is usual at that time of day, and
// the most similar earlier moment.

import { h } from "../dom.js";
import { count, number, percent, score } from "../format.js";
import { scoreMark } from "./ranked.js";
import { spanText, timeText } from "../time_zone.js";

/** Parts of a detection score: words, and what they look at. */
const COMPONENTS = {
  likelihood: ["Anomaly score", "the recent raw scores are unlikely for this metric"],
  timeOfDay: ["Time of day", "the value is unusual for this hour"],
  sustainedElevation: ["Sustained elevation", "the values stay high for an hour or two"],
  slowSurprise: ["Slow surprise", "many small surprises in a row"],
  discord: ["New shape", "the last hours look like no earlier ones"],
  maturity: ["Maturity", "how far the score may be trusted yet"],
};

/** `onWindow(from, until)` shows another stretch of time. */
export function explanation(answer, { onWindow }) {
  const components = answer.detection?.components ?? {};
  const fired = new Map((answer.fired ?? []).map((one) => [one.component, one]));
  const order = Object.keys(COMPONENTS).filter((name) => name !== "maturity" && typeof components[name] === "number")
    .sort((a, b) => components[b] - components[a]);
  const usual = answer.usual_range;
  const facts = [
    ["Value", number(answer.value)],
    ["Usual at this time of day", usual ? `${number(usual.low)} to ${number(usual.high)}, median ${number(usual.median)} (${count(usual.samples)} samples)` : "not known yet"],
    ["Unpredicted", answer.active_columns > 0 && typeof answer.unpredicted_columns === "number" ? `${answer.unpredicted_columns} of ${answer.active_columns} active columns (${percent(answer.unpredicted_columns / answer.active_columns)})` : "not known"],
    ["Predictions that were open", typeof answer.open_predictions === "number" ? count(answer.open_predictions) : null],
    ["Maturity of the score", typeof components.maturity === "number" ? percent(components.maturity) : null],
  ].filter(([, text]) => text !== null);
  return h("div", { class: "explanation" },
    h("p", { class: "explained-time" }, h("strong", { text: timeText(answer.timestamp) }), scoreMark(answer.detection?.score ?? 0)),
    h("div", { class: "sentences" }, (answer.text ?? []).map((text) => h("p", { text }))),
    order.length > 0 ? h("h3", { text: "What spoke for it" }) : null,
    h("ul", { class: "components" }, order.map((name) => component(name, components[name], fired.get(name)))),
    h("dl", { class: "facts" }, facts.map(([name, text]) => [h("dt", { text: name }), h("dd", { text })])),
    answer.similar ? similar(answer, onWindow) : null);
}

function component(name, value, fired) {
  const [title, hint] = COMPONENTS[name];
  return h("li", { class: fired ? "fired" : "", title: hint },
    h("span", { class: "component-name", text: title }),
    h("span", { class: "component-bar" }, h("span", { style: { width: `${Math.min(100, value * 100)}%` } })),
    h("span", { class: "mono small", text: score(value) }),
    fired?.text ? h("span", { class: "component-text small soft", text: fired.text }) : null);
}

function similar(answer, onWindow) {
  const { from, until, distance } = answer.similar;
  const span = Math.max(until - from, 3_600);
  return h("div", { class: "similar" },
    h("h3", { text: "Most similar earlier moment" }),
    h("p", { class: "small soft" }, `${spanText(from, until)}, distance ${score(distance)}`),
    h("div", { class: "row" }, h("button", { type: "button", text: "Show it", on: { click: () => onWindow(from - span, until + span) } })));
}
