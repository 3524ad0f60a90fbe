// Looks after the whole page, once a window: every figure that is drawn, on whichever page.

export default function ({ data, parentElement, setStateValue }) {
  const reloaded = !window.headscopeScreen;
  const screen = (window.headscopeScreen ??= new Screen());
  screen.status = parentElement.querySelector("[role=status]");
  screen.tellNarrow = (narrow) => setStateValue("narrow", narrow);
  screen.tellTheme = (words) => setStateValue("theme", words);
  screen.sliders.shown = Object.fromEntries(data.sliders);
  // Large text is this window's own, and no part of a link: it outlasts a reload here.
  if (reloaded && !data.large && kept()) setStateValue("large", true);
  else keep(data.large);
  if (screen.narrow.matches !== data.narrow) screen.tellNarrow(screen.narrow.matches);
  screen.drawnDark = data.dark;
  screen.followTheme();
  screen.lookAgain();
  screen.sliders.follow();
}

const LARGE = "headscope-large-text";

// A browser that keeps nothing for pages says so by an error: then a reload forgets.
function kept() {
  try {
    return sessionStorage.getItem(LARGE) !== null;
  } catch {
    return false;
  }
}

function keep(large) {
  try {
    if (large) sessionStorage.setItem(LARGE, "yes");
    else sessionStorage.removeItem(LARGE);
  } catch {
    // Nothing is kept.
  }
}
// How often the server is told of a theme that it does not draw in: it hears of the theme itself a little later.
const MOST_TOLD = 5;

class Screen {
  constructor() {
    this.narrow = window.matchMedia("(max-width: 640px)");
    this.narrow.addEventListener("change", () => this.tellNarrow(this.narrow.matches));
    this.sliders = new Sliders();
    followPresses();
    this.restless = new Set();
    this.changed = new Set();
    this.sizes = new ResizeObserver((entries) => entries.forEach(({ target }) => this.look(target)));
    new MutationObserver((changes) => this.note(changes)).observe(document.body, { childList: true, subtree: true });
    // Figures are drawn in the theme's colours: when it changes, the page runs again.
    this.told = 0;
    const app = document.querySelector(".stApp");
    new MutationObserver(() => this.followTheme()).observe(app, { attributes: true, attributeFilter: ["class", "style"] });
    new MutationObserver(() => this.sliders.follow()).observe(document.body, {
      subtree: true, attributes: true, attributeFilter: ["aria-valuetext"],
    });
  }

  // A moment later: colours may be on their way, and the server has to have heard of the theme.
  followTheme() {
    clearTimeout(this.telling);
    this.telling = setTimeout(() => {
      const dark = isDark();
      if (dark === this.drawnDark) this.told = 0;
      else if (this.told < MOST_TOLD) this.tellTheme(`${dark ? "dark" : "light"}, told ${(this.told += 1)}`);
    }, 300 * (1 + this.told));
  }

  note(changes) {
    for (const { target } of changes) {
      if (target.closest?.(".hoverlayer")) continue;
      const plot = target.closest?.(".js-plotly-plot");
      if (plot) this.changed.add(plot);
    }
    this.lookAgain();
  }

  look(plot) {
    this.changed.add(plot);
    this.lookAgain();
  }

  // Not at every change: a page that is being drawn makes hundreds.
  lookAgain() {
    this.waiting ??= setTimeout(() => {
      this.waiting = undefined;
      markCurrentLink();
      for (const plot of document.querySelectorAll(".js-plotly-plot")) {
        if (!plot._fullLayout || !plot.on) continue;
        // Plotly forgets who listens when it draws a figure from the beginning.
        if (plot.headscopeOn !== plot.on) {
          plot.headscopeOn = plot.on;
          plot.on("plotly_afterplot", () => this.look(plot));
          this.sizes.observe(plot);
          this.changed.add(plot);
        }
      }
      for (const plot of this.changed) {
        if (!plot.isConnected || !plot._fullLayout) continue;
        fitWords(plot);
        openToKeys(plot, (said) => { this.status.textContent = said; });
      }
      // Once more when legends and axes have come to rest, which says nothing.
      clearTimeout(this.resting);
      for (const plot of this.changed) this.restless.add(plot);
      this.resting = setTimeout(() => {
        for (const plot of this.restless) if (plot.isConnected && plot._fullLayout) fitWords(plot);
        this.restless.clear();
      }, 500);
      this.changed.clear();
    }, 60);
  }
}

function isDark() {
  const [red, green, blue] = getComputedStyle(document.querySelector(".stApp")).backgroundColor.match(/\d+/g).map(Number);
  return red + green + blue < 384;
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
