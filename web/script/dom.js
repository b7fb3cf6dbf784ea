// Making elements. Data becomes text nodes and attribute values only, never markup: a metric may be called
// `<img onerror=...>`, and then that is what is to be read on the screen.

const SVG = "http://www.w3.org/2000/svg";

/**
 * An element with properties and children. `class`, `text`, `on` (listeners by event), `data` (dataset), `style` (custom
 * or plain properties, set one by one so that the content policy holds) are special; `true` sets an empty attribute,
 * `false`, `null` and `undefined` none.
 */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === false || value === null || value === undefined) continue;
    if (name === "class") element.className = value;
    else if (name === "text") element.textContent = value;
    else if (name === "on") for (const [event, act] of Object.entries(value)) element.addEventListener(event, act);
    else if (name === "data") Object.assign(element.dataset, value);
    else if (name === "style") for (const [key, text] of Object.entries(value)) element.style.setProperty(key, text);
    else if (name === "value") element.value = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  append(element, children);
  return element;
}

export function append(element, children) {
  for (const child of [children].flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : String(child));
  }
  return element;
}

/** Puts `children` in the place of everything in `element`. */
export function fill(element, ...children) {
  element.replaceChildren();
  return append(element, children);
}

/** As `fill`, for what comes by itself: not while somebody is in there with the keyboard. */
export function refill(element, ...children) {
  return element.matches(":focus-within") ? element : fill(element, ...children);
}

/** Gives signals of which each ends the one before, and the last ends with `signal`: for what is drawn again and again. */
export function renewable(signal) {
  let current = null;
  signal.addEventListener("abort", () => current?.abort());
  return () => {
    current?.abort();
    current = new AbortController();
    return current.signal;
  };
}

/** A drawing of our own, given as path data. */
export function icon(path, size = 16) {
  const svg = document.createElementNS(SVG, "svg");
  for (const [name, value] of [["viewBox", "0 0 16 16"], ["width", size], ["height", size], ["aria-hidden", "true"]]) {
    svg.setAttribute(name, value);
  }
  const shape = document.createElementNS(SVG, "path");
  for (const [name, value] of [["d", path], ["fill", "none"], ["stroke", "currentColor"], ["stroke-width", "1.5"],
    ["stroke-linecap", "round"], ["stroke-linejoin", "round"]]) shape.setAttribute(name, value);
  svg.append(shape);
  return svg;
}

export const ICONS = {
  copy: "M5.5 5.5v-3h8v8h-3M2.5 5.5h8v8h-8z",
  left: "M10 3 5 8l5 5",
  right: "M6 3l5 5-5 5",
  plus: "M8 3v10M3 8h10",
  minus: "M3 8h10",
  close: "M4 4l8 8M12 4l-8 8",
  whole: "M2 8h12M5 5 2 8l3 3M11 5l3 3-3 3",
  tick: "M3 8.5 6.5 12 13 4.5",
};

/** Said by screen readers; nothing is to be seen. */
export function speak(text) {
  document.getElementById("spoken").textContent = text;
}
