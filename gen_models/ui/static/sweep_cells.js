/* Pictures in rows and columns under their headings; used by Sweep and by Solvers.

   const table = gm.cellTable({corner, columns: [..], rows: [node or text, ..], onpick(r, c), onpoint(r, c)});
   table.node goes into the page; table.fit(width, height, aspect) sets the cells' size and returns their width, table.cell(r, c) is
   {button, canvas, note}. gm.cellPicture(canvas, image, x, y, w, h) and gm.cellPoints(canvas, values, from, count, real,
   side) draw into a cell (reading its size from the page would lay that out anew for every cell); gm.packedPoints(data) opens base64 of int16, 32767 being the edge of the view. */
window.gm.packedPoints = (data) => new Int16Array(Uint8Array.from(atob(data), (c) => c.charCodeAt(0)).buffer);
window.gm.cellPicture = (canvas, image, x, y, w, h) => {
  if (canvas.width !== w || canvas.height !== h) { canvas.width = w; canvas.height = h; }
  canvas.getContext("2d").clearRect(0, 0, w, h);
  canvas.getContext("2d").drawImage(image, x, y, w, h, 0, 0, w, h);
};
window.gm.cellPoints = (canvas, values, from, count, real, wide) => {
  const gm = window.gm, side = Math.round(wide * (devicePixelRatio || 1)), to = (v) => ((v / 32767 + 1) / 2) * side;
  if (canvas.width !== side) canvas.width = canvas.height = side;
  canvas.getContext("2d").clearRect(0, 0, side, side);
  const pen = canvas.getContext("2d"), radius = Math.max(0.9, side / 150);
  const dots = (points, first, n, color, alpha) => {
    pen.fillStyle = gm.color(color); pen.globalAlpha = alpha;
    pen.beginPath(); // one path for all: hundreds of fills in dozens of cells take seconds
    for (let k = first; k < first + 2 * n; k += 2) { const x = to(points[k]), y = to(-points[k + 1]); pen.moveTo(x + radius, y); pen.arc(x, y, radius, 0, 7); }
    pen.fill();
  };
  if (real) dots(real, 0, Math.min(400, real.length / 2), "real", 0.3);
  dots(values, from, count, "generated", 0.75);
};
window.gm.cellTable = ({ corner, columns, rows, label, onpick, onpoint }) => {
  const el = window.gm.el, cells = [];
  const made = (r, c) => {
    const canvas = el("canvas", { width: 1, height: 1 }), note = el("small", { class: "gm-cell-note" });
    const button = el("button", { type: "button", class: "gm-cell-button", tabindex: r || c ? -1 : 0, "data-at": `${r},${c}`, disabled: !onpick && !onpoint,
      onclick: () => onpick?.(r, c), onpointerenter: () => onpoint?.(r, c), onfocus: () => onpoint?.(r, c) }, canvas);
    (cells[r] ??= [])[c] = { button, canvas, note };
    return el("td", {}, button, note);
  };
  const body = el("tbody", {}, ...rows.map((row, r) => el("tr", {}, el("th", { scope: "row" }, row), ...columns.map((_, c) => made(r, c)))));
  const node = el("table", { class: "gm-cell-table", "aria-label": label },
    el("thead", {}, el("tr", {}, el("th", { class: "gm-cell-corner" }, corner), ...columns.map((column) => el("th", { scope: "col" }, column)))), body);
  body.addEventListener("keydown", (event) => {
    const by = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] }[event.key], at = event.target.dataset.at?.split(",").map(Number);
    if (!by || !at) return;
    event.preventDefault(); event.stopPropagation();
    cells[at[0] + by[0]]?.[at[1] + by[1]]?.button.focus();
  });
  const fit = (width, height, aspect, most = 150) => {
    const wide = (width - node.querySelector("tbody th").offsetWidth) / columns.length - 6, high = (height - 30) / rows.length - 6;
    const side = Math.floor(Math.max(24, Math.min(wide, high * aspect, most)));
    node.style.setProperty("--cell", `${side}px`);
    node.style.setProperty("--aspect", aspect);
    return side;
  };
  return { node, fit, cell: (r, c) => cells[r]?.[c] };
};
