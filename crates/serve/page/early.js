// Runs before the first paint, so that a page that was switched to dark or light never flashes the other way.
// A classic script, because modules wait for the document; the switch itself is in theme.js.
(() => {
  try {
    const theme = JSON.parse(localStorage.getItem('ingle-theme'));
    if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
  } catch {
    // storage is denied: the system's choice stands
  }
})();
