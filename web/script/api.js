// The one way to the engine: requests, and errors as a person can read them. A key, if there is one, is asked for by the
// browser and sent by it.

const BASE = "api/v1";
const TIMEOUT_MS = 30_000;

/** The engine answered that it would not, or could not. */
export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.name = "ApiError";
    this.status = status;
  }
}

/** Nothing answered. */
export class AwayError extends Error {
  constructor() {
    super("The engine does not answer.");
    this.name = "AwayError";
  }
}

const reachListeners = new Set();

/** Calls `listener(isReached)` after every request. */
export function onReach(listener) {
  reachListeners.add(listener);
}

function told(isReached) {
  for (const listener of reachListeners) listener(isReached);
}

/** `metrics/NAME/...` with every part encoded; `query` leaves out what is `null`, undefined or empty. */
export function address(parts, query = {}) {
  const path = [BASE, ...parts.map((part) => encodeURIComponent(part))].join("/");
  const pairs = Object.entries(query).flatMap(([name, value]) =>
    [value].flat().filter((one) => one !== null && one !== undefined && one !== "").map((one) => [name, one]));
  const text = pairs.map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(value)}`).join("&");
  return text ? `${path}?${text}` : path;
}

async function request(method, url, body, signal) {
  const limit = AbortSignal.timeout(TIMEOUT_MS);
  const options = { method, headers: { Accept: "application/json" }, credentials: "same-origin", cache: "no-store" };
  options.signal = signal ? AbortSignal.any([signal, limit]) : limit;
  if (body !== undefined) {
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  let answer;
  try {
    answer = await fetch(url, options);
  } catch (error) {
    if (signal?.aborted) throw error;
    told(false);
    throw new AwayError();
  }
  told(true);
  if (answer.ok) {
    const text = await answer.text();
    return text === "" ? null : JSON.parse(text);
  }
  if (answer.status === 401) throw new ApiError(401, "The engine asks for its key. Load this page again and give the key as the user name, without a password.");
  throw new ApiError(answer.status, await messageOf(answer));
}

async function messageOf(answer) {
  try {
    const { error } = await answer.json();
    if (typeof error?.message === "string" && error.message !== "") return error.message;
  } catch { /* no JSON: something between us and the engine answered */ }
  return `the answer was ${answer.status} ${answer.statusText}`.trim();
}

export async function get(parts, query, signal) {
  return request("GET", await addressOf(parts, query, signal), undefined, signal);
}

export async function send(method, parts, body, signal) {
  return request(method, await addressOf(parts, {}, signal), body, signal);
}

/** A browser takes `.` and `..` in a path for steps, however they are encoded: such a metric goes by its uid. */
async function addressOf(parts, query, signal) {
  const named = await Promise.all(parts.map(async (part) => {
    if (part !== "." && part !== "..") return part;
    const found = await request("GET", address(["metrics"], { search: part, limit: 500 }), undefined, signal);
    return found.metrics.find((metric) => metric.name === part)?.uid ?? part;
  }));
  return address(named, query);
}

/** Whether an error only says that its page was left. */
export function isLeft(error) {
  return error?.name === "AbortError";
}
