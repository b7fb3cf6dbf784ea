// What charts draw beside their lines, as uPlot plugins: anomalies, weekends, the range of the model, the threshold, and
// a strip of detection scores. Positions are in the canvas' own pixels.

import { ALERT_SCORE, stepColour, stepOf } from "./detection_scale.js";
import { colour } from "./theme.js";
import { weekends } from "./time_zone.js";

/** An anomaly is at least so wide on the screen. */
const MIN_MARK_PX = 3;

function across(u, from, until, least = 1) {
  const left = Math.max(u.bbox.left, u.valToPos(from, "x", true));
  const right = Math.min(u.bbox.left + u.bbox.width, u.valToPos(until, "x", true));
  const ratio = devicePixelRatio;
  if (right < u.bbox.left || left > u.bbox.left + u.bbox.width) return null;
  return right - left < least * ratio ? [(left + right - least * ratio) / 2, least * ratio] : [left, right - left];
}

function paint(u, act) {
  u.ctx.save();
  u.ctx.beginPath();
  u.ctx.rect(u.bbox.left, u.bbox.top, u.bbox.width, u.bbox.height);
  u.ctx.clip();
  act(u.ctx, u.bbox);
  u.ctx.restore();
}

/** Saturdays and Sundays of the chosen zone. */
export function weekendMarks(isWanted = () => true) {
  const draw = (u) => {
    if (!isWanted()) return;
    paint(u, (context, box) => {
      context.fillStyle = colour("weekend");
      for (const [from, until] of weekends(u.scales.x.min, u.scales.x.max)) {
        const span = across(u, from, until);
        if (span) context.fillRect(span[0], box.top, span[1], box.height);
      }
    });
  };
  return { hooks: { drawClear: draw } };
}

/** The range that the model is made for: a band with an edge. */
export function rangeMarks(rangeOf) {
  const draw = (u) => {
    const range = rangeOf();
    if (!range) return;
    paint(u, (context, box) => {
      const [top, bottom] = [range.max, range.min].map((value) => u.valToPos(value, "y", true));
      context.fillStyle = colour("range");
      context.fillRect(box.left, top, box.width, bottom - top);
      context.strokeStyle = colour("range-edge");
      context.lineWidth = devicePixelRatio;
      context.setLineDash([5 * devicePixelRatio, 4 * devicePixelRatio]);
      for (const edge of [top, bottom]) {
        context.beginPath();
        context.moveTo(box.left, edge);
        context.lineTo(box.left + box.width, edge);
        context.stroke();
      }
    });
  };
  return { hooks: { drawClear: draw } };
}

/** Where the metric was odd; the chosen one is stronger. `withPoints` marks the peaks' values too. */
export function anomalyMarks(anomaliesOf, chosenOf = () => null, withPoints = false) {
  const behind = (u) => paint(u, (context, box) => {
    const chosen = chosenOf();
    for (const anomaly of anomaliesOf()) {
      const span = across(u, anomaly.from, anomaly.until, MIN_MARK_PX);
      if (!span) continue;
      context.fillStyle = colour("odd");
      context.globalAlpha = anomaly.rowid === chosen ? 0.34 : 0.15;
      context.fillRect(span[0], box.top, span[1], box.height);
    }
  });
  const before = (u) => {
    if (!withPoints) return;
    paint(u, (context) => {
      const chosen = chosenOf();
      for (const anomaly of anomaliesOf()) {
        if (typeof anomaly.value !== "number") continue;
        const radius = (anomaly.rowid === chosen ? 5 : 3.5) * devicePixelRatio;
        context.beginPath();
        context.arc(u.valToPos(anomaly.peak_at, "x", true), u.valToPos(anomaly.value, "y", true), radius, 0, 2 * Math.PI);
        context.fillStyle = colour("odd");
        context.fill();
        context.strokeStyle = colour("surface");
        context.lineWidth = 1.5 * devicePixelRatio;
        context.stroke();
      }
    });
  };
  return { hooks: { drawClear: behind, draw: before } };
}

/** What is usual at this time of day, as a bracket at the chosen row. */
export function usualMark(usualOf) {
  const draw = (u) => {
    const usual = usualOf();
    if (!usual) return;
    paint(u, (context) => {
      const at = u.valToPos(usual.at, "x", true);
      const [high, low] = [usual.high, usual.low].map((value) => u.valToPos(value, "y", true));
      const arm = 5 * devicePixelRatio;
      context.strokeStyle = colour("usual");
      context.lineWidth = 2 * devicePixelRatio;
      context.beginPath();
      context.moveTo(at - arm, high);
      context.lineTo(at + arm, high);
      context.moveTo(at, high);
      context.lineTo(at, low);
      context.moveTo(at - arm, low);
      context.lineTo(at + arm, low);
      context.stroke();
    });
  };
  return { hooks: { draw } };
}

/** The score from which on an alert is worth it. */
export function thresholdMark() {
  const draw = (u) => paint(u, (context, box) => {
    const at = u.valToPos(ALERT_SCORE, "y", true);
    context.strokeStyle = colour("ink-soft");
    context.lineWidth = devicePixelRatio;
    context.setLineDash([4 * devicePixelRatio, 3 * devicePixelRatio]);
    context.beginPath();
    context.moveTo(box.left, at);
    context.lineTo(box.left + box.width, at);
    context.stroke();
  });
  return { hooks: { draw } };
}

/** Detection scores as colours along the lower edge. */
export function scoreStrip(columnsOf, height = 7) {
  const draw = (u) => paint(u, (context, box) => {
    const { time, detection } = columnsOf();
    const high = height * devicePixelRatio;
    context.fillStyle = colour("heat-calm");
    context.fillRect(box.left, box.top + box.height - high, box.width, high);
    for (let at = 0; at < time.length; at += 1) {
      if (stepOf(detection[at]) < 0) continue;
      const span = across(u, time[at], time[at + 1] ?? time[at], 2);
      if (!span) continue;
      context.fillStyle = stepColour(detection[at]);
      context.fillRect(span[0], box.top + box.height - high, span[1], high);
    }
  });
  return { hooks: { draw } };
}
