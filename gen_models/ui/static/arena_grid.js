/* The Arena's cells: one model each, a square picture with its name, its speed and its figures; and the frames that were seen. */
(() => {
  const gm = window.gm, el = gm.el, GAP = 12, EDGE = 22, LEAST = 170;

  /* ---- the film of a run: thinned once it is long, its first and its newest frame always there ---- */
  gm.arenaFilm = (most = 150) => {
    let frames = [], stride = 1, seen = 0;
    return {
      get frames() { return frames; },
      add: (frame) => {
        const again = frames.at(-1)?.tick === frame.tick;
        if (again) { frames[frames.length - 1] = frame; return; }
        if (seen && (seen - 1) % stride) frames.pop(); // it stood there only as the newest
        frames.push(frame);
        seen++;
        if (frames.length <= most) return;
        stride *= 2;
        frames = frames.filter((_, k) => k % 2 === 0 || k === frames.length - 1);
      },
      /** The index of a frame, or of the one nearest to it where it was thinned out. */
      place: (frame) => frames.reduce((best, other, k) => (Math.abs(other.tick - frame.tick) < Math.abs(frames[best].tick - frame.tick) ? k : best), 0),
    };
  };

  /* ---- one cell ---- */
  const figure = ({ label, text, note, warn }) => el("span", { class: warn ? "gm-warns" : null },
    label ? el("i", { text: label }) : null, el("b", { text }), note ? el("i", { text: note }) : null);
  const sizeOf = (cell) => (cell.parameters ? `${gm.big(cell.parameters)} parameters` : "");
  const stepOf = (cell) => (cell.step ? `step ${cell.step.toLocaleString("en")}` : "");
  const made = (title) => {
    const canvas = el("canvas", { role: "img" }), rate = el("span", { class: "gm-muted" });
    const wrong = el("p", { class: "gm-wrong", role: "alert", hidden: true }), brief = el("p", { class: "gm-arena-brief" }), size = el("span"), step = el("span", { class: "gm-arena-step" });
    const node = el("article", { class: "gm-arena-cell" },
      el("header", {}, el("b", { text: title, title }), rate), el("div", { class: "gm-arena-picture" }, canvas, wrong), brief, el("p", { class: "gm-arena-cost" }, size, step));
    return { node, canvas, rate, wrong, brief, size, step, title };
  };
  const tell = (part, cell, waiting) => {
    const failed = cell?.state === "failed";
    part.node.dataset.state = cell?.state ?? "empty";
    part.rate.textContent = cell?.rate ? `${gm.big(+cell.rate.toPrecision(2))}/s` : "";
    part.rate.title = cell?.rate ? "training examples a second, of its own time" : "";
    part.wrong.hidden = !failed;
    part.wrong.textContent = failed ? cell.message : "";
    const brief = cell?.brief ?? [{ label: waiting, text: "", note: "" }], now = JSON.stringify(brief);
    if (part.told !== now) { part.told = now; part.brief.replaceChildren(...brief.map(figure)); part.brief.title = brief.map((b) => `${b.label} ${b.text} ${b.note}`.trim()).join(", "); }
    part.size.textContent = cell ? sizeOf(cell) : "";
    part.step.textContent = cell ? stepOf(cell) : "";
    part.size.parentNode.title = cell ? `${sizeOf(cell)}, ${stepOf(cell)}` : "";
  };
  const paint = (part, cell, context) => {
    const side = part.canvas.clientWidth, sharp = devicePixelRatio || 1;
    if (!side) return;
    const full = Math.round(side * sharp);
    if (part.canvas.width !== full) part.canvas.width = part.canvas.height = full;
    const pen = part.canvas.getContext("2d");
    pen.clearRect(0, 0, full, full);
    gm.arenaPaint(pen, full, { ...context, cell, sharp });
    const figures = (cell?.brief ?? []).map((b) => `${b.label} ${b.text}`).join(", ");
    part.canvas.setAttribute("aria-label", cell ? `${part.title}: its samples over the real points. ${figures}` : `${part.title}: not trained yet`);
  };

  /** Columns and picture side: large pictures, few empty places, rather one long row than a square of a little more. */
  const fit = (count, width, height, narrow, below) => {
    if (narrow) return count === 1 ? [1, width - 14] : [2, Math.floor((width - 8) / 2) - 14];
    const plans = [];
    for (let columns = 1; columns <= Math.min(count, 6); columns++) {
      const across = Math.floor((width - GAP * (columns - 1)) / columns) - EDGE, rows = Math.ceil(count / columns);
      const side = Math.min(560, across, Math.max(LEAST, Math.floor((height - GAP * (rows - 1)) / rows) - below));
      if (columns === 1 || across >= LEAST) plans.push({ columns, side, worth: side * Math.sqrt(count / (columns * rows)) });
    }
    const most = Math.max(...plans.map((plan) => plan.worth));
    const best = plans.filter((plan) => plan.worth >= 0.85 * most).at(-1);
    return [best.columns, best.side];
  };

  /* ---- the grid ---- */
  gm.arenaGrid = () => {
    const node = el("div", { class: "gm-arena-grid", role: "group", "aria-label": "Models in training" });
    let parts = [], keys = "", shown = null;
    const layout = (height) => {
      if (!node.clientWidth || !parts.length) return;
      const narrow = node.clientWidth < 560;
      const [columns, side] = fit(parts.length, node.clientWidth, height, narrow, parts[0].node.offsetHeight - parts[0].canvas.clientHeight);
      node.style.setProperty("--side", `${side}px`);
      node.style.setProperty("--across", columns);
      node.classList.toggle("gm-tight", side < 215);
      repaint();
    };
    const repaint = () => { if (shown) parts.forEach((part, k) => paint(part, shown.cells[k], shown.context)); };
    /** cells: [{key, title, ..}] in order; those without `state` are skeletons that say `waiting`. Returns whether the set changed. */
    const show = (cells, context, waiting) => {
      const now = cells.map((cell) => `${cell.key} ${cell.title}`).join("|"), fresh = now !== keys;
      if (fresh) { keys = now; parts = cells.map((cell) => made(cell.title)); node.replaceChildren(...parts.map((part) => part.node)); }
      parts.forEach((part, k) => { part.node.dataset.key = cells[k].key; });
      shown = { cells: cells.map((cell) => (cell.state ? cell : null)), context };
      parts.forEach((part, k) => tell(part, shown.cells[k], waiting));
      if (!fresh) repaint();
      return fresh;
    };
    return { node, show, layout, repaint };
  };
})();
