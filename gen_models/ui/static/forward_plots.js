/* Plots over the time t of a diffusion: thin axes, a label at the end of each line, a cursor at t.

   const plot = gm.timePlot({title, id, height}); plot.node goes into the page;
   plot.draw({lines: [{name, x: [..], y: [..], kind, color, bars: [..]}], log, low, high, foot}) draws; kind: "main" (thick) |
     "other" (thin) | "dashed" (a baseline); x in 0 .. 1; what is not finite is left out, the line ends outside low .. high; bars
     are half heights of error bars. plot.cursor(t, text) moves the cursor, plot.resize(height). */
window.gm.timePlot = ({ title, id = null, height = 190 }) => {
  const gm = window.gm, el = gm.el, LEFT = 44, TOP = 10, BOTTOM = 26, DASH = ["", "7 4", "2 3", "9 3 2 3"];
  let data = null, at = 0, words = "", scale = null;
  const pen = document.createElement("canvas").getContext("2d");
  const svg = el("svg", { class: "gm-time-plot", id, role: "img", height });
  const node = el("figure", { class: "gm-time" }, el("figcaption", {}, el("b", { text: title })), svg);
  const finite = (v) => v !== null && v !== undefined && Number.isFinite(v);

  const span = () => {
    const all = data.lines.flatMap((line) => line.y.filter((v) => finite(v) && (!data.log || v > 0)));
    let low = data.low ?? Math.min(...all), high = data.high ?? Math.max(...all);
    if (data.log) return [low / 1.25, high * 1.25];
    const room = data.low === undefined ? (high - low || 1) * 0.06 : 0;
    return [low >= 0 ? Math.max(0, low - room) : low - room, high + room];
  };
  const axes = (width, right) => {
    const [low, high] = span(), to = data.log ? Math.log : (v) => v, w = width - LEFT - right, h = height - TOP - BOTTOM;
    const x = (t) => LEFT + t * w, y = (v) => TOP + h - ((to(v) - to(low)) / (to(high) - to(low) || 1)) * h;
    scale = { x, y, low, high, bottom: TOP + h, right: LEFT + w };
    const parts = gm.ticks(low, high, data.log).flatMap((v) => [
      el("line", { class: "gm-axis-grid", x1: LEFT, x2: LEFT + w, y1: y(v), y2: y(v) }),
      el("text", { class: "gm-axis-text", x: LEFT - 7, y: y(v) + 4, "text-anchor": "end", text: gm.digits(+v.toPrecision(3)) })]);
    for (const [t, text] of [[0, "0 data"], [0.5, "t"], [1, "noise 1"]]) {
      parts.push(el("text", { class: "gm-axis-text", x: x(t), y: height - 7, "text-anchor": t === 0 ? "start" : t === 1 ? "end" : "middle", text }));
    }
    parts.push(el("path", { class: "gm-axis", d: `M${LEFT} ${TOP}V${TOP + h}H${LEFT + w}` }));
    return parts;
  };
  const drawn = (line, k) => {
    const color = `var(--gm-${line.color ?? (line.kind === "main" ? "ink" : "edge")})`, parts = [];
    let d = "", open = false;
    line.y.forEach((v, i) => {
      if (!finite(v)) return; // not measured yet: its neighbours are joined
      if ((data.log && v <= 0) || v < scale.low || v > scale.high) { open = false; return; }
      d += `${open ? "L" : "M"}${scale.x(line.x[i]).toFixed(1)} ${scale.y(v).toFixed(1)}`;
      open = true;
      const bar = line.bars?.[i];
      if (bar) parts.push(el("line", { class: "gm-time-bar", style: `stroke: ${color}`, x1: scale.x(line.x[i]), x2: scale.x(line.x[i]), y1: scale.y(Math.max(v - bar, scale.low)), y2: scale.y(v + bar) }));
      if (line.dots) parts.push(el("circle", { cx: scale.x(line.x[i]), cy: scale.y(v), r: 2.2, style: `fill: ${color}` }));
    });
    const dash = line.kind === "dashed" ? "5 4" : line.kind === "other" ? DASH[1 + (k % 3)] : null;
    return [el("path", { class: `gm-time-line gm-time-${line.kind}`, d, style: `stroke: ${color}`, "stroke-dasharray": dash || null, "data-line": line.name }), ...parts];
  };
  const labels = () => {
    const ends = data.lines.map((line) => {
      const last = line.y.findLastIndex((v) => finite(v) && v >= scale.low && v <= scale.high && (!data.log || v > 0));
      return { ...line, at: last < 0 ? scale.bottom : scale.y(line.y[last]) };
    }).sort((a, b) => a.at - b.at);
    ends.forEach((end, k) => { end.at = Math.max(TOP + 6, end.at); if (k) end.at = Math.max(end.at, ends[k - 1].at + 15); });
    for (let k = ends.length - 1; k >= 0; k--) ends[k].at = Math.min(ends[k].at, (ends[k + 1]?.at ?? scale.bottom + 15) - 15);
    return ends.map((end) => el("text", { class: `gm-time-name ${end.kind === "main" ? "gm-time-own" : ""}`, x: scale.right + 7, y: end.at + 4, style: end.color ? `fill: var(--gm-${end.color})` : null, text: end.name }));
  };
  const draw = () => {
    const width = svg.clientWidth;
    if (!width) return;
    if (!data?.lines.length) {
      return svg.replaceChildren(el("text", { class: "gm-axis-text", x: width / 2, y: height / 2, "text-anchor": "middle", text: data?.empty ?? "" }));
    }
    pen.font = `13px ${getComputedStyle(svg).fontFamily}`;
    const right = Math.min(width * 0.4, Math.max(...data.lines.map((line) => pen.measureText(line.name).width)) + 16);
    svg.replaceChildren(...axes(width, right), ...data.lines.flatMap(drawn), ...labels());
    return mark();
  };
  const mark = () => {
    svg.querySelectorAll(".gm-time-at").forEach((part) => part.remove());
    if (!scale || !data?.lines.length) return;
    const x = scale.x(at), end = at > 0.6;
    svg.append(el("line", { class: "gm-time-cursor gm-time-at", x1: x, x2: x, y1: TOP, y2: scale.bottom }));
    if (words) svg.append(el("text", { class: "gm-time-words gm-time-at", x: x + (end ? -6 : 6), y: TOP + 10, "text-anchor": end ? "end" : "start", text: words }));
  };
  const watcher = new ResizeObserver(() => { if (!node.isConnected) return; draw(); });
  watcher.observe(svg);
  return {
    node,
    resize: (high) => { if (high !== height) { height = high; svg.setAttribute("height", high); draw(); } },
    draw: (next) => { data = next; svg.setAttribute("aria-label", `${title} over t: ${next.lines.map((line) => line.name).join(", ")}`); draw(); },
    cursor: (t, text = "") => { at = t; words = text; mark(); },
  };
};
