// Looks after the whole page, once a window: every figure that is drawn, on whichever page.

export default function ({ data, parentElement, setStateValue }) {
  const screen = (window.headscopeScreen ??= new Screen());
  screen.status = parentElement.querySelector("[role=status]");
  screen.tellNarrow = (narrow) => setStateValue("narrow", narrow);
  screen.tellBackground = (colour) => setStateValue("background", colour);
  screen.threshold.shown = data.threshold;
  if (screen.narrow.matches !== data.narrow) screen.tellNarrow(screen.narrow.matches);
  screen.lookAgain();
  screen.threshold.follow();
}

class Screen {
  constructor() {
    this.narrow = window.matchMedia("(max-width: 640px)");
    this.narrow.addEventListener("change", () => this.tellNarrow(this.narrow.matches));
    this.threshold = new Threshold();
    this.changed = new Set();
    new MutationObserver((changes) => this.note(changes)).observe(document.body, { childList: true, subtree: true });
    // Figures are drawn in the theme's colours: when it changes, the page runs again.
    this.background = background();
    const app = document.querySelector(".stApp");
    new MutationObserver(() => this.followTheme()).observe(app, { attributes: true, attributeFilter: ["class", "style"] });
    new MutationObserver(() => this.threshold.follow()).observe(document.body, {
      subtree: true, attributes: true, attributeFilter: ["aria-valuetext"],
    });
  }

  followTheme() {
    const now = background();
    if (now === this.background) return;
    this.background = now;
    this.tellBackground(now);
  }

  note(changes) {
    for (const { target } of changes) {
      if (target.closest?.(".hoverlayer")) continue;
      const plot = target.closest?.(".js-plotly-plot");
      if (plot) this.changed.add(plot);
    }
    this.lookAgain();
  }

  // Not at every change: a page that is being drawn makes hundreds.
  lookAgain() {
    this.waiting ??= setTimeout(() => {
      this.waiting = undefined;
      markCurrentLink();
      for (const plot of document.querySelectorAll(".js-plotly-plot")) {
        if (!plot._fullLayout || !plot.on) continue;
        if (!plot.headscopeScreen) {
          plot.headscopeScreen = true;
          plot.on("plotly_afterplot", () => { this.changed.add(plot); this.lookAgain(); });
          this.changed.add(plot);
        }
      }
      for (const plot of this.changed) {
        if (!plot.isConnected || !plot._fullLayout) continue;
        fitWords(plot);
        openToKeys(plot, (said) => { this.status.textContent = said; });
      }
      this.changed.clear();
    }, 60);
  }
}

function background() {
  return getComputedStyle(document.querySelector(".stApp")).backgroundColor;
}

// Streamlit colours the link to the page that is shown, and tells it to nobody who cannot see that.
function markCurrentLink() {
  const last = (path) => path.split(/[?#]/)[0].split("/").pop();
  for (const link of document.querySelectorAll('.stSidebar [data-testid="stPageLink-NavLink"]')) {
    const current = last(link.getAttribute("href")) === last(location.pathname);
    if (current && link.getAttribute("aria-current") !== "page") link.setAttribute("aria-current", "page");
    if (!current && link.hasAttribute("aria-current")) link.removeAttribute("aria-current");
  }
}
