// What is drawn over one figure now. Sent apart from what draws it, which the browser then keeps.

export default function ({ data }) {
  const overlay = (window.headscopeFigureOverlays ??= {});
  overlay[data.panel] = data;
  window.dispatchEvent(new Event("headscope-figure-overlay"));
}
