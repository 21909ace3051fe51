// What an answer cost: the counts and speeds that the server measured, read with care and put in one line.
//
// Only numbers that somebody measured are told: tokens and speeds are the server's, the times before the first word and of
// thinking are this page's own clock. What was not measured is left out of the line.

const COUNTS = ['prompt_tokens', 'completion_tokens'];
const SPEEDS = ['prompt_per_second', 'predicted_per_second'];

export const readUsage = (usage) => numbers(usage, COUNTS);
export const readTimings = (timings) => numbers(timings, SPEEDS);

/** The named fields that are numbers and not below 0, or null if there is none. */
function numbers(object, keys) {
  const found = keys.filter((key) => Number.isFinite(object?.[key]) && object[key] >= 0).map((key) => [key, object[key]]);
  return found.length ? Object.fromEntries(found) : null;
}

/** The line under an answer, in parts. */
export function costOf({ usage, timings, firstMs, dropped }) {
  const parts = [];
  if (usage?.completion_tokens !== undefined) parts.push(`${count(usage.completion_tokens)} ${usage.completion_tokens === 1 ? 'token' : 'tokens'}`);
  if (timings?.predicted_per_second) parts.push(`${rate(timings.predicted_per_second)} tokens/s`);
  if (Number.isFinite(firstMs)) parts.push(`first after ${seconds(firstMs)}`);
  if (usage?.prompt_tokens !== undefined) {
    const speed = timings?.prompt_per_second ? ` at ${rate(timings.prompt_per_second)}/s` : '';
    parts.push(`prompt ${count(usage.prompt_tokens)}${speed}`);
  }
  if (dropped > 0) parts.push(`${count(dropped)} oldest left out`);
  return parts;
}

export function seconds(ms) {
  if (ms < 60_000) return `${(ms / 1000).toFixed(ms < 10_000 ? 1 : 0)} s`;
  return `${Math.floor(ms / 60_000)} min ${Math.round((ms % 60_000) / 1000)} s`;
}

function rate(perSecond) {
  return perSecond < 100 ? perSecond.toFixed(1) : count(Math.round(perSecond));
}

function count(n) {
  return n.toLocaleString('en-GB');
}
