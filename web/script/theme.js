// Light or dark, and the colours of style/base.css for what is drawn on a canvas.

import { keep, kept } from "./kept.js";

const system = matchMedia("(prefers-color-scheme: dark)");
const listeners = new Set();
let colours = new Map();

export function themeChoice() {
  return kept("theme", "auto");
}

export function chooseTheme(choice) {
  keep("theme", choice);
  apply();
}

/** Calls `redraw` whenever colours have changed, until `signal` is aborted. */
export function onTheme(redraw, signal) {
  listeners.add(redraw);
  signal?.addEventListener("abort", () => listeners.delete(redraw));
}

/** The value of a custom property, such as `colour("series")` for `--series`. */
export function colour(name) {
  if (!colours.has(name)) {
    colours.set(name, getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim());
  }
  return colours.get(name);
}

function apply() {
  const choice = themeChoice();
  const isDark = choice === "dark" || (choice !== "light" && system.matches);
  document.documentElement.dataset.theme = isDark ? "dark" : "light";
  colours = new Map();
  for (const redraw of listeners) redraw();
}

system.addEventListener("change", apply);
