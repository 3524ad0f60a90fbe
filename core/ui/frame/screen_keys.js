// Every head of a picture by keyboard: arrow keys go from head to head, what hovering says is shown and read out, and Enter is
// a click. Plotly is told the very head: where points lie on each other, a mouse finds only the nearest one.

const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function openToKeys(plot, say) {
  plot.headscopeSay = say;
  if (plot.tabIndex === 0 || !headsOf(plot).length) return;
  plot.tabIndex = 0;
  plot.setAttribute("role", "application");
  plot.setAttribute("aria-label", "Heads of this picture: arrow keys go from head to head, Enter picks one.");
  plot.addEventListener("keydown", (event) => press(plot, event));
  plot.addEventListener("blur", () => plot.querySelector(".nsewdrag")?.dispatchEvent(new MouseEvent("mouseout")));
}

// Each head's name, what hovering says of it, and where it is on screen.
function headsOf(plot) {
  const listed = (values) => Array.from(values?._inputArray ?? values ?? []);
  const box = plot.getBoundingClientRect();
  return (plot._fullData ?? []).filter((trace) => trace.name === "heads" && trace.customdata).flatMap((trace) => {
    const xaxis = axisOf(plot, trace.xaxis), yaxis = axisOf(plot, trace.yaxis);
    const x = listed(trace.x), y = listed(trace.y), names = listed(trace.customdata), texts = listed(trace.hovertext);
    return names.map((name, i) => ({
      name, said: plain(texts[i] ?? name), subplot: `${trace.xaxis}${trace.yaxis}`, curveNumber: trace.index, pointNumber: i,
      x: box.x + xaxis._offset + xaxis.d2p(x[i]), y: box.y + yaxis._offset + yaxis.d2p(y[i]),
    }));
  });
}

function axisOf(plot, name) {
  return plot._fullLayout[`${name[0]}axis${name.slice(1)}`];
}

function plain(text) {
  return String(text).replace(/<br>/g, ", ").replace(/<[^>]*>/g, "");
}

function press(plot, event) {
  if (event.target !== plot) return;
  const heads = headsOf(plot), at = plot.headscopeAt ?? -1, here = heads[at];
  if (STEPS[event.key]) {
    plot.headscopeAt = here ? next(heads, at, STEPS[event.key]) : 0;
    const head = heads[plot.headscopeAt];
    hover(plot, head);
    plot.headscopeSay(head.said);
  } else if ((event.key === "Enter" || event.key === " ") && here) {
    forgetPress(plot);
    hover(plot, here);
    send(plot, here, "mousedown");
    document.dispatchEvent(new MouseEvent("mouseup", { bubbles: true, clientX: here.x, clientY: here.y, view: window }));
  } else {
    return;
  }
  event.preventDefault();
}

// The nearest head that way; sideways counts double, so that a row is gone through before the next.
function next(heads, at, [right, down]) {
  const here = heads[at];
  let best = at, least = Infinity;
  heads.forEach((head, i) => {
    const along = (head.x - here.x) * right + (head.y - here.y) * down;
    const aside = Math.abs((head.x - here.x) * down) + Math.abs((head.y - here.y) * right);
    if (i !== at && along > 0.5 && along + 2 * aside < least) [best, least] = [i, along + 2 * aside];
  });
  return best;
}

function hover(plot, { curveNumber, pointNumber, subplot }) {
  askAnew(plot);
  window.Plotly.Fx.hover(plot, [{ curveNumber, pointNumber }], subplot);
}

function send(plot, head, kind) {
  const drag = plot.querySelector(`.draglayer .${head.subplot} .nsewdrag`) ?? plot.querySelector(".nsewdrag");
  drag?.dispatchEvent(new MouseEvent(kind, { bubbles: true, clientX: head.x, clientY: head.y, view: window }));
}
