/* A scatter plot whose points can be chosen: thin axes, direct labels, the baseline to beat as a dashed line.

   const plot = gm.scatter({id, title, onpick}); plot.node goes into the page;
   plot.draw({points: [{entry, name, shape, x, y, text}], x: {title, log, unit}, y: {title, log}, real: {x, y} | null});
   plot.select(entry). Lengths are in CSS pixels; a point is chosen by mouse, finger or Enter. */
window.gm.scatter = ({ id, title, onpick }) => {
  const gm = window.gm, el = gm.el, HEIGHT = 330, EDGE = { left: 50, right: 18, top: 16, bottom: 46 }, REACH = 26;
  const SHAPES = [ // by family
    (r) => `M${-r} 0a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0z`,
    (r) => `M${-r} ${-r}h${2 * r}v${2 * r}h${-2 * r}z`,
    (r) => `M0 ${-1.25 * r}L${1.2 * r} ${0.9 * r}H${-1.2 * r}z`,
    (r) => `M0 ${-1.35 * r}L${1.35 * r} 0L0 ${1.35 * r}L${-1.35 * r} 0z`,
    (r) => `M${-r} ${-r}L${r} ${r}M${r} ${-r}L${-r} ${r}`,
    (r) => `M0 ${-1.3 * r}V${1.3 * r}M${-1.3 * r} 0H${1.3 * r}`,
  ];
  let data = null, selected = null, marks = [];
  const pen = document.createElement("canvas").getContext("2d");
  const svg = el("svg", { class: "gm-scatter", id, role: "group", "aria-label": title, height: HEIGHT });
  const node = el("figure", { class: "gm-scatter-box" }, el("figcaption", {}, el("b", { text: title })), svg);
  const tip = (text) => { const t = document.createElementNS("http://www.w3.org/2000/svg", "title"); t.textContent = text; return t; };

  /* ---- axes ---- */
  const axis = (values, log, from, to) => {
    let [low, high] = [Math.min(...values), Math.max(...values)];
    if (log) { low /= 1.4; high *= 1.6; } else {
      const room = (high - low) * 0.12 || Math.abs(high) * 0.1 || 0.5;
      [low, high] = [low >= 0 ? Math.max(0, low - room) : low - room, high <= 1 ? Math.min(1, high + room) : high + room];
      if (low === high) low -= 0.5;
    }
    const f = log ? Math.log : (v) => v;
    return { low, high, log, at: (v) => from + ((f(v) - f(low)) / (f(high) - f(low))) * (to - from) };
  };
  const short = (v) => (v >= 1e4 || (v !== 0 && Math.abs(v) < 1e-3) ? v.toExponential(0).replace("e+", "e") : gm.digits(+v.toPrecision(3)));
  const time = (v) => (v >= 1 ? `${gm.digits(v)} s` : v >= 1e-3 ? `${gm.digits(+(v * 1e3).toPrecision(2))} ms` : `${gm.digits(+(v * 1e6).toPrecision(2))} µs`);
  const frame = (x, y, width) => {
    const right = width - EDGE.right, bottom = HEIGHT - EDGE.bottom, parts = [];
    for (const v of gm.ticks(y.low, y.high, y.log)) {
      parts.push(el("line", { class: "gm-axis-grid", x1: EDGE.left, x2: right, y1: y.at(v), y2: y.at(v) }),
        el("text", { class: "gm-axis-text", x: EDGE.left - 8, y: y.at(v) + 4, "text-anchor": "end", text: short(v) }));
    }
    let free = -Infinity;
    for (const v of gm.ticks(x.low, x.high, x.log)) {
      if (x.at(v) < free) continue;
      free = x.at(v) + 44;
      parts.push(el("line", { class: "gm-axis", x1: x.at(v), x2: x.at(v), y1: bottom, y2: bottom + 4 }),
        el("text", { class: "gm-axis-text", x: x.at(v), y: bottom + 18, "text-anchor": "middle", text: data.x.unit === "time" ? time(v) : short(v) }));
    }
    parts.push(el("path", { class: "gm-axis", d: `M${EDGE.left} ${EDGE.top}V${bottom}H${right}` }),
      el("text", { class: "gm-axis-text", x: (EDGE.left + right) / 2, y: HEIGHT - 8, "text-anchor": "middle", text: data.x.title }));
    return parts;
  };

  /* ---- labels: beside their point, where nothing else lies ---- */
  const placed = (width) => {
    const taken = marks.map(({ px, py }) => [px - 7, py - 7, px + 7, py + 7]), found = [];
    if (data.real) taken.push([EDGE.left, data.real.at - 16, EDGE.left + pen.measureText(data.real.name).width + 12, data.real.at + 2]);
    const clear = (box) => box[0] >= EDGE.left && box[2] <= width - 2 && box[1] >= 0 && box[3] <= HEIGHT - EDGE.bottom
      && !taken.some((other) => box[0] < other[2] && box[2] > other[0] && box[1] < other[3] && box[3] > other[1]);
    for (const entry of new Set(marks.map((mark) => mark.entry))) {
      const w = pen.measureText(entry).width * 1.04;
      const boxes = marks.filter((mark) => mark.entry === entry).flatMap(({ px, py }) => [[10, 0], [-10, 0], [0, -17], [0, 17], [8, -16], [8, 16], [-8, -16], [-8, 16]]
        .map(([dx, dy]) => ({ x: px + dx, left: px + dx - (dx < 0 ? w : dx ? 0 : w / 2), y: py + dy, anchor: dx < 0 ? "end" : dx ? "start" : "middle" })));
      const place = boxes.find(({ left, y }) => clear([left, y - 8, left + w, y + 8]));
      if (!place) continue; // its name is in the point's title, and shown once it is chosen
      taken.push([place.left, place.y - 8, place.left + w, place.y + 8]);
      found.push(el("text", { class: "gm-scatter-label", x: place.x, y: place.y + 4, "text-anchor": place.anchor, "data-label": entry, text: entry }));
    }
    return found;
  };

  /* ---- drawing ---- */
  const point = (mark, k) => {
    const g = el("g", {
      class: "gm-scatter-point", role: "button", tabindex: 0, "data-entry": mark.entry, "aria-label": mark.text,
      transform: `translate(${mark.px} ${mark.py})`,
      onkeydown: (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); event.stopPropagation(); onpick(mark.entry); } },
    }, tip(mark.text), el("circle", { class: "gm-scatter-halo", r: 12 }), el("path", { class: "gm-scatter-shape", d: SHAPES[mark.shape % SHAPES.length](5.5) }));
    marks[k].node = g;
    return g;
  };
  const draw = () => {
    const width = svg.clientWidth;
    if (!width || !data) return;
    pen.font = `12.5px ${getComputedStyle(svg).fontFamily}`;
    if (!data.points.length) {
      svg.replaceChildren(el("text", { class: "gm-axis-text", x: width / 2, y: HEIGHT / 2, "text-anchor": "middle", text: data.empty }));
      return;
    }
    const bottom = HEIGHT - EDGE.bottom, real = data.real;
    const x = axis([...data.points.map((p) => p.x), ...(real?.x !== undefined ? [real.x] : [])], data.x.log, EDGE.left, width - EDGE.right);
    const y = axis([...data.points.map((p) => p.y), ...(real ? [real.y] : [])], data.y.log, bottom, EDGE.top);
    marks = data.points.map((p) => ({ ...p, px: x.at(p.x), py: y.at(p.y) }));
    if (real) real.at = y.at(real.y);
    const lines = [...new Set(marks.map((mark) => mark.entry))].map((entry) => {
      const path = marks.filter((mark) => mark.entry === entry).map((mark) => `${mark.px} ${mark.py}`).join("L");
      return el("path", { class: "gm-scatter-line", "data-entry": entry, d: `M${path}` });
    });
    const base = real ? [
      el("line", { class: "gm-scatter-real", x1: EDGE.left, x2: width - EDGE.right, y1: real.at, y2: real.at }),
      el("text", { class: "gm-scatter-real-name", x: EDGE.left + 6, y: real.at - 5, text: real.name })] : [];
    svg.replaceChildren(...frame(x, y, width), ...base, ...lines, ...marks.map(point), ...placed(width));
    mark();
  };
  const mark = () => {
    for (const label of svg.querySelectorAll(".gm-scatter-extra")) label.remove();
    const first = marks.find((one) => one.entry === selected);
    if (first?.node?.isConnected && !svg.querySelector(`[data-label="${CSS.escape(selected)}"]`)) {
      const x = Math.max(EDGE.left + 4, Math.min(first.px + 10, svg.clientWidth - pen.measureText(selected).width * 1.12));
      svg.append(el("text", { class: "gm-scatter-label gm-scatter-extra", x, y: first.py - 10, "data-label": selected, text: selected }));
    }
    for (const part of svg.querySelectorAll("[data-entry], [data-label]")) {
      const mine = (part.dataset.entry ?? part.dataset.label) === selected;
      part.classList.toggle("gm-chosen", mine);
      if (part.getAttribute("role") === "button") part.setAttribute("aria-pressed", String(mine));
    }
  };
  svg.addEventListener("click", (event) => {
    const box = svg.getBoundingClientRect(), far = (m) => Math.hypot(m.px - (event.clientX - box.left), m.py - (event.clientY - box.top));
    const nearest = marks.reduce((best, m) => (best && far(best) <= far(m) ? best : m), null);
    if (nearest && far(nearest) <= REACH) onpick(nearest.entry);
  });
  const watcher = new ResizeObserver(() => { if (!node.isConnected) watcher.disconnect(); else draw(); });
  watcher.observe(svg);
  return { node, draw: (next) => { data = next; draw(); }, select: (entry) => { selected = entry; mark(); } };
};
