// What a person can do to a metric: start or stop its model, give it a range, remove it, take its rows along.

import { address, send } from "../api.js";
import { h, speak } from "../dom.js";
import { number } from "../format.js";
import { confirmed } from "./states.js";

/** Buttons and forms for `metric`; `windowNow()` is what is on the screen, `onDone()` follows every change. */
export function metricActions(metric, { windowNow, onDone, onGone }) {
  const message = h("p", { class: "small odd", role: "alert" });
  const isMonitored = metric.state !== "unmonitored";

  async function attempt(act, done) {
    message.textContent = "";
    try {
      await act();
      speak(done);
    } catch (error) {
      message.textContent = error.message;
    }
  }

  const exported = (format, text) => {
    const take = h("a", { class: "button", download: `${safeFileName(metric.name)}.${format}`, href: "#", text, on: {
      click: () => {
        const { from, until } = windowNow();
        take.href = address(["metrics", metric.uid, "data"], { from, until, format });
      },
    } });
    return take;
  };

  const range = rangeForm(metric, (bounds) => attempt(async () => {
    if (isMonitored) await send("PUT", ["metrics", metric.name, "range"], bounds);
    else await send("POST", ["models"], { datasource: "custom", metricSpec: { metric: metric.name }, modelParams: bounds });
    onDone();
  }, "The range was changed"));

  async function stop() {
    const isSure = await confirmed("Stop monitoring?", "The model is given up, and the scores of stored rows are taken back. The rows stay; a new model would learn from them.", "Stop monitoring");
    if (!isSure) return;
    await attempt(async () => {
      await send("DELETE", ["models", metric.name]);
      onDone();
    }, "No longer monitored");
  }

  const start = () => attempt(async () => {
    await send("POST", ["models"], { datasource: "custom", metricSpec: { metric: metric.name } });
    onDone();
  }, "Monitored");

  async function remove() {
    const isSure = await confirmed("Delete the metric?", "The metric, its rows and its model are removed for good. If samples still come, it is made anew.", "Delete");
    if (!isSure) return;
    await attempt(async () => {
      await send("DELETE", ["metrics", metric.name]);
      onGone();
    }, "Deleted");
  }

  return h("div", { class: "actions" },
    h("div", { class: "row" },
      exported("csv", "Export CSV"), exported("json", "Export JSON"),
      h("button", { type: "button", text: isMonitored ? "Change range" : "Monitor with a range", "aria-expanded": "false", on: { click: (event) => {
        range.hidden = !range.hidden;
        event.currentTarget.setAttribute("aria-expanded", String(!range.hidden));
        if (!range.hidden) range.querySelector("input").focus();
      } } }),
      isMonitored ? h("button", { type: "button", class: "danger", text: "Stop monitoring", on: { click: stop } })
        : h("button", { type: "button", class: "main", text: "Monitor", on: { click: start } }),
      h("button", { type: "button", class: "danger", text: "Delete", on: { click: remove } })),
    range, message);
}

function rangeForm(metric, onRange) {
  const field = (label, value) => h("label", { class: "field" }, h("span", { text: label }),
    h("input", { type: "number", step: "any", required: true, value: value ?? "" }));
  const low = field("Smallest value", metric.range?.min);
  const high = field("Largest value", metric.range?.max);
  const [lowest, highest] = [low, high].map((one) => one.querySelector("input"));
  const form = h("form", { class: "inline-form", hidden: true, on: { submit } },
    low, high, h("button", { class: "main", text: "Use this range" }),
    h("p", { class: "small soft", text: metric.range
      ? `The model ${metric.range.learned ? "learned" : "was given"} ${number(metric.range.min)} to ${number(metric.range.max)}. Another range begins a new life of the model: it steps all stored rows again; rows and scores stay.`
      : "A model with a range starts at once, without waiting to learn one." }));
  form.addEventListener("input", () => highest.setCustomValidity(""));
  function submit(event) {
    event.preventDefault();
    const [min, max] = [lowest.valueAsNumber, highest.valueAsNumber];
    highest.setCustomValidity(max > min ? "" : "The largest value must be above the smallest.");
    if (form.reportValidity()) onRange({ min, max });
  }
  return form;
}

/** A name that every file system takes. */
function safeFileName(name) {
  return name.replace(/[^\w.-]+/g, "_").slice(0, 120) || "metric";
}
