/* A brush over a picture: strokes that cover it, an eraser that uncovers it, undo, clear.

   const brush = gm.brush({name, colour, onchange}); brush.node goes into the page.
     set({picture, size: [H, W]}): a data URL and its size stand behind; the strokes stay.
     value(): what was painted, a PNG of W x H pixels with alpha as a data URL; "" for nothing. clear() */
window.gm.brush = ({ name, colour = false, onchange = () => {} }) => {
  const gm = window.gm, el = gm.el, FINE = 8;
  const GREY = [["light", "#ffffff"], ["dark", "#000000"]];
  const INKS = [["white", "#ffffff"], ["black", "#000000"], ["red", "#e0402f"], ["yellow", "#fcc21b"], ["green", "#4c9a3a"], ["blue", "#2f7fe0"]];
  const state = { strokes: [], past: [], ink: 0, wide: 2.4, erases: false, size: [28, 28], image: null, stroke: null };
  const canvas = el("canvas", { class: "gm-pad-canvas", role: "img", "aria-label": "the picture to paint on" });
  const inks = () => (colour ? INKS : GREY);

  const trace = (pen, scale) => {
    pen.lineCap = pen.lineJoin = "round";
    for (const { points, wide, ink } of state.strokes) {
      pen.globalCompositeOperation = ink ? "source-over" : "destination-out";
      pen.strokeStyle = ink ?? "#000";
      pen.lineWidth = wide * scale;
      pen.beginPath();
      pen.moveTo(points[0][0] * scale, points[0][1] * scale);
      for (const [x, y] of points) pen.lineTo(x * scale + (points.length === 1 ? 0.01 : 0), y * scale);
      pen.stroke();
    }
  };
  /** The strokes at FINE times the size, averaged down: colours are weighted by how much they cover. */
  const painted = () => {
    const [height, width] = state.size, fine = el("canvas", { width: width * FINE, height: height * FINE }), out = el("canvas", { width, height });
    const pen = fine.getContext("2d", { willReadFrequently: true });
    trace(pen, FINE);
    const ink = pen.getImageData(0, 0, width * FINE, height * FINE).data, target = out.getContext("2d"), image = target.createImageData(width, height);
    let any = false;
    for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) {
      const sum = [0, 0, 0, 0];
      for (let j = 0; j < FINE; j++) for (let i = 0; i < FINE; i++) {
        const at = 4 * ((y * FINE + j) * width * FINE + x * FINE + i);
        for (let c = 0; c < 3; c++) sum[c] += ink[at + c] * ink[at + 3];
        sum[3] += ink[at + 3];
      }
      const to = 4 * (y * width + x);
      for (let c = 0; c < 3; c++) image.data[to + c] = sum[3] ? Math.round(sum[c] / sum[3]) : 0;
      image.data[to + 3] = Math.round(sum[3] / (FINE * FINE));
      any ||= image.data[to + 3] > 0;
    }
    target.putImageData(image, 0, 0);
    return any ? out : null;
  };
  const draw = () => {
    const [height, width] = state.size, out = state.strokes.length ? painted() : null;
    canvas.width = width; canvas.height = height;
    canvas.style.aspectRatio = `${width} / ${height}`;
    const pen = canvas.getContext("2d");
    if (state.image) pen.drawImage(state.image, 0, 0, width, height);
    if (out) pen.drawImage(out, 0, 0);
    undo.disabled = !state.past.length; undo.title = undo.disabled ? "nothing to undo" : "";
    clear.disabled = !state.strokes.length; clear.title = clear.disabled ? "nothing is painted" : "";
    canvas.dataset.strokes = state.strokes.length;
  };
  const step = (strokes) => { state.past = [...state.past.slice(-49), state.strokes]; state.strokes = strokes; draw(); onchange(); };
  const at = (event) => {
    const frame = canvas.getBoundingClientRect(), [height, width] = state.size;
    return [((event.clientX - frame.left) / frame.width) * width, ((event.clientY - frame.top) / frame.height) * height];
  };
  canvas.onpointerdown = (event) => {
    if (event.button || state.stroke) return;
    event.preventDefault();
    canvas.setPointerCapture(event.pointerId);
    const ink = state.erases ? null : inks()[state.ink % inks().length][1];
    state.stroke = { points: [at(event)], wide: (state.wide * Math.min(...state.size)) / 28, ink, pointer: event.pointerId };
    step([...state.strokes, state.stroke]);
  };
  canvas.onpointermove = (event) => {
    if (state.stroke?.pointer !== event.pointerId) return;
    const moves = event.getCoalescedEvents?.() ?? [];
    for (const move of moves.length ? moves : [event]) state.stroke.points.push(at(move));
    draw();
  };
  canvas.onpointerup = canvas.onpointercancel = canvas.onlostpointercapture = () => { if (state.stroke) { state.stroke = null; onchange(); } };

  const button = (text, suffix, onclick) => el("button", { type: "button", class: "gm-button", text, id: `${name}-${suffix}`, onclick });
  const undo = button("Undo", "undo", () => { if (state.past.length) { state.strokes = state.past.pop(); draw(); onchange(); } });
  const clear = button("Clear", "clear", () => step([]));
  const wide = el("input", { type: "range", class: "gm-range", min: 1, max: 8, step: 0.2, value: state.wide, id: `${name}-wide`, "aria-label": "brush size" });
  const broad = () => { wide.style.setProperty("--at", `${((wide.value - 1) / 7) * 100}%`); wide.setAttribute("aria-valuetext", `${wide.value} pixels of 28`); };
  wide.oninput = () => { state.wide = Number(wide.value); broad(); };
  const tools = el("div", { class: "gm-brush-inks", role: "group", "aria-label": "brush" });
  const choose = (k, erases) => { state.ink = k; state.erases = erases; palette(); };
  const palette = () => tools.replaceChildren(
    ...inks().map(([title, ink], k) => el("button", {
      type: "button", class: colour ? "gm-pad-ink" : "gm-button", text: colour ? "" : title, title, "aria-label": title, id: `${name}-${title}`,
      style: colour ? `--ink: ${ink}` : null, "aria-pressed": String(!state.erases && state.ink === k), onclick: () => choose(k, false) })),
    el("button", { type: "button", class: "gm-button", text: "erase", id: `${name}-erase`, "aria-pressed": String(state.erases), onclick: () => choose(state.ink, true) }));
  const node = el("div", { class: "gm-pad gm-brush" },
    el("div", { class: "gm-brush-sides" }, el("div", { class: "gm-pad-box" }, canvas), el("div", { class: "gm-brush-tools" }, tools, undo, clear)),
    el("label", { class: "gm-row gm-pad-brush" }, el("span", { class: "gm-muted", text: "Brush" }), wide));
  palette(); broad(); draw();
  let loads = 0;
  return {
    node,
    set: async ({ picture, size }) => {
      const mine = ++loads, image = new Image();
      image.src = picture;
      try { await image.decode(); } catch { return; }
      if (mine !== loads) return;
      if (size.join() !== state.size.join()) { state.strokes = []; state.past = []; }
      state.size = size; state.image = image; draw();
    },
    colours: (on) => { colour = on; state.ink = 0; palette(); },
    value: () => { const out = state.strokes.length ? painted() : null; return out ? out.toDataURL("image/png") : ""; },
    clear: () => { state.strokes = []; state.past = []; draw(); },
  };
};
