/* Solvers side by side: rows of guesses at equal numbers of network calls, scrubbed together, and how far each ends from
   where the ODE ends.

   value (from Python, panels/solvers.py): {run, about, kind, count, size, rows: [{name, follows}], numbers, real, over,
   end: {steps, sheet | points} | null, cells: [{at, steps, spent, calls: [0, 1, ..], off, sheet | points}]}. A sheet has a
   row for each moment and a column for each sample; cells come as they are made and add up as long as `run` is the same. */
window.gm.solved = {}; // form -> {run, cells, at, sample}: survives the change of tabs
window.gm.solvers = (element, props, server, trigger, watch) => {
  const gm = window.gm, el = gm.el, id = props.form, WAIT = 160;
  let value = null, table = null, plot = null, playing = false, clock = 0, media = {}, chosen = null, side = 64;
  const parts = {};
  element.classList.add("gm-solvers", "gm-player");
  const kept = () => gm.solved[id];
  const last = () => Math.max(...value.numbers);
  const cells = () => Object.values(kept().cells);
  const short = (v) => (v >= 0.0995 ? v.toFixed(2) : v >= 0.00095 ? v.toFixed(3) : v === 0 ? "0" : v.toExponential(0));
  const called = (row) => (row.follows ? row.name : `${row.name}*`);

  /* ---- a cell ---- */
  const opened = async (found) => {
    const key = found.at?.join() ?? "end";
    if (media[key]?.of === found) return media[key];
    if (value.kind === "points") return (media[key] = { of: found, points: gm.packedPoints(found.points) });
    const image = new Image();
    image.src = found.sheet;
    await image.decode();
    return (media[key] = { of: found, image });
  };
  const drawn = (canvas, opened, k) => {
    const [w, h] = value.size;
    if (opened.points) gm.cellPoints(canvas, opened.points, 2 * k * value.count, value.count, media.real ?? null, side);
    else gm.cellPicture(canvas, opened.image, kept().sample * w, k * h, w, h);
  };
  const moment = (found) => found.calls.findLastIndex((calls) => calls <= kept().at);
  const paint = async (found) => {
    const cell = table.cell(...found.at), row = value.rows[found.at[0]], mine = table;
    let media;
    try { media = await opened(found); } catch { return; }
    if (mine !== table) return;
    const k = Math.max(0, moment(found)), made = found.calls[k], over = made === found.spent;
    drawn(cell.canvas, media, k);
    cell.button.classList.add("gm-drawn");
    const used = `${found.steps} step${found.steps > 1 ? "s" : ""}, ${found.spent} call${found.spent > 1 ? "s" : ""}`;
    const off = found.off === null ? "" : `; distance to the ODE's end ${found.off.toPrecision(3)}${row.follows ? "" : ", to which it does not converge"}`;
    const words = `${row.name}: ${used}${found.spent < value.numbers[found.at[1]] ? `, one of ${value.numbers[found.at[1]]} is left over` : ""}${off}`;
    cell.button.title = words;
    cell.button.setAttribute("aria-label", `${value.about}, ${words}; ${over ? "the result" : `guess after ${made} calls`}`);
    cell.button.dataset.calls = made;
    cell.note.textContent = found.off === null ? (value.over ? "" : "\u00a0") : short(found.off);
    cell.note.className = `gm-cell-note ${row.follows ? "" : "gm-apart"} ${best(found) ? "gm-best" : ""}`;
  };
  /** The nearest of those that converge, in its column. */
  const best = (found) => found.off !== null && value.rows[found.at[0]].follows
    && cells().every((other) => other.at[1] !== found.at[1] || other.off === null || !value.rows[other.at[0]].follows || other.off >= found.off);
  const ends = async () => {
    if (!value.end) return;
    let media;
    try { media = await opened(value.end); } catch { return; }
    value.rows.forEach((_, r) => {
      const cell = table.cell(r, value.numbers.length);
      if (!cell) return;
      drawn(cell.canvas, media, 0);
      cell.button.classList.add("gm-drawn");
      cell.button.title = `the ODE's end: UniPC, ${value.end.steps} steps`;
      cell.button.setAttribute("aria-label", `${value.about}, the ODE's end by ${value.end.steps} steps of UniPC`);
    });
  };
  const all = () => { for (const found of cells()) paint(found); ends(); mark(); };

  /* ---- the scrubber ---- */
  const mark = () => {
    const at = kept().at;
    parts.range.value = at;
    parts.range.style.setProperty("--at", `${(100 * at) / last()}%`);
    parts.count.textContent = at ? `after ${at} network call${at > 1 ? "s" : ""}` : "before the first call: the same noise";
    parts.play.textContent = playing ? "Pause" : "Play";
    parts.picks?.forEach((button, k) => { button.setAttribute("aria-checked", String(k === kept().sample)); button.tabIndex = k === kept().sample ? 0 : -1; });
    element.dataset.at = at;
  };
  const go = (at) => { kept().at = Math.min(last(), Math.max(0, at)); all(); };
  const pause = () => { playing = false; mark(); };
  const tick = (now) => {
    if (!element.isConnected) playing = false;
    if (!playing) return;
    if (now - clock > WAIT) {
      clock = now;
      if (kept().at >= last()) return pause();
      go(kept().at + Math.max(1, Math.round(last() / 64)));
    }
    requestAnimationFrame(tick);
  };
  const play = () => {
    if (playing) return pause();
    playing = true; clock = performance.now();
    go(kept().at >= last() ? 0 : kept().at);
    requestAnimationFrame(tick);
  };
  const bar = () => {
    parts.play = el("button", { type: "button", class: "gm-button gm-to-play", text: "Play", onclick: play });
    parts.range = el("input", { type: "range", class: "gm-range", min: 0, max: last(), step: 1, "aria-label": "network calls" });
    parts.range.oninput = () => { playing = false; go(Number(parts.range.value)); };
    parts.count = el("b", { class: "gm-count", role: "status" });
    parts.picks = value.kind === "image" && value.count > 1 ? Array.from({ length: value.count }, (_, k) => el("button", {
      type: "button", class: "gm-button", role: "radio", "aria-label": `sample ${k + 1}`, text: k + 1, onclick: () => { kept().sample = k; all(); } })) : null;
    const pick = parts.picks && el("span", { class: "gm-solvers-pick", role: "radiogroup", "aria-label": "sample" }, el("span", { class: "gm-muted", text: "sample" }), ...parts.picks);
    pick?.addEventListener("keydown", (event) => {
      const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!by) return;
      event.preventDefault();
      kept().sample = (kept().sample + by + value.count) % value.count;
      all(); parts.picks[kept().sample].focus();
    });
    return el("div", { class: "gm-timeline" }, el("div", { class: "gm-bar" }, parts.play, parts.range, parts.count, pick));
  };

  /* ---- the plot ---- */
  const choose = (entry) => {
    chosen = entry === chosen ? null : entry;
    plot.select(chosen);
    table.node.querySelectorAll("tbody tr").forEach((row, r) => row.classList.toggle("gm-solver-on", called(value.rows[r]) === chosen));
  };
  const measured = () => {
    const points = cells().filter((found) => found.off > 0).map((found) => {
      const row = value.rows[found.at[0]];
      return { entry: called(row), x: found.spent, y: found.off,
        text: `${row.name}: ${found.spent} network calls, distance ${found.off.toPrecision(3)}${row.follows ? "" : "; it does not converge to the ODE's end"}` };
    });
    plot.draw({ points, ticks: value.numbers, apart: value.rows.filter((row) => !row.follows).map(called), empty: value.over ? "No distance was measured." : "The distances appear once the ODE's end is known." });
    plot.select(chosen);
  };

  /* ---- all of it ---- */
  const layout = () => {
    if (!table || !element.isConnected || !element.clientWidth) return;
    const top = element.getBoundingClientRect().top + scrollY, width = element.clientWidth, narrow = width < 620;
    side = table.fit(narrow ? width - 30 : width * 0.62, narrow ? Infinity : Math.max(300, innerHeight - top - 120) - value.rows.length * 17, value.size[0] / value.size[1], 112);
    plot.fit(narrow ? 300 : table.node.offsetHeight - 34);
    if (value.kind === "points") all();
  };
  const build = () => {
    const columns = [...value.numbers.map((calls, k) => (k ? String(calls) : `${calls} call${calls > 1 ? "s" : ""}`)), el("span", { title: "where the probability-flow ODE leads from this noise" , text: "ODE's end" })];
    const rows = value.rows.map((row) => {
      const node = el("span", { text: row.name }, row.note ? el("small", { text: row.note }) : null);
      node.onclick = () => choose(called(row));
      return node;
    });
    table = gm.cellTable({ corner: "", columns, rows, label: `${value.about}: solvers by network calls`, onpick: (r) => choose(called(value.rows[r])) });
    plot = gm.distances({ id: `${id}-plot`, title: "Distance to the ODE's end", onpick: choose });
    media = { real: value.real ? gm.packedPoints(value.real.data) : null };
    chosen = null;
    const words = "The figures below the cells are root mean square distances to the ODE's end. * Solvers with fresh noise do not converge to it: their samples are others (dashed).";
    element.classList.toggle("gm-cell-points", value.kind === "points");
    element.replaceChildren(bar(), el("div", { class: "gm-solvers-row" }, el("div", { class: "gm-solvers-table" }, table.node), plot.node), el("p", { class: "gm-info", text: words }));
  };
  const show = () => {
    const next = gm.plain(props.value);
    if (!next) { value = table = null; playing = false; element.dataset.cells = 0; return element.replaceChildren(el("div", { class: "gm-nothing", text: props.empty })); }
    const fresh = !table || value?.run !== next.run;
    if (kept()?.run !== next.run) gm.solved[id] = { run: next.run, cells: {}, at: Math.max(...next.numbers), sample: Math.min(kept()?.sample ?? 0, next.count - 1) };
    value = next;
    for (const found of next.cells) kept().cells[found.at.join()] = found;
    if (fresh) { build(); layout(); all(); } else { for (const found of next.cells) paint(found); ends(); mark(); }
    if (fresh || next.over || next.end) measured();
    element.dataset.cells = cells().length;
    element.dataset.over = next.over ? "yes" : "";
  };
  const again = () => {
    if (!element.isConnected) { document.removeEventListener("gm:theme", again); removeEventListener("resize", again); return watcher.disconnect(); }
    layout();
    if (value) measured();
  };
  let seen = 0;
  const watcher = new ResizeObserver(() => { if (element.clientWidth !== seen) { seen = element.clientWidth; again(); } });
  watcher.observe(element);
  addEventListener("resize", again);
  document.addEventListener("gm:theme", again);
  element.addEventListener("gm:key", ({ detail }) => {
    if (!value) return;
    ({ play, next: () => { playing = false; go(kept().at + 1); }, previous: () => { playing = false; go(kept().at - 1); }, first: () => go(0), last: () => go(last()) })[detail]?.();
  });
  show();
  watch("value", show);
};
