// Words in a figure never cover each other, however narrow it is: what has no room is not written, and hovering or the table
// behind the picture still says it. Numbers in cells are written in all of them or in none.

const LEAST_FONT = 10;

function fitWords(plot) {
  for (const text of plot.querySelectorAll("[data-headscope-fitted]")) {
    text.style.visibility = text.style.translate = "";
    if (text.dataset.headscopeFitted) text.style.fontSize = text.dataset.headscopeFitted;
    delete text.dataset.headscopeFitted;
  }
  const box = plot.getBoundingClientRect();
  if (!box.width) return;
  const taken = [];
  const place = (text) => {
    // A note with a box round it is seen and hidden with its box.
    const note = text.closest(".annotation-text-g");
    const rect = (note ?? text).getBoundingClientRect();
    if (!rect.width || !text.textContent.trim()) return;
    if (taken.some((other) => meet(rect, other))) hide(note ?? text);
    else taken.push(rect);
  };
  const titles = [...plot.querySelectorAll(".infolayer text")].filter((text) => /title/.test(text.getAttribute("class") ?? ""));
  if (plot.layout.meta?.upright) turnUpright(plot);
  for (const text of [...titles, ...plot.querySelectorAll(".infolayer .annotation text, .legendtext")]) keepInside(text, box);
  for (const text of titles) place(text);
  for (const text of plot.querySelectorAll(".legendtext, .infolayer .annotation text")) place(text);
  for (const text of plot.querySelectorAll(".headscope-overlay text")) keepInside(text, box);
  for (const text of plot.querySelectorAll(".headscope-overlay text[data-first]")) place(text);
  for (const ticks of tickGroups(plot)) thinOut(ticks, taken);
  for (const trace of plot.querySelectorAll(".scatterlayer .trace")) {
    const texts = [...trace.querySelectorAll("text")];
    if (!texts.length) continue;
    for (const text of texts) keepInside(text, box);
    if (trace.__data__?.[0]?.trace.name === "values") allOrNone(plot, texts);
    else for (const text of texts) place(text);
  }
  for (const text of plot.querySelectorAll(".headscope-overlay text:not([data-first])")) place(text);
}

// By more than what letters leave free above and below them.
function meet(a, b) {
  return Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1 && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 3;
}

function note(text) {
  text.dataset.headscopeFitted ??= "";
}

function write(text, size) {
  text.dataset.headscopeFitted = text.style.fontSize;
  text.style.fontSize = `${size}px`;
}

function hide(text) {
  note(text);
  text.style.visibility = "hidden";
}

// Words wider than the figure are written smaller, and moved until they are inside.
function keepInside(text, box) {
  let rect = text.getBoundingClientRect();
  if (rect.width > box.width - 4) {
    const size = parseFloat(getComputedStyle(text).fontSize);
    write(text, Math.max(LEAST_FONT, (size * (box.width - 4)) / rect.width));
    rect = text.getBoundingClientRect();
  }
  const right = Math.max(0, box.left + 2 - rect.left), left = Math.min(0, box.right - 2 - rect.right);
  if (right || left) {
    note(text);
    text.style.translate = `${right || left}px 0`;
  }
}

// The labels of one axis each.
function tickGroups(plot) {
  const groups = new Map();
  for (const text of plot.querySelectorAll('[class$="tick"] > text')) {
    const group = text.closest("g").parentNode;
    groups.set(group, [...(groups.get(group) ?? []), text]);
  }
  return groups.values();
}

// Every second label, every third, and so on, until none meets another; names that are few are turned instead, by plotly.
function thinOut(texts, taken) {
  const rects = texts.map((text) => text.getBoundingClientRect());
  let step = 1;
  const crowded = (kept) => kept.some((rect, i) => i && meet(rect, kept[i - 1]));
  while (step < texts.length && crowded(rects.filter((_, i) => i % step === 0))) step += 1;
  texts.forEach((text, i) => {
    if (i % step || taken.some((other) => meet(rects[i], other))) hide(text);
    else taken.push(rects[i]);
  });
}

function allOrNone(plot, texts) {
  const { xaxis } = plot._fullLayout;
  // A ring must go round the number, not through it.
  const ringed = plot.headscopeOverlay?.marks.some((mark) => mark.cells && mark.kind === "discs");
  const cell = Math.abs(xaxis.d2p(1) - xaxis.d2p(0)), room = ringed ? 0.84 * cell - 8 : cell - 3;
  const widest = Math.max(...texts.map((text) => text.getBoundingClientRect().width));
  if (widest <= room) return;
  const size = parseFloat(getComputedStyle(texts[0]).fontSize), smaller = Math.floor((size * room) / widest);
  for (const text of texts) {
    if (smaller < LEAST_FONT) hide(text);
    else write(text, smaller);
  }
}

// A row of words that would meet is read from below instead, one beside the other.
function turnUpright(plot) {
  const texts = [...plot.querySelectorAll(".infolayer .annotation text")].filter((text) => text.textContent.trim());
  const rects = texts.map((text) => text.getBoundingClientRect());
  const row = texts.filter((_, i) => rects.filter((rect) => Math.abs(rect.top - rects[i].top) < 2).length > 2);
  const meeting = row.some((text, i) => i && meet(text.getBoundingClientRect(), row[i - 1].getBoundingClientRect()));
  for (const text of row) text.style.transform = "";
  if (!meeting) return;
  for (const text of row) {
    text.style.transformBox = "fill-box";
    text.style.transformOrigin = "center";
    text.style.transform = "rotate(-90deg)";
    const tall = text.getBoundingClientRect().height;
    if (tall > 46) text.style.transform = `rotate(-90deg) scale(${46 / tall})`;
  }
}
