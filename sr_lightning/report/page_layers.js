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
