// A press on a picture means what lies under it. Plotly takes it for a click on whatever it last knew a pointer to be over: a
// finger is over nothing before it taps, and a mouse is asked at most every 50 ms, so that after a quick move the press would
// pick what was passed on the way, or nothing.

function followPresses() {
  const capture = { capture: true, passive: true };
  document.addEventListener("touchstart", ({ target, touches: [finger, another] }) => {
    if (!another) lookUnder(target, finger);
  }, capture);
  document.addEventListener("mousedown", (event) => {
    // What the keyboard presses has been told to plotly already, and may lie under something else.
    if (event.isTrusted) lookUnder(event.target, event);
  }, capture);
}

function lookUnder(target, { clientX, clientY }) {
  const plot = target.closest?.(".nsewdrag") && target.closest(".js-plotly-plot");
  if (!plot) return;
  askAnew(plot);
  target.dispatchEvent(new MouseEvent("mousemove", { bubbles: true, clientX, clientY, view: window }));
}

// The next hover counts at once, however soon after the last.
function askAnew(plot) {
  window.Plotly.Fx.unhover(plot);
}
