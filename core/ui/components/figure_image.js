// Saves the plotly figure of a panel as PNG or SVG, in the browser: the picture's own camera button knows how to draw it,
// but saves one format only, so the format is set just before the button is pressed.
const WIDTH = 1600;

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
      plot._context.toImageButtonOptions = { format: button.value, filename: data.filename, scale };
      // Neither click is the page's to hear of: outside of the menu that this is in, it would close the menu.
      window.addEventListener("click", keepFromPage, true);
      camera.dispatchEvent(new MouseEvent("click", { bubbles: false }));
    };
  }
}

// The browser saves a file all the same when the click on its link goes no further.
function keepFromPage(event) {
  if (!event.target.closest?.("a[download]")) return;
  event.stopPropagation();
  window.removeEventListener("click", keepFromPage, true);
}
