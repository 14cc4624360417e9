/* Sweep: a sample for every pair of values of two options; a cell says its settings and can be taken to Sample.

   value (from Python, panels/sweep.py): {run, entry, kind, size, rows: {title, values}, columns, cells: [{at, x, settings}],
   over}: cells come as they are made and add up as long as `run` is the same. suggest: values for each option. */
window.gm.sweeps = {}; // form -> {run, cells}: survives the change of tabs
window.gm.sweep = (element, props, server, trigger, watch) => {
  const gm = window.gm, el = gm.el, id = props.form;
  let value = null, table = null, at = null, off = null, side = 64;
  const parts = {};
  element.classList.add("gm-sweep");
  const kept = () => (gm.sweeps[id] ??= { run: null, cells: {} });
  const name = (v) => (v.rows.title ? `${v.rows.title} by ${v.columns.title}` : v.columns.title);

  /* ---- one cell ---- */
  const paint = async (canvas, x) => {
    if (value.kind === "points") {
      const points = gm.packedPoints(x.data);
      return gm.cellPoints(canvas, points, 0, points.length / 2, props.real ? gm.packedPoints(props.real.data) : null, canvas === parts.big ? 220 : side);
    }
    const image = new Image();
    image.src = x;
    await image.decode();
    gm.cellPicture(canvas, image, 0, 0, image.naturalWidth, image.naturalHeight);
  };
  const said = (r, c) => [value.rows.title ? `${value.rows.title} ${value.rows.values[r]}` : "", `${value.columns.title} ${value.columns.values[c]}`].filter(Boolean).join(", ");
  const draw = async (found) => {
    const [r, c] = found.at, cell = table.cell(r, c);
    if (!cell || cell.x === found.x) return;
    cell.x = found.x;
    try { await paint(cell.canvas, found.x); } catch { return; }
    cell.button.classList.add("gm-drawn");
    cell.button.title = said(r, c);
    cell.button.setAttribute("aria-label", `${value.entry}, ${said(r, c)}`);
  };
  const point = (r, c) => {
    const found = kept().cells[`${r},${c}`];
    if (!found) return;
    at = [r, c];
    for (const button of element.querySelectorAll(".gm-cell-button")) {
      button.tabIndex = button.dataset.at === at.join() ? 0 : -1;
      button.setAttribute("aria-pressed", String(button.dataset.at === at.join()));
    }
    parts.detail.hidden = false;
    paint(parts.big, found.x);
    parts.big.setAttribute("aria-label", `${value.entry}, ${said(r, c)}`);
    parts.list.replaceChildren(...Object.entries(found.settings).flatMap(([key, v]) => [el("dt", { text: key }), el("dd", { text: typeof v === "number" ? String(+v.toPrecision(10)) : String(v) })]));
  };
  const take = () => {
    const found = at && kept().cells[at.join()], form = gm.forms[`${props.family}-sample`];
    if (!found || !form) return;
    form.fill(found.settings);
    document.getElementById(`${props.family}-sample-button`)?.click();
  };

  /* ---- all of them ---- */
  const layout = () => {
    if (!table || !element.isConnected || !element.clientWidth) return;
    const top = element.getBoundingClientRect().top + scrollY, narrow = element.clientWidth < 620;
    const room = element.clientWidth - (narrow ? 6 : 246);
    side = table.fit(room, narrow ? Infinity : Math.max(300, innerHeight - top - 60), value.size[0] / value.size[1]);
    if (value.kind === "points") for (const found of Object.values(kept().cells)) { const cell = table.cell(...found.at); cell.x = null; draw(found); }
  };
  const build = (v) => {
    table = gm.cellTable({ corner: v.rows.title ? `${v.rows.title} ↓  ${v.columns.title} →` : v.columns.title, columns: v.columns.values,
      rows: v.rows.values, label: `${v.entry}: ${name(v)}`, onpick: point, onpoint: point });
    parts.big = el("canvas", { role: "img", width: 1, height: 1 });
    parts.list = el("dl");
    parts.take = el("button", { type: "button", class: "gm-button", text: "Use in Sample", title: "puts these settings into the Sample panel", onclick: take });
    parts.detail = el("figure", { class: "gm-sweep-detail", hidden: true }, parts.big, el("div", {}, parts.list), parts.take);
    element.classList.toggle("gm-cell-points", v.kind === "points");
    element.replaceChildren(el("div", { class: "gm-sweep-table" }, table.node), parts.detail);
    at = null;
  };
  const show = () => {
    const next = gm.plain(props.value);
    if (!next) { value = table = null; element.dataset.cells = 0; return element.replaceChildren(el("div", { class: "gm-nothing", text: props.empty })); }
    const memory = kept(), fresh = !table || value?.run !== next.run;
    if (memory.run !== next.run) gm.sweeps[id] = { run: next.run, cells: {} };
    value = next;
    for (const cell of next.cells) kept().cells[cell.at.join()] = cell;
    if (fresh) { build(next); layout(); }
    for (const cell of Object.values(kept().cells)) draw(cell);
    if (!at && Object.keys(kept().cells).length) point(...Object.values(kept().cells)[0].at);
    element.dataset.cells = Object.keys(kept().cells).length;
    element.dataset.over = next.over ? "yes" : "";
  };

  /* ---- another option: values that suit it ---- */
  const follow = async () => {
    const form = await gm.until(() => gm.forms[id]?.ready && gm.forms[id]);
    if (!form || !element.isConnected) return;
    off?.();
    const lists = { rows: "row_values", columns: "column_values" };
    const suit = (axis) => form.fill({ [lists[axis]]: props.suggest[form.value()[axis]] ?? "" });
    off = form.on((_, changed) => {
      if (!element.isConnected) return off();
      if (changed in lists) suit(changed);
    });
    for (const axis of Object.keys(lists)) { // chosen before this listened: the list still suits another option
      const { [axis]: chosen, [lists[axis]]: list } = form.value();
      if (list !== props.suggest[chosen] && Object.values(props.suggest).includes(list)) suit(axis);
    }
  };
  const again = () => {
    if (!element.isConnected) { document.removeEventListener("gm:theme", again); removeEventListener("resize", again); return watcher.disconnect(); }
    layout();
  };
  let seen = 0;
  const watcher = new ResizeObserver(() => { if (element.clientWidth !== seen) { seen = element.clientWidth; again(); } });
  watcher.observe(element);
  addEventListener("resize", again);
  document.addEventListener("gm:theme", again);
  show();
  follow();
  watch("value", show);
};
