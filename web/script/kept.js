// Choices of the person at the screen that outlive a reload: theme, time zone, page sizes. Storage may be forbidden or
// full; then a choice lasts as long as the page.

const PREFIX = "htmengine.";
const inMemory = new Map();

export function kept(name, fallback) {
  try {
    return localStorage.getItem(PREFIX + name) ?? inMemory.get(name) ?? fallback;
  } catch {
    return inMemory.get(name) ?? fallback;
  }
}

export function keep(name, value) {
  inMemory.set(name, value);
  try {
    localStorage.setItem(PREFIX + name, value);
  } catch { /* kept in memory */ }
}
