// From an answer of `/series` to the columns that charts draw: holes in the data become holes in the line, and buckets
// without samples between close neighbours do not.

/** A hole is as long as so many usual intervals without a sample. */
const HOLE_INTERVALS = 3;

/** `{time, value, low, high, raw, anomaly, detection}` in step; `null` everywhere at a hole. */
export function columnsOf(series) {
  const out = { time: [], value: [], low: [], high: [], raw: [], anomaly: [], detection: [] };
  const usual = Math.max(series.usual_interval_s ?? 0, series.step_s ?? 0, 1);
  let last = null;
  for (let at = 0; at < series.time.length; at += 1) {
    if (series.value[at] === null) continue;
    const time = series.time[at];
    if (last !== null && time - last > HOLE_INTERVALS * usual) push(out, last + usual, null);
    push(out, time, series, at);
    last = time;
  }
  return out;
}

function push(out, time, series, at) {
  const of = (column) => series?.[column]?.[at] ?? null;
  out.time.push(time);
  out.value.push(of("value"));
  out.low.push(of("value_min"));
  out.high.push(of("value_max"));
  out.raw.push(of("raw"));
  out.anomaly.push(of("anomaly"));
  out.detection.push(of("detection"));
}

/** Smallest and largest value that is drawn, `null` if there is none. */
export function extremes(columns) {
  let [low, high] = [Infinity, -Infinity];
  for (let at = 0; at < columns.time.length; at += 1) {
    if (columns.low[at] !== null && columns.low[at] < low) low = columns.low[at];
    if (columns.high[at] !== null && columns.high[at] > high) high = columns.high[at];
  }
  return low <= high ? [low, high] : null;
}

/** A scale that leaves air around `[low, high]`, and is never empty. */
export function roomy([low, high]) {
  const span = high - low || Math.abs(high) * 0.2 || 1;
  return [low - span * 0.06, high + span * 0.08];
}
