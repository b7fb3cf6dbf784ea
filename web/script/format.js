// Numbers as text, the same in every locale: a point before decimals, a narrow space between thousands, SI prefixes on
// axes, binary prefixes for bytes. `null` is a dash.

const NARROW_SPACE = "\u202f";
const DASH = "\u2013";
const PREFIXES = [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]];
const BYTE_UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

function grouped(digits) {
  const [whole, decimals] = digits.split(".");
  const spaced = whole.replace(/\B(?=(\d{3})+(?!\d))/g, NARROW_SPACE);
  return decimals === undefined ? spaced : `${spaced}.${decimals}`;
}

/** A whole number, every digit. */
export function count(value) {
  return isNumber(value) ? grouped(String(Math.round(value))) : DASH;
}

/** A measured value: six significant digits, exponents only where nobody would read the zeros. */
export function number(value) {
  if (!isNumber(value)) return DASH;
  const size = Math.abs(value);
  if (size !== 0 && (size >= 1e12 || size < 1e-4)) return value.toExponential(3).replace("e+", "e");
  const digits = Number(value.toPrecision(6));
  const text = Number.isInteger(digits) ? String(digits) : String(digits);
  return grouped(text);
}

/** A value on an axis: short, with an SI prefix. */
export function short(value) {
  if (!isNumber(value)) return DASH;
  const size = Math.abs(value);
  for (const [unit, prefix] of PREFIXES) {
    if (size >= unit) return `${Number((value / unit).toPrecision(4))}${prefix}`;
  }
  if (size !== 0 && size < 1e-3) return value.toExponential(1).replace("e+", "e");
  return String(Number(value.toPrecision(4)));
}

/** A figure for a person: whole below ten thousand, with a prefix above. */
export function figure(value) {
  if (!isNumber(value)) return DASH;
  if (Math.abs(value) < 10_000) return Number.isInteger(value) ? count(value) : grouped(value.toFixed(Math.abs(value) < 10 ? 2 : 1));
  for (const [unit, prefix] of PREFIXES) {
    if (Math.abs(value) >= unit) return `${Number((value / unit).toPrecision(3))}${NARROW_SPACE}${prefix}`;
  }
  return count(value);
}

/** A score of 0 to 1, three decimals; more where they matter, close to 1. */
export function score(value) {
  if (!isNumber(value)) return DASH;
  if (value > 0.9995 && value < 1) return value.toFixed(6);
  return value.toFixed(3);
}

export function bytes(value) {
  if (!isNumber(value)) return DASH;
  let size = value;
  let unit = 0;
  while (size >= 1024 && unit < BYTE_UNITS.length - 1) {
    size /= 1024;
    unit += 1;
  }
  return `${size >= 100 || unit === 0 ? Math.round(size) : size.toFixed(1)}${NARROW_SPACE}${BYTE_UNITS[unit]}`;
}

/** Seconds as the two largest units: `2 h 30 min`. */
export function duration(seconds) {
  if (!isNumber(seconds)) return DASH;
  const units = [[86_400, "d"], [3_600, "h"], [60, "min"], [1, "s"]];
  const parts = [];
  let rest = Math.max(0, Math.round(seconds));
  for (const [size, name] of units) {
    const whole = Math.floor(rest / size);
    if (whole > 0 && parts.length < 2) parts.push(`${whole}${NARROW_SPACE}${name}`);
    else if (parts.length > 0) break;
    rest -= whole * size;
  }
  return parts.length > 0 ? parts.join(" ") : `0${NARROW_SPACE}s`;
}

/** A share of 0 to 1. */
export function percent(value) {
  return isNumber(value) ? `${(value * 100).toFixed(value > 0 && value < 0.1 ? 1 : 0)}${NARROW_SPACE}%` : DASH;
}

/** `1 metric`, `2 metrics`. */
export function counted(value, noun, plural = `${noun}s`) {
  return `${count(value)} ${value === 1 ? noun : plural}`;
}
