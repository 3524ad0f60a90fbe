// Saves the plotly figure of a panel as PNG or SVG, in the browser: the picture's own camera button knows how to draw it,
// but saves one format only, so the format is set just before the button is pressed.
const WIDTH = 1600;
// What the picture shows and what it was measured on is written below it, for a file travels without its page.
const SIZE = 12, LINE = 1.3 * SIZE, LETTER = 0.55 * SIZE, ROOM = 12;
const FAMILY = "Helvetica, Arial, sans-serif";

export default function (component) {
  const { parentElement, data } = component;
  const said = parentElement.querySelector("[role=status]");
  for (const button of parentElement.querySelectorAll("button")) {
    button.onclick = () => {
      const plot = document.querySelector(`.st-key-${CSS.escape(data.panel)} .js-plotly-plot`);
      const camera = plot && plot.querySelector('.modebar-btn[data-attr="toImage"], .modebar-btn[data-title^="Download plot"]');
      if (!camera || !plot._context) {
        said.textContent = "The picture is not on screen yet.";
        return;
      }
      said.textContent = "";
      // As sharp from a telephone's narrow screen as from a desk's.
      const scale = Math.max(2, WIDTH / plot.clientWidth);
      const { width, height } = plot._fullLayout;
      const restore = lighten(plot, data);
      const lines = writeBelow(plot, data.said);
      const size = { width, height: height + spaceFor(lines) };
      const before = plot._context.toImageButtonOptions;
      plot._context.toImageButtonOptions = { format: button.value, filename: data.filename, scale, ...size };
      // Neither click is the page's to hear of: outside of the menu that this is in, it would close the menu.
      window.addEventListener("click", keepFromPage, true);
      camera.dispatchEvent(new MouseEvent("click", { bubbles: false }));
      // By then the camera has looked.
      setTimeout(() => {
        restore();
        plot._context.toImageButtonOptions = before;
      }, 0);
    };
  }
}

// The browser saves a file all the same when the click on its link goes no further.
function keepFromPage(event) {
  if (!event.target.closest?.("a[download]")) return;
  event.stopPropagation();
  window.removeEventListener("click", keepFromPage, true);
}

function spaceFor(lines) {
  return lines.length * LINE + 3 * ROOM;
}

function writeBelow(plot, said) {
  const { layout, _fullLayout: drawn } = plot;
  const lines = said.flatMap((sentence) => wrapped(sentence, Math.floor((drawn.width - 2 * ROOM) / LETTER)));
  const text = lines.map(escaped).join("<br>");
  const place = { xref: "paper", yref: "paper", x: 0, y: 0, xanchor: "left", yanchor: "top" };
  const shift = { xshift: ROOM - drawn._size.l, yshift: -drawn._size.b - ROOM };
  const look = { align: "left", showarrow: false, font: { size: SIZE } };
  layout.annotations = [...(layout.annotations ?? []), { text, ...place, ...shift, ...look }];
  layout.margin = { ...(layout.margin ?? {}), b: drawn._size.b + spaceFor(lines) };
  return lines;
}

// A saved picture is light, for paper: the camera sees the figure and its overlay like that until they are put back.
function lighten(plot, { colours, patterns }) {
  const { data, layout, headscopeOverlay: overlay } = plot;
  plot.data = inColours(data, colours, patterns);
  plot.layout = inColours(layout, colours, patterns);
  // A file has no font of the page's: what is measured for it is measured in letters that it has.
  plot.layout.font = { ...plot.layout.font, family: FAMILY };
  if (overlay) plot.headscopeOverlay = { ...overlay, parts: inColours(overlay.parts, colours, patterns) };
  return () => Object.assign(plot, { data, layout, headscopeOverlay: overlay });
}

const IS_COLOUR = /colou?r|^fill$|^strokes?$/;

function inColours(value, colours, patterns, ofColour = false) {
  if (typeof value === "string" && ofColour) {
    return Object.entries(colours).reduce((text, [dark, light]) => text.replaceAll(dark, light), value);
  }
  if (Array.isArray(value)) return value.map((each) => inColours(each, colours, patterns, ofColour));
  // Numbers, in arrays of their own kind, have no colours.
  if (Object.getPrototypeOf(value ?? 0) !== Object.prototype) return value;
  const changed = Object.entries(value).map(([key, each]) => {
    // Black in a pattern's scale is no attention, and elsewhere writing on light cells.
    const own = key === "colorscale" || key === "plot_bgcolor" ? { ...patterns, ...colours } : colours;
    return [key, inColours(each, own, patterns, ofColour || IS_COLOUR.test(key))];
  });
  return Object.fromEntries(changed);
}

function wrapped(sentence, most) {
  const lines = [""];
  // A list of heads or a path has no spaces of its own.
  const words = sentence.split(/\s+/).flatMap((word) => word.match(new RegExp(`.{1,${most}}`, "gu")) ?? []);
  for (const word of words) {
    const last = lines[lines.length - 1];
    if (last && last.length + 1 + word.length > most) lines.push(word);
    else lines[lines.length - 1] = last ? `${last} ${word}` : word;
  }
  return lines;
}

// The picture's words are read as markup: names of models and texts are anybody's.
function escaped(line) {
  return line.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
