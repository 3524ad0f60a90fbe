// Draws overlay over a plotly figure (the threshold line, rings, names), so that moving them sends no figure again. They are
// drawn in the figure's own coordinates, follow its size, and are put into the picture when it is saved.

const SVG = "http://www.w3.org/2000/svg";

export default function ({ data }) {
  const panel = document.querySelector(`.st-key-${CSS.escape(data.panel)}`);
  if (!panel) return undefined;
  const known = (window.headscopeFigureMarks ??= {});
  // A page that runs again says the same once more: what is drawn stays.
  if (JSON.stringify(known[data.panel]) !== JSON.stringify(data.marks)) known[data.panel] = data.marks;
  const update = () => keepDrawn(panel, data.panel);
  // The figure may come later than its overlay, and plotly may empty it to draw it anew.
  const observer = new MutationObserver(update);
  observer.observe(panel, { childList: true, subtree: true });
  const events = ["headscope-figure-overlay", "headscope-sliders"];
  for (const event of events) window.addEventListener(event, update);
  update();
  return () => {
    observer.disconnect();
    for (const event of events) window.removeEventListener(event, update);
  };
}

function keepDrawn(panel, name) {
  const given = window.headscopeFigureOverlays?.[name], marks = window.headscopeFigureMarks[name];
  const plot = panel.querySelector(".js-plotly-plot");
  if (!given || !plot || !plot._fullLayout || !plot._fullLayout.xaxis || !plot.on) return;
  // What the slider shows now, also while it is dragged; without a slider, what the page was drawn for.
  const threshold = window.headscopeSliders?.[given.slider] ?? given.threshold;
  const drawn = plot.headscopeOverlay;
  if (!drawn || drawn.marks !== marks || drawn.threshold !== threshold) {
    // For whoever measures how long a first screen takes: the figure is there, and its overlay come with the next lines.
    if (!drawn) performance.mark(`${name} drawn`);
    const parts = marks.map((mark) => resolved(mark, threshold)).filter(Boolean);
    plot.headscopeOverlay = { marks, threshold, said: given.said, parts };
    watch(plot);
    draw(plot);
  } else if (!plot.querySelector(".headscope-overlay")) {
    draw(plot);
  } else if (drawn.said !== given.said) {
    drawn.said = given.said;
    plot.querySelector(".headscope-overlay").setAttribute("aria-label", given.said);
  }
}

// What there is of a mark at a threshold, null where there is nothing: as `resolved` in core/figures/base/overlay.py.
function resolved(mark, threshold) {
  const { above, bins, counted, avoids, ...part } = mark;
  for (const key of ["at", "x", "y"]) if (part[key] === "threshold") part[key] = threshold;
  if (Array.isArray(above)) part.at = part.at.filter((_, i) => above[i] === null || above[i] > threshold);
  else if (above !== undefined && !(above > threshold)) return null;
  if (bins) part.at = bins.map((bar) => box(bar, threshold)).filter(Boolean);
  if (part.text !== undefined) {
    const count = counted ? counted.scores.filter((score) => score > threshold === counted.are_above).length : 0;
    part.first = part.bold || part.text.includes("{threshold}");
    part.text = part.text.replace("{threshold}", threshold.toFixed(2)).replace("{count}", count);
    if (avoids && Math.abs(threshold - avoids.at) < avoids.within) {
      part.shift = [part.shift[0], avoids.by * (threshold >= avoids.at ? -1 : 1)];
    }
  }
  return part;
}

function box([left, right, scores], threshold) {
  const count = scores.filter((score) => score > threshold).length, rest = scores.length - count;
  return count ? [left, right, rest || "bottom", rest + count] : null;
}

function watch(plot) {
  if (plot.headscopeRedraw) plot.removeListener("plotly_afterplot", plot.headscopeRedraw);
  else plot.addEventListener("click", (event) => whenSaved(plot, event), true);
  plot.headscopeRedraw = () => draw(plot);
  plot.on("plotly_afterplot", plot.headscopeRedraw);
}

// Pixels in the figure for a place in its coordinates, or for one of its edges; `axes` where it holds several plots.
function places(plot, [x, y] = ["x", "y"]) {
  const { _size } = plot._fullLayout, xaxis = axis(plot, x), yaxis = axis(plot, y);
  // The whole figure's edges: where plots stand above each other, a line goes through all of them.
  const left = _size.l, right = left + _size.w, top = _size.t, bottom = top + _size.h;
  const edges = { left, right, top, bottom };
  return {
    ...edges,
    x: (value) => edges[value] ?? xaxis._offset + xaxis.d2p(value),
    y: (value) => edges[value] ?? yaxis._offset + yaxis.d2p(value),
    cell: Math.min(Math.abs(xaxis.d2p(1) - xaxis.d2p(0)), Math.abs(yaxis.d2p(1) - yaxis.d2p(0))),
  };
}

// The axis that plotly calls `x2`, as its layout names it: `xaxis2`.
function axis(plot, name) {
  return plot._fullLayout[`${name[0]}axis${name.slice(1)}`];
}

function draw(plot) {
  const { said, parts } = plot.headscopeOverlay;
  const layer = document.createElementNS(SVG, "svg");
  layer.setAttribute("class", "headscope-overlay");
  layer.setAttribute("role", "img");
  layer.setAttribute("aria-label", said);
  layer.setAttribute("width", plot._fullLayout.width);
  layer.setAttribute("height", plot._fullLayout.height);
  layer.style.cssText = "position: absolute; inset: 0; pointer-events: none;";
  for (const part of parts) {
    // Marks for a figure of more plots than the one that is still there.
    if ((part.axes ?? []).some((name) => !axis(plot, name))) continue;
    DRAWN[part.kind](part, places(plot, part.axes), layer, plot._fullLayout.font.family);
  }
  const old = plot.querySelector(".headscope-overlay");
  if (old) {
    old.replaceWith(layer);
    return;
  }
  // Under the layer of the hover texts, which must not be written over.
  const container = plot.querySelector(".svg-container");
  const hover = [...container.children].find((child) => child.querySelector(".hoverlayer"));
  container.insertBefore(layer, hover ?? null);
}

function add(layer, name, attributes) {
  const element = layer.appendChild(document.createElementNS(SVG, name));
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

// How far the corners of plotly's diamond are from its middle, in radii of a disc of the same size.
const DIAMOND = 1.3;

function radius(part, at) {
  return (part.pixels ?? part.cells * at.cell) / 2;
}

const DRAWN = {
  line(part, at, layer) {
    const place = at[part.across](part.at);
    const ends =
      part.across === "x"
        ? { x1: place, x2: place, y1: at.top, y2: at.bottom - part.begins * (at.bottom - at.top) }
        : { x1: at.left + part.begins * (at.right - at.left), x2: at.right, y1: place, y2: place };
    add(layer, "line", { ...ends, stroke: part.colour, "stroke-width": part.width, "stroke-dasharray": "9 9" });
  },
  discs(part, at, layer) {
    const r = radius(part, at), fill = part.fill ?? "none";
    for (const [x, y] of part.at) {
      const cx = at.x(x), cy = at.y(y), d = DIAMOND * r;
      for (const [stroke, width] of part.strokes) {
        const look = { fill, stroke, "stroke-width": width };
        if (part.shape === "diamond") {
          add(layer, "path", { d: `M${cx - d},${cy}L${cx},${cy - d}L${cx + d},${cy}L${cx},${cy + d}Z`, ...look });
        } else {
          add(layer, "circle", { cx, cy, r, ...look });
        }
      }
    }
  },
  crosses(part, at, layer) {
    const r = radius(part, at);
    for (const [x, y] of part.at) {
      const cx = at.x(x), cy = at.y(y), d = `M${cx - r},${cy - r}L${cx + r},${cy + r}M${cx - r},${cy + r}L${cx + r},${cy - r}`;
      for (const [stroke, width] of part.strokes) add(layer, "path", { d, fill: "none", stroke, "stroke-width": width });
    }
  },
  boxes(part, at, layer) {
    const [stroke, width] = part.stroke;
    for (const [x0, x1, y0, y1] of part.at) {
      const size = { x: at.x(x0), y: at.y(y1), width: at.x(x1) - at.x(x0), height: at.y(y0) - at.y(y1) };
      add(layer, "rect", { ...size, fill: part.fill, stroke, "stroke-width": width });
    }
  },
  words(part, at, layer, family) {
    const x = at.x(part.x) + part.shift[0], y = at.y(part.y) + part.shift[1];
    const text = add(layer, "text", {
      x, y, fill: part.colour, "font-size": part.size, "font-family": family, "text-anchor": part.anchor,
      "font-weight": part.bold ? "bold" : "normal", "dominant-baseline": "central", transform: `rotate(${part.turned} ${x} ${y})`,
    });
    text.textContent = part.text;
    // Whoever makes room for words lets these stay.
    if (part.first) text.dataset.first = "";
  },
};

// The camera draws the figure anew from its description: while it looks at it, the overlay is part of that.
function whenSaved(plot, event) {
  const button = event.target.closest(".modebar-btn");
  if (!button || !(button.dataset.attr === "toImage" || button.dataset.title?.startsWith("Download plot"))) return;
  const { data, layout } = plot;
  const { shapes, annotations } = layout;
  const given = plot.headscopeOverlay.parts.map((part) => {
    const [x, y] = part.axes ?? ["x", "y"];
    return SAVED[part.kind](part, places(plot, part.axes), { x, y, xaxis: axis(plot, x), yaxis: axis(plot, y) });
  });
  layout.shapes = [...(shapes ?? []), ...given.flatMap((each) => each.shapes ?? [])];
  layout.annotations = [...(annotations ?? []), ...given.flatMap((each) => each.annotations ?? [])];
  plot.data = [...data, ...given.flatMap((each) => each.traces ?? [])];
  setTimeout(() => {
    plot.data = data;
    Object.assign(layout, { shapes, annotations });
  }, 0);
}

const EDGES = { left: 0, right: 1, bottom: 0, top: 1 };
const ANCHORS = { start: "left", middle: "center", end: "right" };

const SAVED = {
  line(part, at, { x, y }) {
    const other = part.across === "x" ? "y" : "x", own = { x, y }[part.across];
    const ends = { [`${part.across}0`]: part.at, [`${part.across}1`]: part.at, [`${other}0`]: part.begins, [`${other}1`]: 1 };
    const line = { color: part.colour, dash: "dash", width: part.width };
    return { shapes: [{ type: "line", [`${part.across}ref`]: own, [`${other}ref`]: "paper", ...ends, line }] };
  },
  discs(part, at, { x: xaxis, y: yaxis, xaxis: { type, _categories: names } }) {
    // A trace's places on an axis of names are names.
    const x = part.at.map((place) => (type === "category" ? names[place[0]] : place[0])), y = part.at.map((place) => place[1]);
    const shape = part.shape ?? "circle", symbol = part.fill ? shape : `${shape}-open`, size = 2 * radius(part, at);
    const traces = part.strokes.map(([color, width]) => ({
      type: "scatter", mode: "markers", x, y, xaxis, yaxis, marker: { symbol, size, opacity: 1, color: part.fill ?? color, line: { color, width } },
    }));
    return { traces };
  },
  crosses(part, at, { x: xaxis, y: yaxis }) {
    const x = part.at.map((place) => place[0]), y = part.at.map((place) => place[1]), size = 2 * radius(part, at);
    const traces = part.strokes.map(([color, width]) => ({
      type: "scatter", mode: "markers", x, y, xaxis, yaxis, marker: { symbol: "x-thin", size, opacity: 1, line: { color, width } },
    }));
    return { traces };
  },
  boxes(part, at, { yaxis }) {
    const [color, width] = part.stroke;
    const lowest = yaxis.type === "log" ? 10 ** yaxis.range[0] : yaxis.range[0];
    const value = (y) => (y === "bottom" ? lowest : y);
    const shapes = part.at.map(([x0, x1, y0, y1]) => ({
      type: "rect", x0, x1, y0: value(y0), y1: value(y1), fillcolor: part.fill, line: { color, width },
    }));
    return { shapes };
  },
  words(part, at, { xaxis, yaxis }) {
    // An annotation is placed by the logarithm on a logarithmic axis, and beyond the plot by its share of the plot.
    const place = ({ type }, name, value) =>
      value in EDGES ? { [name]: EDGES[value], [`${name}ref`]: "paper" } : { [name]: type === "log" ? Math.log10(value) : value };
    return {
      annotations: [
        {
          ...place(xaxis, "x", part.x),
          ...place(yaxis, "y", part.y),
          text: part.bold ? `<b>${part.text}</b>` : part.text, showarrow: false, textangle: part.turned, yanchor: part.turned ? "bottom" : "middle",
          xanchor: ANCHORS[part.anchor], xshift: part.shift[0], yshift: -part.shift[1],
          font: { color: part.colour, size: part.size },
        },
      ],
    };
  },
};
