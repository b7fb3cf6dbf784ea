// Time by metric, for as many metrics as there are: fifty at a time, searched and sorted by the engine.

import { get } from "../api.js";
import { fill, h, renewable } from "../dom.js";
import { counted } from "../format.js";
import { repeat } from "../live.js";
import { cellsFor, heatGrid, legend } from "../part/heat_grid.js";
import { empty } from "../part/states.js";
import { placePicker } from "../part/window_picker.js";
import { link } from "../route.js";
import { resolved, windowOf, windowQuery } from "../time_window.js";

const ROWS = 50;
const TYPING_MS = 250;
const REFRESH_MS = 20_000;

export const heat = {
  title: "Heat strip",
  async show(page) {
    let window = windowOf(page.query);
    const chosen = { search: page.query.get("search") ?? "", sort: page.query.get("sort") ?? "score", glob: page.query.get("glob") ?? "" };
    // Cursors of the pages gone through, so that one can go back.
    let cursors = [null];
    let typing = null;
    const picker = h("div");
    const strip = h("section", { class: "card heat-card", "aria-label": "Heat strip" });
    const pager = h("div", { class: "row pager" });
    const search = h("input", { type: "search", placeholder: "Part of a name", value: chosen.search, "aria-label": "Search metrics", on: { input: typed } });
    const sort = h("select", { "aria-label": "Sort by", on: { change: () => { chosen.sort = sort.value; restart(); } } },
      h("option", { value: "score", text: "Oddest first" }), h("option", { value: "name", text: "By name" }));
    sort.value = chosen.sort;

    function typed() {
      clearTimeout(typing);
      typing = setTimeout(() => {
        chosen.search = search.value.trim();
        restart();
      }, TYPING_MS);
    }

    function restart() {
      cursors = [null];
      return draw();
    }

    const drawn = renewable(page.signal);
    let drawing = 0;
    async function draw() {
      const turn = (drawing += 1);
      page.setQuery({ ...windowQuery(window), search: chosen.search, glob: chosen.glob, sort: chosen.sort === "score" ? null : chosen.sort });
      const shown = await resolved(window, page.signal);
      const answer = await get(["heat"], {
        from: shown.from, until: shown.until, cells: cellsFor(document.getElementById("main").clientWidth), limit: ROWS,
        cursor: cursors.at(-1), search: chosen.search, glob: chosen.glob, sort: chosen.sort,
      }, page.signal);
      if (turn !== drawing) return;
      placePicker(picker, window, shown, (next) => {
        window = next;
        restart();
      });
      if (answer.rows.length === 0) {
        fill(strip, chosen.search || chosen.glob
          ? empty("No metric fits", h("p", { text: "Names are searched for this part, in capitals or not." }), h("button", { type: "button", text: "Show all", on: { click: () => { search.value = chosen.search = chosen.glob = ""; restart(); } } }))
          : empty("No metrics yet", h("p", {}, "Send a sample, and it appears here. ", h("a", { href: "#/", text: "How to send the first one" }))));
      } else {
        const hadFocus = strip.contains(document.activeElement) && document.activeElement.classList.contains("heat-surface");
        fill(strip, heatGrid(answer, {
          signal: drawn(),
          open: (row, from, until) => page.go(link("metric", row.metric, { at: Math.round((from + until) / 2) })),
        }));
        if (hadFocus) strip.querySelector(".heat-surface").focus();
      }
      drawPager(answer);
    }

    function drawPager(answer) {
      const first = (cursors.length - 1) * ROWS;
      const step = (act, text, enabled) => h("button", { type: "button", text, disabled: !enabled, on: { click: () => { act(); draw(); } } });
      fill(pager,
        h("span", { class: "soft small", text: answer.total === 0 ? "" : `${first + 1} to ${first + answer.rows.length} of ${counted(answer.total, "metric")}` }),
        step(() => cursors.pop(), "Previous", cursors.length > 1),
        step(() => cursors.push(answer.next_cursor), "Next", answer.next_cursor !== null));
    }

    fill(page.root,
      h("div", { class: "page-head" }, h("h1", { text: "Heat strip" }), picker),
      h("div", { class: "row tools" }, search, sort, legend()),
      strip, pager);
    await draw();
    repeat(REFRESH_MS, async () => {
      // Not under the hands of somebody who is choosing a cell.
      if (window.span !== undefined && !strip.matches(":hover, :focus-within")) await draw();
    }, page.signal);
  },
};
