"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const root = document.getElementById("main");

/* Everything that comes from runs is text: it reaches the page by textContent alone. */
function make(tag, options = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(options)) {
    if (key === "text") node.textContent = value;
    else if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (value !== null && value !== false) node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children);
  return node;
}

/* Tables that sort by a click or Enter on a head. */
function number(text) {
  const found = /^[+-]?[\d.]+/.exec(text.replace("−", "-").replace(/^inf.*/, "9e99"));
  const factor = { K: 1e3, M: 1e6, G: 1e9, T: 1e12 }[text.slice(-1)] || 1;
  return text === "best" ? 0 : found ? parseFloat(text.startsWith("9e99") ? "9e99" : found[0]) * factor : NaN;
}
function sortBy(table, column, isText) {
  const head = table.tHead.rows[0].cells[column];
  const down = head.getAttribute("aria-sort") === "ascending";
  for (const cell of table.tHead.rows[0].cells) cell.setAttribute("aria-sort", "none");
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  const value = (row) => row.cells[column].textContent;
  const order = (a, b) => {
    const [x, y] = [value(a), value(b)];
    if (isText) return x.localeCompare(y, undefined, { numeric: true }) * (down ? -1 : 1);
    const [m, n] = [number(x), number(y)];
    if (isNaN(m) || isNaN(n)) return isNaN(m) - isNaN(n);
    return (m - n) * (down ? -1 : 1);
  };
  table.tBodies[0].append(...[...table.tBodies[0].rows].sort(order));
}
function table(block) {
  const own = make("table");
  const isText = block.columns.map((name) => block.texts.includes(name));
  const heads = block.columns.map((name, i) =>
    make("th", { scope: "col", class: isText[i] ? "text" : null, "aria-sort": "none" },
      make("button", { type: "button", text: name, onclick: () => sortBy(own, i, isText[i]) })));
  const rows = block.rows.map((row) =>
    make("tr", { class: block.ranks && row[0] === "1" && block.rows.length > 2 ? "best" : null },
      ...row.map((cell, i) => make("td", { class: isText[i] ? "text" : null, text: cell }))));
  own.append(make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}, ...rows));
  return make("div", { class: "scroll" }, own);
}

/* The state of the viewer; all of it stands in the address, so that a link shows the same. */
const state = { g: 0, i: 0, view: "flip", show: "image", m: 2, a: 0, b: 1, s: 0.5, z: 1, x: 0.5, y: 0.5, gain: 4 };
const VIEWS = ["flip", "slider", "grid"];
const SHOWS = ["image", "error", "signed"];
function readHash() {
  for (const [key, text] of new URLSearchParams(location.hash.slice(1))) {
    if (key === "view" && VIEWS.includes(text)) state.view = text;
    else if (key === "show" && SHOWS.includes(text)) state.show = text;
    else if (typeof state[key] === "number" && isFinite(parseFloat(text))) state[key] = parseFloat(text);
  }
  limit();
}
function clamp(value, low, high) { return Math.min(Math.max(value, low), high); }
function limit() {
  const pick = (key, count) => { state[key] = clamp(Math.round(state[key]), 0, Math.max(count - 1, 0)); };
  pick("g", shown.length);
  const group = shown[state.g];
  if (!group) return;
  pick("i", group.images.length);
  for (const key of "mab") pick(key, group.methods.length);
  state.z = clamp(state.z, 1, 64);
  state.s = clamp(state.s, 0, 1);
  state.gain = clamp(state.gain, 1, 64);
}
function writeHash() {
  const round = (v) => (typeof v === "number" ? String(Math.round(v * 1e4) / 1e4) : v);
  const text = Object.entries(state).map(([key, value]) => `${key}=${round(value)}`).join("&");
  history.replaceState(null, "", `#${text}`);
}

/* Decoded versions of an image: a canvas to draw and its values, (w, h, RGBA). */
const shown = data.groups.filter((group) => group.images.length);
const cache = new Map();
let current = null;
function blank(w, h) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [w, h];
  return canvas;
}
async function decode(source) {
  const image = new Image();
  image.src = source;
  await image.decode();
  const canvas = blank(image.naturalWidth, image.naturalHeight);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  return { canvas, values: context.getImageData(0, 0, canvas.width, canvas.height).data };
}
function versions(g, i) {
  const key = `${g}/${i}`;
  if (!cache.has(key)) {
    if (cache.size > 4) cache.delete(cache.keys().next().value);
    cache.set(key, Promise.all(shown[g].images[i].src.map((s) => s && decode(s))));
  }
  return cache.get(key);
}
function luma(v, p) { return (65.481 * v[p] + 128.553 * v[p + 1] + 24.966 * v[p + 2]) / 255; }
function painted(base, colour) {
  const canvas = blank(base.canvas.width, base.canvas.height);
  const context = canvas.getContext("2d");
  const out = context.createImageData(canvas.width, canvas.height);
  for (let p = 0; p < out.data.length; p += 4) {
    colour(p, out.data);
    out.data[p + 3] = 255;
  }
  context.putImageData(out, 0, 0);
  return { canvas, values: out.data };
}
/* |SR - HR| of each channel. */
function errorMap(sr, hr) {
  return painted(sr, (p, out) => {
    for (let c = 0; c < 3; c++) out[p + c] = Math.min(255, Math.abs(sr.values[p + c] - hr.values[p + c]) * state.gain);
  });
}
/* Blue where A's Y is nearer to HR's, orange where B's is. */
function signedMap(a, b, hr) {
  return painted(a, (p, out) => {
    const truth = luma(hr.values, p);
    const better = Math.abs(luma(b.values, p) - truth) - Math.abs(luma(a.values, p) - truth);
    const t = clamp((Math.abs(better) * state.gain) / 128, 0, 1);
    const [r, g, bl] = better > 0 ? [0, 114, 178] : [213, 94, 0];
    out[p] = 255 + (r - 255) * t;
    out[p + 1] = 255 + (g - 255) * t;
    out[p + 2] = 255 + (bl - 255) * t;
  });
}

/* What the panes show now: [caption, picture, picture behind the slider]. */
function layers() {
  const { methods } = shown[state.g];
  const image = shown[state.g].images[state.i];
  const hr = current[0];
  const caption = (m) => methods[m] + (image.figures[m] ? `  ${image.figures[m]}` : "");
  const map = (m) => (state.show === "error" && m ? errorMap(current[m], hr) : current[m]);
  const has = (m) => current[m] !== null;
  const [m, a, b] = [state.m, state.a, state.b].map((k) => (has(k) ? k : 0));
  const prefix = (k) => (state.show === "error" && k ? `|SR − HR| × ${state.gain}: ` : "");
  if (state.show === "signed") return [[`A ${methods[a]} − B ${methods[b]}, × ${state.gain}`, signedMap(current[a], current[b], hr)]];
  if (state.view === "slider") return [[`A ${prefix(a)}${caption(a)}   |   B ${prefix(b)}${caption(b)}`, map(a), map(b)]];
  if (state.view === "grid") return methods.map((_, k) => k).filter(has).map((k) => [prefix(k) + caption(k), map(k)]);
  return [[prefix(m) + caption(m), map(m)]];
}

let panes = [];
let drawn = [];
function place(canvas) {
  const { width: w, height: h } = current[0].canvas;
  const scale = Math.min(canvas.width / w, canvas.height / h) * state.z;
  for (const [key, side, length] of [["x", w, canvas.width], ["y", h, canvas.height]]) {
    const half = length / 2 / (side * scale);
    state[key] = half >= 0.5 ? 0.5 : clamp(state[key], half, 1 - half);
  }
  return { scale, left: canvas.width / 2 - state.x * w * scale, top: canvas.height / 2 - state.y * h * scale };
}
function paint() {
  panes.forEach((pane, k) => {
    const [, one, other] = drawn[k];
    const canvas = pane.canvas;
    const ratio = window.devicePixelRatio || 1;
    const { width: w, height: h } = current[0].canvas;
    const width = pane.node.clientWidth;
    const most = state.view === "grid" && state.show !== "signed" ? 360 : Math.max(280, window.innerHeight * 0.72);
    canvas.style.height = `${Math.round(Math.min((width * h) / w, most))}px`;
    canvas.style.touchAction = state.z > 1 ? "none" : "pan-y";  // a finger still scrolls past the whole image
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(parseFloat(canvas.style.height) * ratio);
    const context = canvas.getContext("2d");
    const { scale, left, top } = place(canvas);
    context.imageSmoothingEnabled = scale < 1;
    const draw = (layer) => context.drawImage(layer.canvas, left, top, w * scale, h * scale);
    draw(one);
    if (other) {
      const split = state.s * canvas.width;
      context.save();
      context.beginPath();
      context.rect(split, 0, canvas.width - split, canvas.height);
      context.clip();
      draw(other);
      context.restore();
      context.fillStyle = "#fff";
      context.fillRect(split - ratio, 0, 2 * ratio, canvas.height);
      context.fillStyle = "#000";
      context.fillRect(split + ratio, 0, ratio, canvas.height);
    }
  });
  writeHash();
}

/* Values of all versions under the pointer. */
function readPixel(canvas, event) {
  const box = canvas.getBoundingClientRect();
  const { scale, left, top } = place(canvas);
  const ratio = canvas.width / box.width;
  const image = shown[state.g].images[state.i];
  const { width: w, height: h } = current[0].canvas;
  const x = Math.floor(((event.clientX - box.left) * ratio - left) / scale);
  const y = Math.floor(((event.clientY - box.top) * ratio - top) / scale);
  if (x < 0 || y < 0 || x >= w || y >= h) return;
  const p = 4 * (y * w + x);
  const rows = [make("span", { text: `x ${x + image.x}  y ${y + image.y}` })];
  current.forEach((layer, k) => {
    if (!layer) return;
    const [r, g, b] = layer.values.slice(p, p + 3);
    const swatch = make("i", { class: "swatch" });
    swatch.style.background = `rgb(${r},${g},${b})`;
    rows.push(make("span", {}, swatch, `${k + 1} ${shown[state.g].methods[k].slice(0, 24)} ${r} ${g} ${b}  Y ${(16 + luma(layer.values, p)).toFixed(1)}`));
  });
  ui.pixels.replaceChildren(...rows);
}

/* Pointers: drag pans, the wheel and two fingers zoom at their place, near its line the slider moves. */
const pointers = new Map();
let sliding = false;
function zoomAt(canvas, clientX, clientY, factor) {
  const box = canvas.getBoundingClientRect();
  const [dx, dy] = [(clientX - box.left) / box.width - 0.5, (clientY - box.top) / box.height - 0.5];
  const before = place(canvas).scale;
  state.z = clamp(state.z * factor, 1, 64);
  const after = place(canvas).scale;
  const { width: w, height: h } = current[0].canvas;
  state.x += dx * canvas.width * (1 / before - 1 / after) / w;
  state.y += dy * canvas.height * (1 / before - 1 / after) / h;
  paint();
}
function pointerDown(canvas, event) {
  canvas.setPointerCapture(event.pointerId);
  pointers.set(event.pointerId, event);
  const box = canvas.getBoundingClientRect();
  sliding = state.view === "slider" && state.show !== "signed" && Math.abs(event.clientX - box.left - state.s * box.width) < 16;
}
function pointerMove(canvas, event) {
  readPixel(canvas, event);
  const before = pointers.get(event.pointerId);
  if (!before) return;
  const box = canvas.getBoundingClientRect();
  if (pointers.size === 2) {
    const other = [...pointers.values()].find((p) => p.pointerId !== event.pointerId);
    const apart = (p) => Math.hypot(p.clientX - other.clientX, p.clientY - other.clientY) || 1;
    zoomAt(canvas, (event.clientX + other.clientX) / 2, (event.clientY + other.clientY) / 2, apart(event) / apart(before));
  } else if (sliding) {
    set({ s: (event.clientX - box.left) / box.width });
  } else {
    const { scale } = place(canvas);
    const { width: w, height: h } = current[0].canvas;
    const ratio = canvas.width / box.width;
    state.x -= ((event.clientX - before.clientX) * ratio) / (w * scale);
    state.y -= ((event.clientY - before.clientY) * ratio) / (h * scale);
    paint();
  }
  pointers.set(event.pointerId, event);
}
function pane() {
  const canvas = make("canvas", { tabindex: 0, role: "img" });
  const caption = make("figcaption");
  const node = make("figure", { class: "pane" }, canvas, caption);
  canvas.addEventListener("pointerdown", (e) => pointerDown(canvas, e));
  canvas.addEventListener("pointermove", (e) => pointerMove(canvas, e));
  for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, (e) => pointers.delete(e.pointerId));
  canvas.addEventListener("wheel", (e) => {
    if (state.z === 1 && e.deltaY > 0) return;  // the whole image is there: the page scrolls
    e.preventDefault();
    zoomAt(canvas, e.clientX, e.clientY, Math.exp(-e.deltaY / 300));
  }, { passive: false });
  return { node, canvas, caption };
}

/* The viewer's controls. */
const ui = {};
function select(label, key, options) {
  const own = make("select", { "aria-label": label, onchange: () => set({ [key]: Number(own.value) }) });
  own.fill = (texts) => own.replaceChildren(...texts.map((text, k) => make("option", { value: k, text })));
  own.fill(options);
  ui[key] = own;
  return make("label", {}, make("span", { class: "soft", text: label }), own);
}
function toggles(key, texts) {
  const bar = make("span", { class: "bar", role: "group" });
  for (const [value, text] of Object.entries(texts)) {
    bar.append(make("button", { type: "button", "data-value": value, text, onclick: () => set({ [key]: value }) }));
  }
  ui[`${key}s`] = bar;
  return bar;
}
function viewer() {
  ui.range = make("input", { type: "range", min: 0, max: 1000, "aria-label": "Slider between A and B", oninput: () => set({ s: ui.range.value / 1000 }) });
  ui.panes = make("div", { class: "panes" });
  ui.pixels = make("div", { class: "pixels", "aria-live": "off" });
  ui.methods = make("div", { class: "bar methods", role: "group", "aria-label": "Method" });
  ui.spots = make("span", { class: "bar" });
  ui.note = make("p", { class: "soft" });
  ui.pair = make("div", { class: "bar" }, select("A", "a", []), select("B", "b", []));
  ui.gains = make("span", { class: "bar" }, ...[[0.5, "maps ×½"], [2, "maps ×2"]].map(([by, text]) =>
    make("button", { type: "button", text, onclick: () => set({ gain: state.gain * by }) })));
  ui.scale = make("span", { class: "soft" }, "B is nearer to HR", make("i", { class: "scale" }), "A is nearer to HR");
  ui.pair.append(ui.scale);
  const keys = [["1 … 0", "method"], ["← →", "image"], ["f s g", "flip, slider, grid"], ["e", "errors"], ["d", "A against B"], [", .", "slider"], ["+ −", "zoom"], ["h j k l", "pan"], ["n", "next place of difference"], ["r", "whole image"]];
  root.append(
    make("section", { id: "images" },
      make("h2", { text: "Images" }),
      make("div", { class: "bar" }, select("group", "g", shown.map((g) => g.title)), select("image", "i", []), ui.spots),
      make("div", { class: "bar" }, toggles("view", { flip: "Flip", slider: "Slider", grid: "Side by side" }), toggles("show", { image: "Images", error: "Errors", signed: "A − B" }), ui.gains),
      ui.methods, ui.pair,
      ui.panes, ui.range, ui.pixels, ui.note,
      make("p", { class: "soft" }, ...keys.flatMap(([key, text]) => [make("kbd", { text: key }), ` ${text}   `]))));
}
async function set(change) {
  const before = { ...state };
  Object.assign(state, change);
  limit();
  if (current && Object.keys(change).every((key) => "sxyz".includes(key))) {
    ui.range.value = Math.round(state.s * 1000);
    paint();
    return;
  }
  if (state.g !== before.g || state.i !== before.i) {
    Object.assign(state, { z: 1, x: 0.5, y: 0.5 });
    spot = -1;
  }
  if (state.g !== before.g) Object.assign(state, { m: Math.min(2, shown[state.g].methods.length - 1), a: 0, b: 0 }, firstPair(state.g));
  await refresh();
}
function firstPair(g) {
  const count = shown[g].methods.length;
  return { a: count > 3 ? 2 : 1, b: count > 3 ? count - 1 : 2 };
}
async function refresh() {
  const [g, i] = [state.g, state.i];
  const group = shown[g];
  const image = group.images[i];
  const ready = await versions(g, i);
  if (state.g !== g || state.i !== i) return;
  current = ready;
  const names = group.images.map((o) => `${o.set} ${o.name}`);
  ui.i.fill(names);
  for (const key of "ab") ui[key].fill(group.methods);
  for (const key of ["g", "i", "a", "b"]) ui[key].value = state[key];
  ui.methods.replaceChildren(...group.methods.map((name, k) =>
    make("button", { type: "button", title: name, disabled: current[k] === null, "aria-pressed": String(k === state.m && state.view === "flip"), text: `${(k + 1) % 10} ${name}`, onclick: () => set({ m: k, view: "flip", show: state.show === "signed" ? "image" : state.show }) })));
  for (const key of ["view", "show"]) for (const button of ui[`${key}s`].children) button.setAttribute("aria-pressed", String(button.dataset.value === state[key]));
  ui.spots.replaceChildren(...image.spots.map((_, k) => make("button", { type: "button", text: `place ${k + 1}`, title: "where the methods differ most", onclick: () => goto(k) })));
  ui.note.textContent = image.note;
  const isSlider = state.view === "slider" && state.show !== "signed";
  ui.range.hidden = !isSlider;
  ui.range.value = Math.round(state.s * 1000);
  ui.scale.hidden = state.show !== "signed";
  ui.pair.hidden = !isSlider && state.show !== "signed";
  ui.gains.hidden = state.show === "image";
  drawn = layers();
  if (panes.length !== drawn.length) {
    panes = drawn.map(pane);
    ui.panes.replaceChildren(...panes.map((p) => p.node));
  }
  const columns = drawn.length === 1 ? 1 : Math.max(2, Math.min(drawn.length, Math.floor(ui.panes.clientWidth / 225)));
  ui.panes.style.gridTemplateColumns = `repeat(${columns}, minmax(0, 1fr))`;
  panes.forEach((p, k) => {
    p.caption.textContent = p.caption.title = drawn[k][0];
    p.canvas.setAttribute("aria-label", `${image.set} ${image.name}: ${drawn[k][0]}`);
  });
  paint();
  document.body.dataset.ready = `${g}/${i}`;
}
let spot = -1;
function goto(k) {
  const image = shown[state.g].images[state.i];
  if (!image.spots.length) return;
  spot = k % image.spots.length;
  const [x, y, side] = image.spots[spot];
  set({ x: (x + side / 2) / image.w, y: (y + side / 2) / image.h, z: Math.max(1, Math.min(image.w, image.h) / side / 1.5) });
}
function pan(dx, dy) {
  state.x += (0.1 * dx) / state.z;
  state.y += (0.1 * dy) / state.z;
  paint();
}
function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || !shown.length || !current) return;
  const target = event.target;
  if (target.tagName === "SELECT" || (target.type === "range" && event.key.startsWith("Arrow"))) return;
  const digit = "1234567890".indexOf(event.key);
  const keys = {
    ArrowLeft: () => set({ i: state.i - 1 }), ArrowRight: () => set({ i: state.i + 1 }),
    f: () => set({ view: "flip" }), s: () => set({ view: "slider", show: state.show === "signed" ? "image" : state.show }), g: () => set({ view: "grid" }),
    e: () => set({ show: state.show === "error" ? "image" : "error" }), d: () => set({ show: state.show === "signed" ? "image" : "signed" }),
    ",": () => set({ s: state.s - 0.02 }), ".": () => set({ s: state.s + 0.02 }),
    "+": () => { state.z = clamp(state.z * 1.4, 1, 64); paint(); }, "-": () => { state.z = clamp(state.z / 1.4, 1, 64); paint(); },
    h: () => pan(-1, 0), l: () => pan(1, 0), k: () => pan(0, -1), j: () => pan(0, 1),
    n: () => goto(spot + 1), r: () => set({ z: 1 }),
  };
  keys["="] = keys["+"];
  if (digit >= 0 && digit < shown[state.g].methods.length) set({ m: digit, view: "flip", show: state.show === "signed" ? "image" : state.show });
  else if (Object.hasOwn(keys, event.key)) keys[event.key]();
  else return;
  event.preventDefault();
}

/* One method's PSNR against another's, image by image. */
const SVG = "http://www.w3.org/2000/svg";
function shape(tag, options, text) {
  const node = document.createElementNS(SVG, tag);
  for (const [key, value] of Object.entries(options)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  return node;
}
function scatter(group) {
  const names = group.scatter_methods;
  if (names.length < 2) return;
  const box = make("div");
  const choices = ["A", "B"].map((label, k) => {
    const own = make("select", { "aria-label": label, onchange: draw }, ...names.map((text, i) => make("option", { value: i, text })));
    own.value = k ? 0 : 1;
    return own;
  });
  function draw() {
    const [a, b] = choices.map((c) => Number(c.value));
    const points = group.scatter.filter((p) => p.values[a] !== null && p.values[b] !== null);
    const all = points.flatMap((p) => [p.values[a], p.values[b]]);
    const [low, high] = [Math.min(...all) - 0.3, Math.max(...all) + 0.3];
    const at = (v) => (400 * (v - low)) / (high - low);
    const svg = shape("svg", { viewBox: "-46 -8 466 446", role: "img", "aria-label": `PSNR of each image: ${names[a]} against ${names[b]}` });
    svg.append(shape("line", { x1: 0, y1: 400, x2: 400, y2: 0 }), shape("line", { x1: 0, y1: 400, x2: 400, y2: 400 }), shape("line", { x1: 0, y1: 0, x2: 0, y2: 400 }));
    for (let k = 0; k <= 4; k++) {
      const v = low + ((high - low) * k) / 4;
      svg.append(shape("text", { x: at(v), y: 414, "text-anchor": "middle" }, v.toFixed(1)), shape("text", { x: -6, y: 404 - at(v), "text-anchor": "end" }, v.toFixed(1)));
    }
    svg.append(shape("text", { x: 200, y: 432, "text-anchor": "middle" }, `B  ${names[b].slice(0, 50)} (dB)`), shape("text", { x: -200, y: -34, transform: "rotate(-90)", "text-anchor": "middle" }, `A  ${names[a].slice(0, 50)} (dB)`));
    for (const p of points) {
      const dot = shape("circle", { cx: at(p.values[b]), cy: 400 - at(p.values[a]), r: 5 });
      dot.append(shape("title", {}, `${p.name}: A ${p.values[a].toFixed(2)}, B ${p.values[b].toFixed(2)} dB`));
      if (p.image !== null) {
        dot.setAttribute("class", "link");
        dot.setAttribute("tabindex", "0");
        const open = () => { set({ g: shown.indexOf(group), i: p.image }); document.getElementById("images").scrollIntoView(); };
        dot.addEventListener("click", open);
        dot.addEventListener("keydown", (e) => { if (e.key === "Enter") open(); });
      }
      svg.append(dot);
    }
    const better = points.filter((p) => p.values[a] > p.values[b]).length;
    box.replaceChildren(svg, make("p", { class: "soft", text: `A is better on ${better} of ${points.length} images: those above the line. Those with a rim are on this page.` }));
  }
  draw();
  root.append(make("h3", { text: `${group.title}: PSNR-Y of each image` }), make("div", { class: "bar" }, ...["A", "B"].map((label, k) => make("label", {}, make("span", { class: "soft", text: label }), choices[k]))), box);
}

function start() {
  document.getElementById("title").textContent = data.title;
  document.getElementById("theme").addEventListener("click", () => {
    const dark = document.documentElement.dataset.theme ? document.documentElement.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    document.documentElement.dataset.theme = dark ? "light" : "dark";
  });
  root.append(make("h2", { text: "Ranking" }));
  for (const block of data.blocks) root.append(make("h3", { text: block.title }), table(block));
  for (const text of data.notes) root.append(make("p", { class: "soft", text }));
  if (shown.length) viewer();
  else if (data.images_note) root.append(make("h2", { text: "Images" }));
  if (data.images_note) root.append(make("p", { class: "soft", text: data.images_note }));
  if (data.groups.some((g) => g.scatter_methods.length > 1)) root.append(make("h2", { text: "Image by image" }));
  data.groups.forEach(scatter);
  if (data.plots.length) root.append(make("h2", { text: "Plots" }), make("div", { class: "plots" }, ...data.plots.map((p) => make("figure", {}, make("img", { src: p.src, alt: p.title, loading: "lazy" })))));
  if (data.settings.rows.length) root.append(make("h2", { text: "What differs" }), table(data.settings));
  root.append(make("h2", { text: "Commands" }));
  for (const [label, command] of data.commands) root.append(make("h3", { text: label }), make("pre", { tabindex: 0, text: command }));
  if (shown.length) {
    Object.assign(state, firstPair(0));
    readHash();
    refresh();
    addEventListener("keydown", onKey);
    addEventListener("resize", () => current && refresh());
    addEventListener("hashchange", () => { readHash(); refresh(); });
  } else document.body.dataset.ready = "none";
}
start();
