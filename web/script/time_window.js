// Which stretch of time a page shows. A person chooses a length (then it ends now, and moves on) or two times; until they
// have, it is the last day where samples still come, and everything where they came long ago, as after loading a
// recording.

import { get, isLeft } from "./api.js";

const DAY_S = 86_400;
/** With a newest sample older than this, windows end at the newest sample and not now. */
const STALE_S = 3_600;
/** With one older than this, samples are of a recording, and all of it is shown until somebody chooses. */
const RECORDING_S = 2 * DAY_S;
/** To know where "everything" begins, so many metrics are looked at, and the oldest row is asked for of so many: those
 *  with most rows, which reach back furthest. */
const LOOKED_AT = 200;
const ASKED_FOR_OLDEST = 8;

export const SPANS = [
  [3_600, "Last hour"], [6 * 3_600, "Last 6 hours"], [DAY_S, "Last day"], [7 * DAY_S, "Last 7 days"],
  [30 * DAY_S, "Last 30 days"], [90 * DAY_S, "Last 90 days"], [365 * DAY_S, "Last year"],
];

let chosen = { span: "auto" };

/** The window that the address asks for, which from now on is everybody's; without one, the one chosen last. */
export function windowOf(query) {
  const [from, until] = ["from", "until"].map((name) => Number.parseInt(query.get(name) ?? "", 10));
  const span = query.get("span");
  if (Number.isFinite(from) && Number.isFinite(until) && until > from) chosen = { from, until };
  else if (span === "all" || span === "auto") chosen = { span };
  else if (span !== null && Number.parseInt(span, 10) > 0) chosen = { span: Number.parseInt(span, 10) };
  return chosen;
}

export function chooseWindow(window) {
  chosen = window;
}

/** As options of an address; none for the window nobody chose. */
export function windowQuery(window = chosen) {
  if (window.span === "auto") return {};
  return window.span === undefined ? { from: window.from, until: window.until } : { span: window.span };
}

/** The window as two times: `{from, until, endsNow, isAll}`. */
export async function resolved(window, signal) {
  if (window.span === undefined) return { ...window, endsNow: false, isAll: false };
  // To the minute, so that times stay readable.
  const now = Math.ceil(Date.now() / 60_000) * 60;
  const newest = (await get(["overview"], {}, signal)).rows?.newest_at ?? null;
  const age = newest === null ? 0 : now - newest;
  const until = age > STALE_S ? Math.floor(newest / 60) * 60 + 60 : now;
  const span = window.span === "auto" ? (age > RECORDING_S ? "all" : DAY_S) : window.span;
  const oldest = span === "all" ? await oldestRow(signal) : null;
  const from = span === "all" ? Math.min(oldest ?? until - DAY_S, until - 60) : until - span;
  return { from, until, endsNow: age <= STALE_S, isAll: span === "all" };
}

/** Time of the oldest row of the metrics that reach back furthest; `null` if there is none. */
async function oldestRow(signal) {
  const { metrics } = await get(["metrics"], { limit: LOOKED_AT }, signal);
  const longest = metrics.filter((metric) => metric.last_rowid > 0).sort((a, b) => b.last_rowid - a.last_rowid).slice(0, ASKED_FOR_OLDEST);
  const oldest = await Promise.all(longest.map((metric) => oldestOf(metric.uid, signal)));
  const known = oldest.filter((time) => time !== null);
  return known.length > 0 ? Math.min(...known) : null;
}

async function oldestOf(uid, signal) {
  try {
    const rows = await get(["metrics", uid, "data"], { limit: 1, order: "asc", format: "json" }, signal);
    return rows[0]?.timestamp ?? null;
  } catch (error) {
    if (isLeft(error)) throw error;
    return null;
  }
}
