/* Points in the plane: painting clouds, and drawing a data set with mouse or finger.

   gm.pointsOf(base64) -> [[x, y], ..] from int16 pairs, 3000 = 1.   gm.cloud(canvas, [[points, color name, alpha], ..], limit)
   const pad = gm.drawPoints({name, onchange}); pad.node; pad.set(csv) shows the rows of a CSV text; onchange(csv) is
   called when a stroke ends, with Undo, Clear, and with a file that was chosen or dropped. */
window.gm.pointsOf = (text) => {
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0)), view = new DataView(bytes.buffer), found = [];
  for (let k = 0; k + 3 < bytes.length; k += 4) found.push([view.getInt16(k, true) / 3000, view.getInt16(k + 2, true) / 3000]);
  return found;
};
window.gm.cloud = (canvas, layers, limit = 4.5) => {
  const sharp = devicePixelRatio || 1, side = canvas.clientWidth;
  if (!side) return;
  canvas.width = canvas.height = side * sharp;
  const pen = canvas.getContext("2d"), to = (x) => ((x / limit + 1) / 2) * side * sharp, radius = Math.max(1.5, side / 260) * sharp;
  for (const [points, color, alpha] of layers) {
    pen.fillStyle = window.gm.color(color); pen.globalAlpha = alpha;
    for (const [x, y] of points) { pen.beginPath(); pen.arc(to(x), to(-y), radius, 0, 7); pen.fill(); }
  }
};
window.gm.drawPoints = ({ name, onchange }) => {
  const gm = window.gm, el = gm.el, MOST = 20000, MOST_BYTES = 8e6;
  let points = [], past = [], stroke = null, spread = 0.18, limit = 4.5;
  const canvas = el("canvas", { class: "gm-points-canvas", role: "img" });
  const button = (text, suffix, onclick) => el("button", { type: "button", class: "gm-button", text, id: `${name}-${suffix}`, onclick });
  const message = el("p", { class: "gm-wrong", role: "alert", hidden: true });
  const say = (text) => { message.textContent = text; message.hidden = !text; };
  const paint = () => {
    gm.cloud(canvas, [[points, "real", 0.6]], limit);
    canvas.setAttribute("aria-label", `${points.length} points, drawn or pasted`);
    count.textContent = `${points.length} points`;
    hint.hidden = points.length > 0;
    undo.disabled = !past.length; clear.disabled = !points.length;
  };
  const written = () => points.map(([x, y]) => `${+x.toFixed(3)},${+y.toFixed(3)}`).join("\n");
  const keep = () => { past = [...past.slice(-49), points]; };
  const tell = () => { paint(); onchange(written()); };
  const at = (event) => {
    const frame = canvas.getBoundingClientRect();
    return [((event.clientX - frame.left) / frame.width * 2 - 1) * limit, -((event.clientY - frame.top) / frame.height * 2 - 1) * limit];
  };
  const normal = () => Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
  const spray = (event, many) => {
    const [x, y] = at(event);
    for (let k = 0; k < many && points.length < MOST; k++) points.push([x + spread * normal() * (limit / 4.5), y + spread * normal() * (limit / 4.5)]);
  };
  canvas.onpointerdown = (event) => {
    if (event.button || stroke !== null) return;
    event.preventDefault();
    canvas.setPointerCapture(event.pointerId);
    keep(); stroke = event.pointerId; points = [...points]; say("");
    spray(event, 6); paint();
  };
  canvas.onpointermove = (event) => { if (stroke === event.pointerId) { spray(event, 4); paint(); } };
  canvas.onpointerup = canvas.onpointercancel = (event) => { if (stroke === event.pointerId) { stroke = null; tell(); } };
  const undo = button("Undo", "undo", () => { if (past.length) { points = past.pop(); tell(); } });
  const clear = button("Clear", "clear", () => { keep(); points = []; limit = 4.5; tell(); });
  const chooser = el("input", { type: "file", accept: ".csv,.tsv,.txt,text/csv,text/plain", id: `${name}-csv`, class: "gm-hidden", tabindex: -1, "aria-hidden": "true" });
  const bring = async (file) => {
    if (!file) return;
    if (file.size > MOST_BYTES) return say(`${file.name} is larger than 8 MB. Keep a part of its rows.`);
    say("");
    onchange(await file.text(), true);
  };
  chooser.onchange = () => { bring(chooser.files[0]); chooser.value = ""; };
  const width = el("input", { type: "range", class: "gm-range", min: 0.02, max: 0.6, step: 0.02, value: spread, "aria-label": "spread of the spray", style: "--at: 28%" });
  width.oninput = () => { spread = Number(width.value); width.style.setProperty("--at", `${((spread - 0.02) / 0.58) * 100}%`); };
  const count = el("span", { class: "gm-muted gm-points-count" });
  const hint = el("p", { class: "gm-points-hint gm-muted", text: "Drag here to spray points, or drop a CSV file." });
  const node = el("div", { class: "gm-points" }, el("div", { class: "gm-plot" }, canvas, hint),
    el("div", { class: "gm-row gm-points-row" }, undo, clear, button("CSV file", "file", () => chooser.click()), chooser,
      el("label", { class: "gm-row gm-points-spread" }, el("span", { class: "gm-muted", text: "Spread" }), width), count), message);
  node.ondragover = (event) => event.preventDefault();
  node.ondrop = (event) => { event.preventDefault(); bring(event.dataTransfer.files[0]); };
  const again = () => { if (!node.isConnected) { document.removeEventListener("gm:theme", again); watcher.disconnect(); } else paint(); };
  const watcher = new ResizeObserver(paint);
  watcher.observe(canvas);
  document.addEventListener("gm:theme", again);
  return {
    node, say,
    set: (csv) => { // what the text says wins over the canvas; Python reads and checks it, this only shows it
      if (csv === written()) return;
      keep();
      points = csv.split(/\r?\n/).map((row) => row.trim().split(/[;\t]|,\s*|\s+/).map(Number))
        .filter((row) => row.length >= 2 && row.slice(0, 2).every(Number.isFinite)).map((row) => row.slice(0, 2)).slice(0, MOST);
      limit = 1.05 * points.reduce((most, [x, y]) => Math.max(most, Math.abs(x), Math.abs(y)), 4.3);
      paint();
    },
  };
};
