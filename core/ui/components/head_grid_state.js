// What is marked on the grid of heads: the picked head, the threshold of the rings, each head's score. Sent apart from the patterns, and
// left on the window for the grid, whichever of the two is drawn first.

export default function ({ data }) {
  window.headscopeGridState = data;
  window.dispatchEvent(new Event("headscope-grid-state"));
}
