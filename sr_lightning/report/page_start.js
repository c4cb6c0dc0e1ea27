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
  if (names.length < 2) return [];
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
  const heading = make("h3", { text: `${group.title}: PSNR-Y of each image` });
  return make("div", {}, heading, make("div", { class: "bar" }, ...["A", "B"].map((label, k) => make("label", {}, make("span", { class: "soft", text: label }), choices[k]))), box);
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
  const scatters = data.groups.flatMap(scatter);
  if (scatters.length) root.append(make("h2", { text: "Image by image" }), make("div", { class: "plots" }, ...scatters));
  if (data.plots.length) root.append(make("h2", { text: "Plots" }), make("div", { class: "plots" }, ...data.plots.map((p) => make("figure", {}, make("img", { src: p.src, alt: p.title })))));
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
