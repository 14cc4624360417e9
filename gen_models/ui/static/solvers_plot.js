/* Distances over network calls, both logarithmic: a line for each solver with its name at its end.

   const plot = gm.distances({id, title, onpick}); plot.node goes into the page; plot.fit(height) sets its height;
   plot.draw({points: [{entry, x, y, text}], ticks: [2, 4, ..], apart: [entries that are dashed], empty}); plot.select(entry). */
window.gm.distances = ({ id, title, onpick }) => {
  const gm = window.gm, el = gm.el, EDGE = { left: 46, top: 10, bottom: 40 };
  let data = null, chosen = null, height = 330;
  const pen = document.createElement("canvas").getContext("2d");
  const svg = el("svg", { class: "gm-distances", id, role: "group", "aria-label": `${title} over network calls`, height });
  const node = el("figure", { class: "gm-scatter-box" }, el("figcaption", {}, el("b", { text: title })), svg);
  const tip = (text) => { const t = document.createElementNS("http://www.w3.org/2000/svg", "title"); t.textContent = text; return t; };
  const short = (v) => (v < 1e-3 ? v.toExponential(0) : gm.digits(+v.toPrecision(3)));
  const scale = (values, from, to, room) => {
    const low = Math.log(Math.min(...values) / room), high = Math.log(Math.max(...values) * room);
    return { low: Math.exp(low), high: Math.exp(high), at: (v) => from + ((Math.log(v) - low) / (high - low)) * (to - from) };
  };
  const axes = (x, y, right, bottom) => {
    const parts = [];
    let ticks = gm.ticks(y.low, y.high, true);
    if (ticks.length < 2) ticks = [y.low * 1.1, y.high / 1.1];
    for (const v of ticks) {
      parts.push(el("line", { class: "gm-axis-grid", x1: EDGE.left, x2: right, y1: y.at(v), y2: y.at(v) }),
        el("text", { class: "gm-axis-text", x: EDGE.left - 8, y: y.at(v) + 4, "text-anchor": "end", text: short(v) }));
    }
    let free = -Infinity;
    for (const v of data.ticks.filter((v) => v >= x.low && v <= x.high)) {
      parts.push(el("line", { class: "gm-axis", x1: x.at(v), x2: x.at(v), y1: bottom, y2: bottom + 4 }));
      if (x.at(v) < free) continue;
      free = x.at(v) + 24;
      parts.push(el("text", { class: "gm-axis-text", x: x.at(v), y: bottom + 17, "text-anchor": "middle", text: v }));
    }
    return [...parts, el("path", { class: "gm-axis", d: `M${EDGE.left} ${EDGE.top}V${bottom}H${right}` }),
      el("text", { class: "gm-axis-text", x: (EDGE.left + right) / 2, y: height - 5, "text-anchor": "middle", text: "network calls" })];
  };
  const draw = () => {
    const width = svg.clientWidth;
    if (!width || !data) return;
    svg.setAttribute("height", height);
    pen.font = `12.5px ${getComputedStyle(svg).fontFamily}`;
    if (!data.points.length) return svg.replaceChildren(el("text", { class: "gm-axis-text", x: width / 2, y: height / 2, "text-anchor": "middle", text: data.empty }));
    const names = [...new Set(data.points.map((p) => p.entry))], bottom = height - EDGE.bottom;
    const right = width - Math.max(...names.map((name) => pen.measureText(name).width)) * 1.08 - 26;
    const x = scale(data.points.map((p) => p.x), EDGE.left, right, 1.12), y = scale(data.points.map((p) => p.y), bottom, EDGE.top, 1.3);
    const lines = [], dots = [], ends = [];
    for (const name of names) {
      const own = data.points.filter((p) => p.entry === name).sort((a, b) => a.x - b.x), mine = name === chosen ? "gm-chosen" : "";
      lines.push(el("path", { class: `gm-distances-line ${mine} ${data.apart.includes(name) ? "gm-apart" : ""}`, "data-entry": name, d: `M${own.map((p) => `${x.at(p.x)} ${y.at(p.y)}`).join("L")}` }));
      dots.push(...own.map((p) => el("g", { class: "gm-distances-dot", "data-entry": name, "data-calls": p.x, transform: `translate(${x.at(p.x)} ${y.at(p.y)})`, onclick: () => onpick(name) },
        tip(p.text), el("circle", { r: 11 }), el("circle", { r: name === chosen ? 4.5 : 3.2 }))));
      ends.push({ name, mine, x: x.at(own.at(-1).x), from: y.at(own.at(-1).y), y: y.at(own.at(-1).y) });
    }
    ends.sort((a, b) => a.y - b.y).forEach((end, k) => { if (k) end.y = Math.max(end.y, ends[k - 1].y + 17); });
    for (let k = ends.length - 1; k >= 0; k--) ends[k].y = Math.min(ends[k].y, (ends[k + 1]?.y ?? bottom + 14) - 17);
    const labels = ends.flatMap((end) => [
      el("line", { class: "gm-distances-lead", x1: end.x + 5, y1: end.from, x2: right + 10, y2: end.y }),
      el("text", { class: `gm-distances-name ${end.mine}`, x: right + 14, y: end.y + 4, "data-entry": end.name, role: "button", tabindex: 0, "aria-pressed": String(end.name === chosen), text: end.name, onclick: () => onpick(end.name),
        onkeydown: (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); event.stopPropagation(); onpick(end.name); } } })]);
    svg.replaceChildren(...axes(x, y, right, bottom), ...lines, ...labels, ...dots);
  };
  const watcher = new ResizeObserver(() => { if (!node.isConnected) watcher.disconnect(); else draw(); });
  watcher.observe(svg);
  return { node, draw: (next) => { data = next; draw(); }, select: (entry) => { chosen = entry; draw(); }, fit: (high) => { height = Math.max(260, high - 62); draw(); } };
};
