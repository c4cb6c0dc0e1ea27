/* The viewer: panes with one place and one zoom, pointers, controls, keys. */
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
