// What a page shows when there is nothing to show: still loading, nothing there yet, or it failed; and small words with
// a colour that several pages share.

import { fill, h, icon, ICONS, speak } from "../dom.js";
import { percent } from "../format.js";

/** States of a metric: what people read, and the tone. */
export const METRIC_STATES = {
  active: ["active", "good"], learning: ["learning", "warn"], waiting: ["waiting for data", "soft"],
  creating: ["being made", "soft"], error: ["error", "odd"], unmonitored: ["not monitored", "soft"],
};

export function chip(text, tone = "soft", title = null) {
  return h("span", { class: `chip ${tone}`, title, text });
}

export function stateChip(metric) {
  const [text, tone] = METRIC_STATES[metric.state] ?? [metric.status_name ?? String(metric.state), "soft"];
  return chip(text, tone, metric.message);
}

/** A bar that says how far learning has come; nothing where there is nothing to learn. */
export function learningBar(learning) {
  if (!learning || !(learning.of > 0)) return null;
  const share = Math.min(1, learning.rows / learning.of);
  return h("div", { class: "learning" },
    h("progress", { max: learning.of, value: learning.rows, "aria-label": "learning progress" }),
    h("span", { class: "small soft", text: `${learning.rows} of ${learning.of} rows (${percent(share)})` }));
}

export function loading(text = "Loading") {
  return h("div", { class: "loading", role: "status" }, h("span", { text }));
}

/** A card that says what is missing and what to do about it. */
export function empty(title, ...children) {
  return h("section", { class: "card empty" }, h("h2", { text: title }), ...children);
}

export function failure(error, retry) {
  return h("section", { class: "card failure", role: "alert" },
    h("h2", { text: error.status === 404 ? "Not found" : "This could not be loaded" }),
    h("p", { text: error.message || String(error) }),
    retry ? h("button", { type: "button", text: "Try again", on: { click: retry } }) : null);
}

/** Text that can be taken along with a click. */
export function copyable(text, label = "Copy") {
  const mark = h("span", { text: label });
  const button = h("button", { type: "button", class: "copy", on: { click: copy } }, icon(ICONS.copy), mark);
  async function copy() {
    const isCopied = await copied(text);
    fill(mark, isCopied ? "Copied" : "Select and copy by hand");
    speak(isCopied ? "Copied" : "Copying is not allowed here");
    setTimeout(() => fill(mark, label), 2_000);
  }
  return h("div", { class: "copyable" }, h("pre", { tabindex: 0, text }), button);
}

/** Browsers lend the clipboard only to pages over HTTPS and on this machine. */
async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const field = h("textarea", { class: "visually-hidden", "aria-hidden": "true", value: text });
    document.body.append(field);
    field.select();
    const isCopied = document.execCommand("copy");
    field.remove();
    return isCopied;
  }
}

/** Asks before something is done that cannot be undone; resolves to whether to do it. */
export function confirmed(title, text, action, tone = "danger") {
  const { promise, resolve } = Promise.withResolvers?.() ?? withResolvers();
  const dialog = h("dialog", { "aria-labelledby": "confirm-title" },
    h("h2", { id: "confirm-title", text: title }),
    h("p", { class: "soft", text }),
    h("div", { class: "row end" },
      h("button", { type: "button", text: "Cancel", on: { click: () => dialog.close("no") } }),
      h("button", { type: "button", class: tone, text: action, on: { click: () => dialog.close("yes") } })));
  dialog.addEventListener("close", () => {
    resolve(dialog.returnValue === "yes");
    dialog.remove();
  });
  document.body.append(dialog);
  dialog.showModal();
  return promise;
}

function withResolvers() {
  const parts = {};
  parts.promise = new Promise((resolve) => { parts.resolve = resolve; });
  return parts;
}

/** The line that sends a first sample, for this engine; its port is a word to be replaced where the system chose it. */
export function firstSample(settings) {
  const said = settings?.settings?.find((setting) => setting.name === "graphite")?.value;
  const set = /:(\d+)$/.exec(String(said ?? ""))?.[1] ?? "2003";
  const port = set === "0" ? "PORT" : set;
  const host = location.hostname.replace(/^\[|\]$/g, "") || "127.0.0.1";
  return `printf 'cpu.load 0.5 %s\\n' "$(date +%s)" | nc -q0 ${host} ${port}`;
}
