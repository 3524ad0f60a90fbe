// A tap on a picture means what lies under the finger. Plotly takes a tap for a click on whatever a mouse was last over, and a
// finger is over nothing before it taps: the first tap would pick nothing, and each one after it what was tapped before.

function followTaps() {
  document.addEventListener("touchstart", ({ target, touches: [finger, another] }) => {
    if (another || !target.closest?.(".nsewdrag")) return;
    const { clientX, clientY } = finger;
    target.dispatchEvent(new MouseEvent("mousemove", { bubbles: true, clientX, clientY, view: window }));
  }, { capture: true, passive: true });
}
