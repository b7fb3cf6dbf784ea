// Starts the dashboard: draws the page that the address names, and again when the address or the time zone changes;
// tells when the engine is away.

import { get, isLeft, onReach } from "./api.js";
import { fill, h } from "./dom.js";
import { count } from "./format.js";
import { repeat } from "./live.js";
import { alerts } from "./page/alerts.js";
import { compare } from "./page/compare.js";
import { heat } from "./page/heat.js";
import { investigate } from "./page/investigate.js";
import { metric } from "./page/metric.js";
import { metrics } from "./page/metrics.js";
import { overview } from "./page/overview.js";
import { rejects } from "./page/rejects.js";
import { settings } from "./page/settings.js";
import { failure, loading } from "./part/states.js";
import { link, parse } from "./route.js";
import { chooseTheme, themeChoice } from "./theme.js";
import { windowQuery } from "./time_window.js";
import { allZones, BROWSER_ZONE, chooseZone, onZone, timeZone } from "./time_zone.js";

const PAGES = { overview, metrics, metric, heat, investigate, compare, alerts, rejects, settings };
/** Pages whose links in the menu carry the window of time along. */
const PAGES_WITH_WINDOW = ["overview", "heat", "investigate", "compare"];
/** A page that takes longer than this says that it is loading. */
const PATIENCE_MS = 200;
const COUNTS_PAUSE_MS = 15_000;
const AWAY_PAUSE_MS = 3_000;

const main = document.getElementById("main");
let leaving = new AbortController();
let shownHash = null;

async function show() {
  leaving.abort();
  leaving = new AbortController();
  const { signal } = leaving;
  shownHash = location.hash;
  const { page: name, name: argument, query } = parse(location.hash);
  const page = PAGES[name];
  const root = h("div", { class: `page page-${page ? name : "none"}` });
  main.setAttribute("aria-busy", "true");
  const patience = setTimeout(() => fill(main, loading()), PATIENCE_MS);
  markMenu(name === "metric" ? "metrics" : name);
  setTitle(page ? page.title : "No such page");
  const context = { root, name: argument, query, signal, setTitle, setQuery, again: show, go: (hash) => { location.hash = hash; } };
  try {
    if (page) await page.show(context);
    else fill(root, h("h1", { text: "No such page" }), failure(new Error("Nothing is at this address."), null), h("p", {}, h("a", { href: "#/", text: "To the overview" })));
  } catch (error) {
    if (signal.aborted || isLeft(error)) return;
    fill(root, h("h1", { text: page.title }), failure(error, show));
  } finally {
    clearTimeout(patience);
  }
  if (signal.aborted) return;
  fill(main, root);
  main.setAttribute("aria-busy", "false");
  // What must know its width is drawn now.
  root.dispatchEvent(new CustomEvent("placed"));
}

function setTitle(text) {
  document.title = text === "Overview" ? "htmengine" : `${text} - htmengine`;
}

/** Changes the options in the address without drawing the page anew. */
function setQuery(query) {
  const { page, name } = parse(location.hash);
  const hash = link(page, name, query);
  if (hash === location.hash) return;
  history.replaceState(null, "", hash);
  shownHash = hash;
  markMenu(page === "metric" ? "metrics" : page);
}

function markMenu(name) {
  for (const item of document.querySelectorAll("#nav a")) {
    const target = item.dataset.page;
    if (target === name) item.setAttribute("aria-current", "page");
    else item.removeAttribute("aria-current");
    if (PAGES_WITH_WINDOW.includes(target)) item.setAttribute("href", link(target, null, windowQuery()));
  }
}

function menu() {
  const button = document.getElementById("menu-button");
  const side = document.getElementById("side");
  const open = (isOpen) => {
    side.classList.toggle("open", isOpen);
    button.setAttribute("aria-expanded", String(isOpen));
  };
  button.addEventListener("click", () => open(button.getAttribute("aria-expanded") !== "true"));
  side.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    open(false);
    button.focus();
  });
  document.getElementById("nav").addEventListener("click", (event) => {
    if (event.target.closest("a")) open(false);
  });
  document.getElementById("skip").addEventListener("click", (event) => {
    event.preventDefault();
    main.focus();
  });
}

function choices() {
  const theme = document.getElementById("theme");
  theme.value = themeChoice();
  theme.addEventListener("change", () => chooseTheme(theme.value));
  const zone = document.getElementById("zone");
  const option = (value, text) => h("option", { value, text });
  const others = allZones().filter((name) => name !== "UTC" && name !== BROWSER_ZONE);
  const near = [option("UTC", "UTC")];
  if (BROWSER_ZONE !== "UTC" && BROWSER_ZONE !== "Etc/UTC") near.push(option(BROWSER_ZONE, `Browser: ${BROWSER_ZONE}`));
  if (timeZone() !== "UTC" && timeZone() !== BROWSER_ZONE && !others.includes(timeZone())) near.push(option(timeZone(), timeZone()));
  fill(zone, near, h("optgroup", { label: "All zones" }, others.map((name) => option(name, name))));
  zone.value = timeZone();
  zone.addEventListener("change", () => chooseZone(zone.value));
  onZone(show);
}

function banner() {
  const element = document.getElementById("banner");
  let retrying = null;
  const ask = () => get(["overview"]).catch(() => null);
  onReach((isReached) => {
    if (isReached) {
      if (element.hidden) return;
      element.hidden = true;
      clearInterval(retrying);
      retrying = null;
      show();
    } else if (element.hidden) {
      fill(element, h("strong", { text: "The engine does not answer." }),
        h("span", { text: `What is shown may be old. Trying ${location.host} again every ${AWAY_PAUSE_MS / 1000} seconds.` }),
        h("button", { type: "button", text: "Try now", on: { click: ask } }));
      element.hidden = false;
      retrying = setInterval(ask, AWAY_PAUSE_MS);
    }
  });
}

/** Numbers beside the menu, and the version. */
async function counts() {
  const [figures, open] = await Promise.all([
    get(["overview"]), get(["alerts"], { state: "open", limit: 100 }).catch(() => null),
  ]);
  document.getElementById("version").textContent = `htmengine ${figures.version}`;
  const put = (page, value, isHot) => {
    const item = document.querySelector(`#nav a[data-page="${page}"]`);
    item.querySelector(".count")?.remove();
    if (value > 0) item.append(" ", h("span", { class: isHot ? "count hot" : "count", text: value > 9_999 ? "10k+" : count(value) }));
  };
  put("metrics", figures.metrics?.total ?? 0, false);
  put("rejects", figures.rejects_total ?? 0, false);
  put("alerts", open?.episodes?.length ?? 0, true);
}

menu();
choices();
banner();
addEventListener("hashchange", () => {
  if (location.hash === shownHash) return;
  if (!location.hash.startsWith("#/") && location.hash !== "") return;
  show().then(() => {
    scrollTo(0, 0);
    main.focus({ preventScroll: true });
  });
});
show();
counts().catch(() => null);
repeat(COUNTS_PAUSE_MS, counts, new AbortController().signal);
