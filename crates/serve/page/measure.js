// What an answer cost: the counts and speeds that the server measured, read with care and put in one line.
//
// Only numbers that somebody measured are told, energy and cost with how they are known: tokens and speeds are the server's, the times before the first word and of
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

const ROUTES = ['here', 'there', 'redacted'];
const NAME_CHARS_MAX = 80;

/** Where an answer is from and what it took, as the server says it, or null: {route, by, finish, joules, money, replaced, id, documents}. */
export function readOrigin(ingle) {
  if (!ROUTES.includes(ingle?.route)) return null;
  const origin = { route: ingle.route };
  if (typeof ingle.id === 'string' && ingle.id.length <= NAME_CHARS_MAX) origin.id = ingle.id;
  if (typeof ingle.by === 'string') origin.by = ingle.by.slice(0, NAME_CHARS_MAX);
  if (typeof ingle.finish === 'string' && /^[a-z_]{1,40}$/.test(ingle.finish)) origin.finish = ingle.finish;
  const joules = readAmount(ingle.joules);
  if (joules && typeof ingle.joules.method === 'string') origin.joules = { ...joules, method: ingle.joules.method.slice(0, 20) };
  const money = readAmount(ingle.money);
  if (money && /^[A-Z]{3}$/.test(ingle.money.currency)) origin.money = { ...money, currency: ingle.money.currency };
  const replaced = ingle.replaced === true || readAmount(ingle.replaced?.joules) !== null;
  if (replaced) origin.replaced = true;
  const documents = numbers(ingle.documents, ['bytes_read', 'bytes_left', 'n_passages']);
  if (documents) origin.documents = documents;
  return origin;
}

/** An amount between its bounds, which has all three numbers. */
function readAmount(amount) {
  const found = numbers(amount, ['low', 'value', 'high']);
  return found && found.low <= found.value && found.value <= found.high ? found : null;
}

// The keys below are a stranger's words: these tables have no prototype in which such a word could be found.
const END_SENTENCES = {
  __proto__: null,
  stop: 'It ended by itself', length: 'It ended at the limit of tokens', context: 'It ended as there was no more room', cut: 'It broke off',
};

const ENDS = { __proto__: null, length: 'at its limit', context: 'out of room', cut: 'broke off' };

/** How an answer from elsewhere ended, where it did not end by itself. */
function endOf(finish) {
  return finish === undefined || finish === 'stop' ? null : ENDS[finish] ?? finish.replaceAll('_', ' ');
}

/** The badge of an answer: {word, energy, cost, title}; what is not known is null. */
export function badgeOf(origin) {
  if (!origin) return null;
  const { route, by, finish, joules, money, replaced, documents } = origin;
  const end = endOf(finish);
  const word = { here: 'here', there: 'there', redacted: 'there, redacted' }[route] + (end ? `, ${end}` : '');
  const from = route === 'here' ? 'Answered on this device' : `Answered by ${by ?? 'another machine'}`;
  const title = [
    from + (route === 'redacted' ? ', without what is private' : ''),
    ...(finish === undefined ? [] : [END_SENTENCES[finish] ?? `It ended for a reason of its own: ${finish.replaceAll('_', ' ')}`]),
    ...(replaced ? ['An answer from this device was begun and replaced'] : []),
    ...(documents ? [readOf(documents)] : []),
    ...(joules ? [`Energy: ${energy(joules)}`] : []),
    ...(money ? [`Cost: ${price(money.value)} ${money.currency}, between ${price(money.low)} and ${price(money.high)}`] : []),
  ].join('. ');
  return {
    word,
    energy: joules ? energy(joules) : null,
    cost: money ? `${price(money.value)} ${money.currency}` : null,
    title: `${title}.`,
  };
}

/** What of texts was read here, and what left. */
function readOf({ bytes_read: read = 0, bytes_left: left = 0, n_passages: n = 0 }) {
  const how = n > 0 ? ` in ${count(n)} ${n === 1 ? 'passage' : 'passages'}` : '';
  return `${count(read)} bytes of text were read here${how}, ${left > 0 ? `${count(left)} bytes left` : 'nothing left'}`;
}

/** With its bounds, in one unit, and how it is known. */
function energy({ value, low, high, method }) {
  const [unit, of] = value >= 3600 ? ['Wh', 3600] : value < 1 && value > 0 ? ['mJ', 0.001] : ['J', 1];
  return `${digits(value / of)} ${unit} (${digits(low / of)} to ${digits(high / of)}), ${method.toLowerCase()}`;
}

/** As many digits as say something: two, or three before the point. */
function digits(n) {
  return n >= 100 ? count(Math.round(n)) : String(Number(n.toPrecision(2)));
}

function price(value) {
  if (value === 0) return '0';
  return value >= 0.01 ? value.toFixed(2) : value.toFixed(Math.min(9, 1 - Math.floor(Math.log10(value))));
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
  if (ms < 10_000) return `${(ms / 1000).toFixed(1)} s`;
  const whole = Math.round(ms / 1000);
  return whole < 60 ? `${whole} s` : `${Math.floor(whole / 60)} min ${whole % 60} s`;
}

function rate(perSecond) {
  return perSecond < 100 ? perSecond.toFixed(1) : count(Math.round(perSecond));
}

function count(n) {
  return n.toLocaleString('en-GB');
}
