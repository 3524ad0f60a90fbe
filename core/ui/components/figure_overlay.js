// For which threshold one figure's overlay is, and what is seen then. Sent apart from its marks, which the browser then keeps.

export default function ({ data }) {
  const overlay = (window.headscopeFigureOverlays ??= {});
  overlay[data.panel] = data;
  window.dispatchEvent(new Event("headscope-figure-overlay"));
}
