// Places in the dashboard as the part of an address after `#`: `#/metric/NAME?from=...`. The server never sees them.

/** `{page, name, query}` of a hash; the page is `overview` for none, `name` is `null` for none or for one that cannot be
 *  decoded. */
export function parse(hash) {
  const text = hash.replace(/^#\/?/, "");
  const [path, options = ""] = splitOnce(text, "?");
  const [page, encoded = ""] = splitOnce(path, "/");
  return { page: page || "overview", name: decoded(encoded), query: new URLSearchParams(options) };
}

/** The hash of a page; `query` leaves out what is `null`, undefined or empty. */
export function link(page, name = null, query = {}) {
  const path = page === "overview" ? "#/" : `#/${page}`;
  const place = name === null ? path : `${path}/${encodeURIComponent(name)}`;
  const options = new URLSearchParams();
  for (const [key, value] of Object.entries(query)) {
    for (const one of [value].flat()) {
      if (one !== null && one !== undefined && one !== "") options.append(key, one);
    }
  }
  const text = options.toString();
  return text ? `${place}?${text}` : place;
}

function splitOnce(text, separator) {
  const at = text.indexOf(separator);
  return at < 0 ? [text] : [text.slice(0, at), text.slice(at + 1)];
}

function decoded(text) {
  if (text === "") return null;
  try {
    return decodeURIComponent(text);
  } catch {
    return null;
  }
}
