// The grid of all heads. `data` is bytes: three little-endian uint32 (layers, heads, tokens), then every head's lower
// triangle row by row. What lies over it (picked head, rings, scores) come from the component in head_grid_state.js, so that a
// rerun that only moves a ring does not send the patterns again.

// In CSS pixels; names and what makes room for them grow with the page's text.
const LEFT = 38, TOP = 20, TEXT = 12, GAP = 4, LARGEST = 140, SMALLEST = 26;
const STATE_EVENTS = ["headscope-grid-state", "headscope-sliders"];
const grids = new WeakMap();

export default function ({ data, parentElement, setTriggerValue }) {
  let grid = grids.get(parentElement);
  if (!grid || !grid.frame.isConnected) {
    grid?.close();
    grids.set(parentElement, (grid = new Grid(parentElement)));
  }
  grid.pick = (layer, head) => setTriggerValue("picked", [layer, head]);
  grid.show(data);
  return () => { grid.close(); grids.delete(parentElement); };
}

class Grid {
  constructor(root) {
    const find = (selector) => root.querySelector(selector);
    this.root = root;
    this.frame = find(".scroll");
    this.patterns = find(".patterns");
    this.over = find("canvas.over");
    this.tip = find(".tip");
    this.status = find(".status");
    this.cursor = null;
    this.given = {};
    this.frame.addEventListener("mousemove", (event) => this.hover(this.headAt(event)));
    this.frame.addEventListener("mouseleave", () => this.hover(null));
    this.frame.addEventListener("click", (event) => this.choose(this.headAt(event)));
    this.frame.addEventListener("keydown", (event) => this.press(event));
    this.frame.addEventListener("blur", () => { this.cursor = null; this.hover(null); this.drawOver(); });
    find("button").addEventListener("click", () => this.save());
    this.onState = () => this.takeState();
    for (const event of STATE_EVENTS) window.addEventListener(event, this.onState);
    this.observer = new ResizeObserver(() => this.drawAll(false));
    this.observer.observe(this.frame);
    // Its height changes with the size of the page's text.
    this.observer.observe(find(".foot"));
  }

  close() {
    for (const event of STATE_EVENTS) window.removeEventListener(event, this.onState);
    this.observer.disconnect();
  }

  show(bytes) {
    const same = this.bytes && bytes.length === this.bytes.length && bytes.every((value, i) => value === this.bytes[i]);
    if (!same) {
      const header = new DataView(bytes.buffer, bytes.byteOffset, 12);
      [this.layers, this.heads, this.tokens] = [0, 4, 8].map((at) => header.getUint32(at, true));
      this.bytes = bytes;
      this.cells = bytes.subarray(12);
      this.cursor = null;
    }
    this.drawAll(!same);
    this.takeState();
  }

  takeState() {
    if (!this.heads) return;
    this.given = { ...window.headscopeGridState };
    const upTo = this.given.exists?.includes(false) ? "up to " : "";
    const label = `Attention patterns of all heads: ${this.layers} layers by ${upTo}${this.heads} heads. ` +
      "Arrow keys move, Enter picks a head.";
    this.frame.setAttribute("aria-label", label);
    // Rings follow the slider while it is dragged.
    const threshold = window.headscopeSliders?.Threshold ?? this.given.threshold;
    this.given.ringed = (this.given.values || []).flatMap((value, i) =>
      value !== null && value > threshold ? [[Math.floor(i / this.heads), i % this.heads]] : []);
    this.drawOver();
  }

  // Geometry, in CSS pixels

  headAt(event) {
    const box = this.over.getBoundingClientRect();
    const head = Math.floor((event.clientX - box.left - this.left) / this.cell);
    const layer = Math.floor((event.clientY - box.top - this.top) / this.cell);
    const inside = head >= 0 && head < this.heads && layer >= 0 && layer < this.layers;
    return inside && this.isThere([layer, head]) ? [layer, head] : null;
  }

  // A layer may have fewer heads than the grid is wide, or none.
  isThere([layer, head]) { return this.given.exists?.[layer * this.heads + head] ?? true; }

  corner([layer, head]) { return [this.left + head * this.cell, this.top + layer * this.cell]; }

  // Drawing

  drawAll(changed) {
    if (!this.cells) return;
    const text = parseFloat(getComputedStyle(document.documentElement).fontSize) / 16;
    const [left, top] = [LEFT * text, TOP * text].map(Math.round);
    const room = this.frame.clientWidth - left;
    const cell = Math.max(SMALLEST, Math.min(LARGEST, Math.floor(room / this.heads)));
    const style = getComputedStyle(this.frame);
    const colours = paletteFor(style.getPropertyValue("--st-background-color"));
    const ratio = window.devicePixelRatio || 1;
    const look = [cell, ratio, text, colours.name].join();
    if (!changed && look === this.look) return;
    Object.assign(this, { cell, ratio, left, top, colours, look, font: `${TEXT * text}px ${style.fontFamily}` });
    const width = left + this.heads * cell, height = top + this.layers * cell;
    for (const canvas of [this.patterns, this.over]) {
      canvas.width = width * ratio;
      canvas.height = height * ratio;
      canvas.style.width = width + "px";
      canvas.style.height = height + "px";
    }
    this.drawPatterns();
    this.drawOver();
  }

  drawPatterns() {
    const context = this.patterns.getContext("2d");
    const size = Math.round((this.cell - GAP) * this.ratio);
    const image = context.createImageData(size, size);
    const pixels = new Uint32Array(image.data.buffer);
    const perHead = (this.tokens * (this.tokens + 1)) / 2;
    const ramp = colourRamp(this.colours);
    for (let layer = 0; layer < this.layers; layer++) {
      for (let head = 0; head < this.heads; head++) {
        const start = (layer * this.heads + head) * perHead;
        paint(pixels, size, this.cells.subarray(start, start + perHead), this.tokens, ramp);
        const [x, y] = this.corner([layer, head]);
        context.putImageData(image, Math.round(x * this.ratio), Math.round(y * this.ratio));
      }
    }
    this.drawNames(context);
    drawScale(this.root.querySelector(".ramp"), ramp);
  }

  drawNames(context) {
    context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    context.fillStyle = this.colours.text;
    context.font = this.font;
    context.textBaseline = "middle";
    context.textAlign = "center";
    const middle = (this.cell - GAP) / 2;
    for (let head = 0; head < this.heads; head++) context.fillText("H" + head, this.left + head * this.cell + middle, this.top / 2);
    context.textAlign = "right";
    for (let layer = 0; layer < this.layers; layer++) {
      context.fillText("L" + layer, this.left - 8, this.top + layer * this.cell + middle);
    }
    context.setTransform(1, 0, 0, 1, 0, 0);
  }

  drawOver() {
    if (!this.cells) return;
    const context = this.over.getContext("2d");
    context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    context.clearRect(0, 0, this.over.width, this.over.height);
    const side = this.cell - GAP;
    const radius = Math.max(4, Math.min(9, side / 8));
    context.lineWidth = 2.5;
    context.strokeStyle = this.colours.stripe;
    for (const place of this.given.ringed || []) {
      // In the triangle that no query sees, where it hides nothing.
      const [x, y] = this.corner(place);
      context.beginPath();
      context.arc(x + side - radius - 4, y + radius + 4, radius, 0, 2 * Math.PI);
      context.stroke();
    }
    const outline = (place, width, dash) => {
      const [x, y] = this.corner(place);
      context.setLineDash(dash);
      context.lineWidth = width;
      context.strokeRect(x - 0.5, y - 0.5, side + 1, side + 1);
      context.setLineDash([]);
    };
    context.strokeStyle = this.colours.text;
    if (this.given.picked) outline(this.given.picked, 4, []);
    if (this.cursor) outline(this.cursor, 2, [4, 3]);
    context.setTransform(1, 0, 0, 1, 0, 0);
  }

  // Pointer and keyboard

  describe([layer, head]) {
    if (!this.isThere([layer, head])) return `There is no head L${layer}H${head}`;
    const value = (this.given.values || [])[layer * this.heads + head];
    const above = (this.given.ringed || []).some(([l, h]) => l === layer && h === head);
    const score = value == null ? "" : ` · ${this.given.title} ${value.toFixed(3)}`;
    return `L${layer}H${head}${score}${above ? " · above the threshold" : ""}`;
  }

  hover(place) {
    this.tip.hidden = !place;
    if (!place) return;
    this.tip.textContent = this.describe(place);
    const [x, y] = this.corner(place);
    const width = this.root.querySelector(".head-grid").clientWidth;
    this.tip.style.top = y + this.cell + "px";
    this.tip.style.left = Math.max(0, Math.min(x - this.frame.scrollLeft, width - this.tip.offsetWidth)) + "px";
  }

  press(event) {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    const place = this.cursor || this.given.picked || [0, 0];
    if (step) {
      const within = (value, count) => Math.max(0, Math.min(count - 1, value));
      this.cursor = [within(place[0] + step[0], this.layers), within(place[1] + step[1], this.heads)];
      this.status.textContent = this.describe(this.cursor);
      this.hover(this.cursor);
      this.drawOver();
    } else if (event.key === "Enter" || event.key === " ") {
      this.choose(place);
    } else {
      return;
    }
    event.preventDefault();
  }

  choose(place) {
    if (!place || !this.isThere(place)) return;
    // Shown at once; Python's answer confirms it.
    this.given = { ...this.given, picked: place };
    this.drawOver();
    this.pick(...place);
  }

  save() {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [this.patterns.width, this.patterns.height];
    const context = canvas.getContext("2d");
    context.fillStyle = this.colours.background;
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.drawImage(this.patterns, 0, 0);
    context.drawImage(this.over, 0, 0);
    const link = document.createElement("a");
    link.download = "heads.png";
    link.href = canvas.toDataURL("image/png");
    link.click();
  }
}

// Colours

const PALETTES = $PALETTES;

function paletteFor(background) {
  const [red, green, blue] = parts(background.trim().startsWith("#") ? background.trim() : "#ffffff");
  const dark = 0.299 * red + 0.587 * green + 0.114 * blue < 128;
  const name = dark ? "dark" : "light";
  return { name, background: background.trim() || "#ffffff", ...PALETTES[name] };
}

function parts(hex) {
  const digits = hex.length < 7 ? [...hex.slice(1, 4)].map((digit) => digit + digit) : hex.slice(1, 7).match(/../g);
  return digits.map((pair) => parseInt(pair, 16));
}

// One 32-bit pixel for each byte of weight, and one more (256) for the cells that a query cannot see.
function colourRamp({ none, full, unseen }) {
  const [from, to] = [parts(none), parts(full)];
  const pixel = ([red, green, blue]) => ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
  const ramp = Uint32Array.from({ length: 257 }, (_, value) =>
    pixel(from.map((start, i) => Math.round(start + ((to[i] - start) * value) / 255))));
  ramp[256] = pixel(parts(unseen));
  return ramp;
}

function drawScale(canvas, ramp) {
  const context = canvas.getContext("2d");
  const image = context.createImageData(256, 1);
  new Uint32Array(image.data.buffer).set(ramp.subarray(0, 256));
  context.putImageData(image, 0, 0);
}

// Larger than the pattern: nearest cell. Smaller: the largest weight that falls on a pixel, or thin stripes would vanish.
function paint(pixels, size, cells, tokens, ramp) {
  if (size >= tokens) {
    for (let y = 0, at = 0; y < size; y++) {
      const query = Math.floor((y * tokens) / size), row = (query * (query + 1)) / 2;
      for (let x = 0; x < size; x++, at++) {
        const key = Math.floor((x * tokens) / size);
        pixels[at] = key <= query ? ramp[cells[row + key]] : ramp[256];
      }
    }
    return;
  }
  const largest = new Int16Array(size * size).fill(256);
  for (let query = 0, cell = 0; query < tokens; query++) {
    const row = Math.floor((query * size) / tokens) * size;
    for (let key = 0; key <= query; key++, cell++) {
      const at = row + Math.floor((key * size) / tokens);
      if (largest[at] === 256 || cells[cell] > largest[at]) largest[at] = cells[cell];
    }
  }
  for (let at = 0; at < pixels.length; at++) pixels[at] = ramp[largest[at]];
}
