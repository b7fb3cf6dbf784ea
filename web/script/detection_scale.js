// What a detection score means on the screen: the threshold of alerts, and five steps of colour that are told apart
// without seeing red and green, since they differ in lightness.

import { colour } from "./theme.js";

/** From here on a score is worth an alert. */
export const ALERT_SCORE = 0.135;
/** The top of score charts; scores rarely exceed it. */
export const HIGH_SCORE = 0.6;
/** Lower ends of the steps. Below the first, a score is calm. */
export const STEPS = [0.1, 0.135, 0.2, 0.3, 0.45];
export const STEP_NAMES = ["elevated", "odd", "clearly odd", "very odd", "extreme"];

/** Which step a score is on; -1 for calm. */
export function stepOf(score) {
  if (score === null || score === undefined) return -1;
  let step = -1;
  while (step + 1 < STEPS.length && score >= STEPS[step + 1]) step += 1;
  return step;
}

export function stepColour(score) {
  const step = stepOf(score);
  return colour(step < 0 ? "heat-calm" : `heat-${step}`);
}
