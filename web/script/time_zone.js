// Times in the zone that the person chose: UTC, the browser's, or any other. Written year first and by 24 hours,
// whatever the locale.

import { keep, kept } from "./kept.js";

export const BROWSER_ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
const DAY_S = 86_400;
/** No more days are shaded than these: they would be thinner than a pixel. */
const MAX_SHADED_DAYS = 400;

const listeners = new Set();
const formats = new Map();
let zone = usable(kept("zone", "UTC"));

function usable(name) {
  try {
    Intl.DateTimeFormat("en", { timeZone: name });
    return name;
  } catch {
    return "UTC";
  }
}

export function timeZone() {
  return zone;
}

export function chooseZone(name) {
  zone = usable(name);
  keep("zone", zone);
  for (const redraw of listeners) redraw();
}

/** Calls `redraw` whenever the zone has changed, until `signal` is aborted. */
export function onZone(redraw, signal) {
  listeners.add(redraw);
  signal?.addEventListener("abort", () => listeners.delete(redraw));
}

/** Every zone the browser knows. */
export function allZones() {
  return typeof Intl.supportedValuesOf === "function" ? Intl.supportedValuesOf("timeZone") : [];
}

/** Year, month, day, hour, minute, second of a time in the zone, as numbers. */
export function civil(unixSeconds, inZone = zone) {
  if (!formats.has(inZone)) {
    formats.set(inZone, new Intl.DateTimeFormat("en-US", {
      timeZone: inZone, hourCycle: "h23", year: "numeric", month: "2-digit", day: "2-digit",
      hour: "2-digit", minute: "2-digit", second: "2-digit",
    }));
  }
  const parts = {};
  for (const part of formats.get(inZone).formatToParts(new Date(unixSeconds * 1000))) {
    parts[part.type] = Number(part.value);
  }
  return parts;
}

const two = (value) => String(value).padStart(2, "0");

/** `2014-11-02 01:30`; seconds where there are some. */
export function timeText(unixSeconds) {
  if (typeof unixSeconds !== "number" || !Number.isFinite(unixSeconds)) return "\u2013";
  const at = civil(unixSeconds);
  const seconds = at.second === 0 ? "" : `:${two(at.second)}`;
  return `${at.year}-${two(at.month)}-${two(at.day)} ${two(at.hour)}:${two(at.minute)}${seconds}`;
}

/** `2014-11-02 01:30 to 04:00`, with the second date only where it differs; one time where they are the same. */
export function spanText(from, until) {
  const [start, end] = [timeText(from), timeText(until)];
  if (start === end) return start;
  return start.slice(0, 10) === end.slice(0, 10) ? `${start} to ${end.slice(11)}` : `${start} to ${end}`;
}

/** `3 min ago`, `in 2 h`; dates for what is long ago. */
export function agoText(unixSeconds, now = Date.now() / 1000) {
  if (typeof unixSeconds !== "number") return "\u2013";
  const age = now - unixSeconds;
  const size = Math.abs(age);
  if (size < 5) return "now";
  if (size > 3 * DAY_S) return timeText(unixSeconds);
  const [unit, name] = size >= DAY_S ? [DAY_S, "d"] : size >= 3_600 ? [3_600, "h"] : size >= 60 ? [60, "min"] : [1, "s"];
  const text = `${Math.round(size / unit)}\u202f${name}`;
  return age >= 0 ? `${text} ago` : `in ${text}`;
}

/** What the field `datetime-local` holds for a time, in the zone. */
export function fieldText(unixSeconds) {
  const at = civil(unixSeconds);
  return `${at.year}-${two(at.month)}-${two(at.day)}T${two(at.hour)}:${two(at.minute)}`;
}

/** The time that a `datetime-local` field says, in the zone; `null` if it says none. */
export function fromField(text) {
  const found = /^(\d{4,6})-(\d\d)-(\d\d)T(\d\d):(\d\d)(?::(\d\d))?/.exec(text);
  if (!found) return null;
  const [year, month, day, hour, minute, second] = found.slice(1).map((part) => Number(part ?? 0));
  return fromCivil(Date.UTC(year, month - 1, day, hour, minute, second) / 1000);
}

/** The time at which clocks of the zone show what `asUtc` shows in UTC. */
function fromCivil(asUtc) {
  // The offset before the guess and the one after it differ only within hours of a change of clocks.
  const guess = asUtc - offset(asUtc);
  return asUtc - offset(guess);
}

/** Seconds that the zone is ahead of UTC. */
function offset(unixSeconds) {
  const at = civil(unixSeconds);
  return Date.UTC(at.year, at.month - 1, at.day, at.hour, at.minute, at.second) / 1000 - Math.floor(unixSeconds);
}

/** Saturdays and Sundays between two times, as pairs of times; none if there are too many to be seen. */
export function weekends(from, until) {
  if (!(until > from) || (until - from) / DAY_S > MAX_SHADED_DAYS) return [];
  const found = [];
  const at = civil(from);
  let day = Date.UTC(at.year, at.month - 1, at.day) / 1000;
  const end = until + DAY_S;
  for (; day < end + DAY_S; day += DAY_S) {
    const weekday = new Date(day * 1000).getUTCDay();
    if (weekday === 6) found.push([fromCivil(day), fromCivil(day + 2 * DAY_S)]);
    else if (weekday === 0 && found.length === 0) found.push([fromCivil(day), fromCivil(day + DAY_S)]);
  }
  return found.filter(([start]) => start < until);
}

/** Steps between the labels of an axis, in seconds; months beyond. */
const AXIS_STEPS_S = [60, 300, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200, DAY_S, 2 * DAY_S, 7 * DAY_S, 14 * DAY_S];

/** At most `most` round times of the zone between two times, and the step between them in seconds; for months, of the
 *  shortest. */
export function roundTimes(from, until, most) {
  const step = AXIS_STEPS_S.find((one) => (until - from) / one <= most);
  if (step === undefined) return { times: roundMonths(from, until, most), step: 28 * DAY_S };
  const times = [];
  // Counted in the zone's own clock, so that midnight is midnight on both sides of a change of clocks.
  const first = Math.ceil((from + offset(from)) / step) * step;
  for (let clock = first; times.length <= most; clock += step) {
    const time = fromCivil(clock);
    if (time > until) break;
    times.push(time);
  }
  return { times, step };
}

function roundMonths(from, until, most) {
  const [start, end] = [civil(from), civil(until)];
  const months = (end.year - start.year) * 12 + end.month - start.month;
  const step = [1, 2, 3, 6, 12, 24, 60, 120].find((one) => months / one <= most) ?? 1_200;
  const times = [];
  for (let month = Math.ceil(start.month / step) * step; month <= start.month + months; month += step) {
    const time = fromCivil(Date.UTC(start.year, month, 1) / 1000);
    if (time >= from && time <= until) times.push(time);
  }
  return times;
}

/** The time as a Date whose local fields show the zone's, for uPlot. */
export function zonedDate(unixSeconds) {
  return window.uPlot.tzDate(new Date(unixSeconds * 1000), zone === "UTC" ? "Etc/UTC" : zone);
}
