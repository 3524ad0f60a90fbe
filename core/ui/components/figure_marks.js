// What is drawn over one figure now. Sent apart from what draws it, which the browser then keeps.

export default function ({ data }) {
  const marks = (window.headscopeFigureMarks ??= {});
  marks[data.panel] = data;
  window.dispatchEvent(new Event("headscope-figure-marks"));
}
