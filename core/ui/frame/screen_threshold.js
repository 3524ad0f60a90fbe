// The threshold that the slider shows, also while it is dragged: overlays follow it at once, and numbers that the server has
// given for another one turn pale until it has answered.

class Threshold {
  // The threshold of the numbers on the page.
  shown = null;

  // What the slider says now; null where there is none on the page.
  now() {
    const slider = document.querySelector('.stSidebar input[type="range"][aria-label="Threshold"]');
    return slider ? Number(slider.value) : null;
  }

  follow() {
    const now = this.now();
    const lags = now !== null && this.shown !== null && Math.abs(now - this.shown) > 1e-6;
    document.documentElement.toggleAttribute("data-headscope-lags", lags);
    if (window.headscopeThreshold === now) return;
    window.headscopeThreshold = now;
    window.dispatchEvent(new Event("headscope-threshold"));
  }
}
