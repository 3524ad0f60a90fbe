// What sliders show that move something in pictures, also while they are dragged: overlays follow them at once, and numbers
// that the server has given for another place turn pale until it has answered.

class Sliders {
  // For which place of each slider the numbers on the page are, by the slider's name; a page need not have all of them.
  shown = {};

  // What the sliders say now, of those that are on the page.
  now() {
    const found = {};
    for (const slider of document.querySelectorAll('input[type="range"][aria-label]')) {
      const name = slider.getAttribute("aria-label");
      if (name in this.shown) found[name] = Number(slider.value);
    }
    return found;
  }

  follow() {
    const now = this.now(), known = window.headscopeSliders ?? {};
    const lag = Object.keys(now).filter((name) => Math.abs(now[name] - this.shown[name]) > 1e-6);
    if (lag.length) document.documentElement.dataset.headscopeLags = lag.join(", ");
    else delete document.documentElement.dataset.headscopeLags;
    if (JSON.stringify(known) === JSON.stringify(now)) return;
    window.headscopeSliders = now;
    window.dispatchEvent(new Event("headscope-sliders"));
  }
}
