// Sets the chosen appearance before the first paint; a module would run after it and flash. Kept for theme.js, which
// owns the choice.
(function () {
  let choice = null;
  try { choice = localStorage.getItem("htmengine.theme"); } catch { /* storage may be forbidden; the system's choice then */ }
  const isDark = choice === "dark" || (choice !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
  document.documentElement.dataset.theme = isDark ? "dark" : "light";
})();
