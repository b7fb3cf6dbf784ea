// Chooses the window of time of a page: a length from a list, or two times of one's own; steps to the one before and
// after.

import { fill, h, icon, ICONS } from "../dom.js";
import { duration } from "../format.js";
import { chooseWindow, SPANS } from "../time_window.js";
import { fieldText, fromField, spanText, timeZone } from "../time_zone.js";

/** Draws the choice in `host`: `window` as chosen, `shown` as resolved; `onChange(window)` when another is chosen. Drawn
 *  again for a window that is the same, it stays as it is while somebody is in there. */
export function placePicker(host, window, shown, onChange) {
  const isInside = host.contains(document.activeElement);
  const key = JSON.stringify(window);
  if (isInside && host.dataset.window === key) return;
  host.dataset.window = key;
  fill(host, windowPicker(window, shown, onChange));
  if (isInside) host.querySelector("select").focus();
}

function windowPicker(window, shown, onChange) {
  const choose = (next) => {
    chooseWindow(next);
    onChange(next);
  };
  const step = (direction) => () => {
    const length = shown.until - shown.from;
    const from = shown.from + direction * length;
    choose({ from, until: from + length });
  };
  const value = window.span === undefined ? "own" : String(window.span);
  const options = [["auto", "Automatic"], ...SPANS.map(([span, text]) => [String(span), text]), ["all", "Everything"]];
  if (!options.some(([key]) => key === value)) options.push([value, value === "own" ? "These times" : `Last ${duration(window.span)}`]);
  if (value !== "own") options.push(["own", "From and until..."]);
  const select = h("select", { "aria-label": "Window of time", class: "window-select", on: { change } },
    options.map(([key, text]) => h("option", { value: key, text, selected: key === value })));
  const form = h("form", { class: "own-times", hidden: true, on: { submit } });
  function change() {
    const key = select.value;
    if (key === "own") return open();
    return choose({ span: key === "all" || key === "auto" ? key : Number(key) });
  }
  function open() {
    const field = (label, time) => h("label", { class: "field" }, h("span", { text: `${label} (${timeZone()})` }),
      h("input", { type: "datetime-local", required: true, value: fieldText(time) }));
    fill(form, field("From", shown.from), field("Until", shown.until), h("button", { class: "main", text: "Show" }));
    form.hidden = false;
    form.querySelector("input").focus();
  }
  function submit(event) {
    event.preventDefault();
    const [first, second] = form.querySelectorAll("input");
    const [from, until] = [fromField(first.value), fromField(second.value)];
    second.setCustomValidity(from !== null && until > from ? "" : "The end must come after the beginning.");
    if (form.reportValidity()) choose({ from, until });
  }
  form.addEventListener("input", () => form.querySelectorAll("input")[1].setCustomValidity(""));
  return h("div", { class: "window-picker" },
    h("div", { class: "row tight" },
      h("button", { type: "button", class: "square", "aria-label": "Earlier", title: "Earlier", on: { click: step(-1) } }, icon(ICONS.left)),
      select,
      h("button", { type: "button", class: "square", "aria-label": "Later", title: "Later", disabled: shown.endsNow, on: { click: step(1) } }, icon(ICONS.right)),
      h("button", { type: "button", class: "plain span-text", title: "Choose other times", text: spanText(shown.from, shown.until), on: { click: open } })),
    form);
}
