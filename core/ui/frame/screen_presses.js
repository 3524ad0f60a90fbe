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
  forgetPress(plot);
  target.dispatchEvent(new MouseEvent("mousemove", { bubbles: true, clientX, clientY, view: window }));
}

// The next hover counts at once, however soon after the last.
function askAnew(plot) {
  window.Plotly.Fx.unhover(plot);
}

// Plotly takes a second press on the same head for taking the first one back, and the server hears nothing of what is said twice
// in the same words. Where the figure has changed in between, both have forgotten; where it has not, for somebody went back, this
// one is news all the same: a name with a blank behind it.
function forgetPress(plot) {
  for (const trace of plot._fullData) {
    for (const i of trace.selectedpoints ?? []) {
      const name = trace.customdata?.[i];
      if (name) trace.customdata[i] = name.endsWith(" ") ? name.trimEnd() : `${name} `;
    }
    delete trace.selectedpoints;
    if (trace._input) delete trace._input.selectedpoints;
  }
}
