// What happens now: rows as Server-Sent Events, with asking again now and then beside it, since a proxy may hold events
// back; and the sign in the corner that says how we hear of the engine.

import { address, onReach } from "./api.js";

const SIGNS = { live: "live", poll: "connected", away: "no answer", wait: "connecting" };

let isStreaming = false;

function sign(state) {
  const element = document.getElementById("link-state");
  if (element.dataset.state === state) return;
  element.dataset.state = state;
  element.textContent = SIGNS[state];
}

onReach((isReached) => {
  if (!isReached) sign("away");
  else sign(isStreaming ? "live" : "poll");
});

/** Calls `onRows({metric, uid, rows})` for every finished row with at least this detection score, of these metrics (all
 *  if there are none), until `signal` is aborted. */
export function follow({ metrics = [], minScore = null }, onRows, signal) {
  const source = new EventSource(address(["stream"], { metric: metrics.join("\n"), min_score: minScore }));
  const isOpen = (open) => {
    isStreaming = open;
    sign(open ? "live" : "poll");
  };
  source.addEventListener("open", () => isOpen(true));
  source.addEventListener("error", () => { isStreaming = false; });
  source.addEventListener("rows", (event) => onRows(JSON.parse(event.data)));
  signal.addEventListener("abort", () => {
    source.close();
    isOpen(false);
  });
}

/** Calls `act` again `pause_ms` after it has finished, while the page is looked at, until `signal` is aborted. Failures
 *  are for the banner; the next turn tries again. */
export function repeat(pause_ms, act, signal) {
  let timer = null;
  const turn = async () => {
    if (!document.hidden) {
      try {
        await act();
      } catch { /* the banner tells it */ }
    }
    if (!signal.aborted) timer = setTimeout(turn, pause_ms);
  };
  timer = setTimeout(turn, pause_ms);
  signal.addEventListener("abort", () => clearTimeout(timer));
}

/** `act`, but at most once in `pause_ms`; calls between are made up for by one at its end. */
export function seldom(pause_ms, act, signal) {
  let timer = null;
  signal.addEventListener("abort", () => clearTimeout(timer));
  return () => {
    timer ??= setTimeout(() => {
      timer = null;
      act();
    }, pause_ms);
  };
}
