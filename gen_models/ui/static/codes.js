/* Codes: a picture as a grid of codes. Left the picture, in the middle what its codes look like, right the codebook.

   The edit is gm.codeEdit's (codes_edit.js), the codebook gm.codeBook's; value is what Rewrite gets: {entry, codes, marked}. */
window.gm.codes = (element, props, server, trigger, watch) => {
  const gm = window.gm, el = gm.el, id = `${props.family}-codes`;
  let entry = null, edit = null, off = null, shown = "", asking = 0, nats = null, cells = [], stroke = null, pointed = null;
  element.classList.add("gm-codes");

  /* ---- what is asked ---- */
  const fail = (text) => { parts.message.textContent = text; parts.message.hidden = !text; };
  const looked = (value, asked) => {
    if (asked.entry !== props.entry || !edit?.now()) return;
    fail("");
    parts.image.src = value.picture; parts.image.hidden = false;
    const found = { error: value.error, nats: value.nats?.reduce((sum, v) => sum + v, 0) ?? null };
    nats = value.nats;
    if (asked.first && asked.key === shown) edit.now().base.found = found;
    numbers(found);
    tell();
    element.dataset.looked = asked.key;
  };
  const pump = gm.pump(server.look, looked, fail, 2);
  const look = () => {
    const { base, codes } = edit.now(), key = JSON.stringify([base.name, base.codes, codes]);
    if (key === shown) return;
    shown = key;
    pump.put({ entry: props.entry, codes: edit.rows(codes), source: base.source, first: !edit.changed().includes(true), key });
  };
  /** Asks until there is an answer that `done` takes; gives way to another entry. */
  const until = async (serve, done, told) => {
    const now = props.entry, mine = asking;
    while (props.entry === now && mine === asking && element.isConnected) {
      const seen = element.offsetParent !== null && !document.hidden, answer = seen ? await gm.ask(serve, { entry: now }) : { busy: true };
      if (props.entry !== now || mine !== asking || !element.isConnected) return;
      if (answer.error) return told(answer.error);
      if (answer.value && !answer.value.waiting && done(gm.plain(answer.value))) return;
      await new Promise((wait) => setTimeout(wait, 400));
    }
  };

  /* ---- the picture, B, and figures ---- */
  const button = (text, suffix, onclick, title) => el("button", { type: "button", class: "gm-button", text, id: `${id}-${suffix}`, onclick, title: title ?? null });
  const allow = (node, why, title = "") => { node.disabled = Boolean(why); node.title = why || title; };
  const pictured = (name, colour, title) => {
    const image = el("img", { class: "gm-sharp-large", alt: `${title}: nothing yet`, id: `${id}-${name}`, hidden: true }), note = el("span", { class: "gm-muted" });
    return { image, note, node: el("figure", { class: `gm-code-small gm-code-${name}` }, el("figcaption", {}, el("b", { style: `color: var(--gm-${colour})`, text: title }), note), el("div", { class: "gm-recon-box" }, image)) };
  };
  const short = (name) => name.replace("test picture", "test");
  const a = pictured("a", "real", "picture A"), b = pictured("b", "real", "picture B");
  const mixes = [["left", "Left", "the left half takes the codes of B"], ["top", "Top", "the upper half takes the codes of B"], ["board", "Board", "every second cell takes the code of B, like a chessboard"]]
    .map(([which, text, title]) => { const node = button(text, `mix-${which}`, () => edit.mix(which)); node.setAttribute("aria-label", title); return Object.assign(node, { what: title }); });
  b.node.querySelector(".gm-recon-box").append(b.empty = el("p", { class: "gm-muted gm-code-none", text: "Load a picture B to mix the codes of two pictures." }));
  b.node.append(el("div", { class: "gm-code-mixes", role: "group", "aria-label": "cells that take the codes of B" }, ...mixes));
  const figure = (name, title) => { const value = el("b", { id: `${id}-${name}`, text: "—" }); return { value, node: el("p", { class: "gm-code-number" }, el("span", { class: "gm-muted", text: title }), value) }; };
  const error = figure("error", "mean squared error"), plausible = figure("nats", "log p of the codes, nats"), count = figure("count", "cells changed");
  error.node.title = "of A against what its codes look like, pixels from 0 to 1"; plausible.node.title = "under the prior, of no class: less negative is more plausible";
  const arrow = (node, from, to, write) => node.replaceChildren(...(to === null || to === undefined ? ["—"] : from === null || from === undefined || write(from) === write(to) ? [write(to)] : [el("span", { class: "gm-muted", text: `${write(from)} → ` }), write(to)]));
  const numbers = (found) => {
    const start = edit.changed().includes(true) ? edit.now().base.found : null;
    arrow(error.value, start?.error, found.error, (v) => v.toPrecision(3));
    plausible.node.hidden = found.nats === null;
    arrow(plausible.value, start?.nats, found.nats, (v) => v.toFixed(1).replace("-", "−"));
  };

  /* ---- the cells over the decoded picture ---- */
  const over = el("div", { class: "gm-code-cells", role: "group", "aria-label": "cells of the picture", id: `${id}-cells` });
  const named = (k) => {
    const now = edit.now(), code = now.codes[k], was = now.base.codes[k], columns = edit.grid[1];
    return `row ${Math.floor(k / columns) + 1}, column ${(k % columns) + 1}: code ${code}${code === was ? "" : `, was ${was}`}${now.marks[k] ? ", marked" : ""}${nats ? `, ${nats[k].toFixed(1)} nats`.replace("-", "−") : ""}`;
  };
  const tell = () => { parts.told.textContent = pointed !== null && edit.now() ? named(pointed) : ""; };
  const point = (k, focus = false) => {
    cells.forEach((cell, other) => { cell.tabIndex = other === k ? 0 : -1; });
    if (focus) cells[k].focus({ preventScroll: true });
    pointed = k;
    tell();
  };
  const choose = (k) => { edit.set({ cell: k, code: edit.now().codes[k] }); point(k, true); };
  const act = (k) => { if (edit.brush === "choose") return choose(k); edit.begin(k); edit.end(); return point(k); };
  const lay = () => {
    const [rows, columns] = edit.grid;
    if (cells.length === rows * columns && over.columns === columns) return;
    over.columns = columns;
    over.style.gridTemplate = `repeat(${rows}, minmax(0, 1fr)) / repeat(${columns}, minmax(0, 1fr))`;
    cells = Array.from({ length: rows * columns }, (_, k) => el("button", {
      type: "button", class: "gm-code-cell", "data-cell": k, tabindex: k ? -1 : 0, onpointerenter: () => point(k), onfocus: () => point(k),
      onclick: (event) => { if (edit.brush === "choose" || event.detail === 0) act(k); } }, el("i")));
    over.replaceChildren(...cells);
  };
  over.addEventListener("keydown", (event) => {
    const [, columns] = edit.grid, by = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns }[event.key];
    if (!by) return;
    event.preventDefault(); event.stopPropagation();
    const to = cells.indexOf(document.activeElement) + by;
    if (to >= 0 && to < cells.length) point(to, true);
  });
  const under = (event) => {
    const box = over.getBoundingClientRect(), [rows, columns] = edit.grid;
    const column = Math.floor(((event.clientX - box.left) / box.width) * columns), row = Math.floor(((event.clientY - box.top) / box.height) * rows);
    return column < 0 || row < 0 || column >= columns || row >= rows ? -1 : row * columns + column;
  };
  const line = (from, to) => { // a quick hand skips cells: those between are covered, too
    const columns = edit.grid[1], at = (k) => [Math.floor(k / columns), k % columns], [[r0, c0], [r1, c1]] = [at(from), at(to)];
    const n = Math.max(Math.abs(r1 - r0), Math.abs(c1 - c0), 1);
    for (let k = 1; k <= n; k++) edit.stroke(Math.round(r0 + ((r1 - r0) * k) / n) * columns + Math.round(c0 + ((c1 - c0) * k) / n));
  };
  over.onpointerdown = (event) => {
    if (event.button || stroke || edit.brush === "choose" || edit.why(edit.brush)) return;
    const cell = under(event);
    if (cell < 0) return;
    over.setPointerCapture(event.pointerId);
    stroke = { pointer: event.pointerId, cell };
    edit.begin(cell);
    point(cell, true);
  };
  over.onpointermove = (event) => {
    if (stroke?.pointer !== event.pointerId) return;
    const moves = event.getCoalescedEvents?.() ?? [];
    for (const move of moves.length ? moves : [event]) {
      const cell = under(move);
      if (cell >= 0 && cell !== stroke.cell) { line(stroke.cell, cell); stroke.cell = cell; }
    }
    pointed = stroke.cell;
  };
  over.onpointerup = over.onpointercancel = over.onlostpointercapture = () => { if (stroke) { stroke = null; edit.end(); } };

  /* ---- brushes, history, files ---- */
  const brushes = [["choose", "Choose"], ["paint", "Paint"], ["other", "From B"], ["mark", "Mark"]].map(([brush, text]) => el("button", {
    type: "button", class: "gm-button gm-toggle", id: `${id}-${brush}`, text, "data-brush": brush, onclick: () => edit.set({ brush }) }));
  const undo = button("Undo", "undo", () => edit.undo()), redo = button("Redo", "redo", () => edit.redo()), reset = button("Reset", "reset", () => edit.reset());
  const all = button("Mark all", "mark-all", () => edit.mark(!edit.now().marks.every(Boolean)));
  const numbered = el("button", { type: "button", class: "gm-button gm-toggle", id: `${id}-numbered`, text: "Numbers", onclick: () => edit.set({ numbers: !edit.numbers }) });
  const save = async (kind) => {
    const { base, codes } = edit.now(), answer = await gm.ask(server.save, { entry: props.entry, codes: edit.rows(codes), name: base.name });
    if (!answer.value) return fail(answer.error ?? "The server is busy: try again in a moment.");
    const { name, url, recipe } = answer.value, href = kind === "png" ? url : URL.createObjectURL(new Blob([JSON.stringify(recipe)], { type: "application/json" }));
    el("a", { href, download: `${name}.${kind}` }).click();
    if (kind === "json") setTimeout(() => URL.revokeObjectURL(href), 10000);
  };
  const saves = [button("PNG", "png", () => save("png"), "the decoded picture, with its codes inside"), button("JSON", "json", () => save("json"), "the codes")];
  element.addEventListener("keydown", (event) => {
    if (!(event.ctrlKey || event.metaKey) || !edit?.now() || !["z", "y"].includes(event.key.toLowerCase())) return;
    event.preventDefault();
    if (event.key.toLowerCase() === "y" || event.shiftKey) edit.redo(); else edit.undo();
  });

  /* ---- what is seen ---- */
  const book = gm.codeBook({ id, take: (code) => edit.set({ code }),
    choose: (code) => { edit.set({ code }); if (edit.brush === "choose" && edit.now() && edit.cell !== null) edit.put({ [edit.cell]: code }); } });
  const parts = { image: el("img", { class: "gm-sharp-large", alt: "what the codes look like: nothing yet", id: `${id}-picture`, hidden: true }), note: el("span", { class: "gm-muted" }),
    told: el("p", { class: "gm-muted gm-code-line", id: `${id}-cell` }), message: el("p", { class: "gm-wrong", role: "alert", hidden: true, id: `${id}-wrong` }) };
  const middle = el("figure", { class: "gm-code-middle" },
    el("figcaption", {}, el("b", { style: "color: var(--gm-generated)", text: "decoded from its codes" }), parts.note),
    el("div", { class: "gm-code-tools" }, el("div", { class: "gm-code-segments", role: "group", "aria-label": "brush" }, ...brushes), el("div", { class: "gm-code-segments", role: "group", "aria-label": "history" }, undo, redo, reset)),
    el("div", { class: "gm-code-box" }, parts.image, over), parts.told, el("div", { class: "gm-code-foot" }, all, numbered, el("span", { class: "gm-space" }), ...saves), parts.message);
  const body = el("div", { class: "gm-code-columns" }, el("div", { class: "gm-code-left" }, a.node, el("div", { class: "gm-code-numbers" }, error.node, plausible.node, count.node), b.node), middle, el("div", { class: "gm-code-right" }, book.node, book.use));
  const draw = () => {
    const now = edit.now(), nothing = "take a picture first";
    for (const node of brushes) { node.setAttribute("aria-pressed", String(node.dataset.brush === edit.brush)); allow(node, now ? edit.why(node.dataset.brush) : nothing, gm.codeBrushes[node.dataset.brush]); }
    allow(undo, edit.undoable() ? "" : "nothing to undo", "Ctrl Z"); allow(redo, edit.redoable() ? "" : "nothing to redo", "Ctrl Shift Z");
    allow(reset, !now ? nothing : edit.pristine() ? "nothing is changed or marked" : "", "back to the codes of picture A");
    for (const node of [all, ...saves]) allow(node, now ? "" : nothing, node.title === nothing ? "" : node.title);
    for (const node of mixes) allow(node, !now ? nothing : edit.why("other"), node.what);
    all.textContent = now?.marks.every(Boolean) ? "Mark none" : "Mark all";
    numbered.setAttribute("aria-pressed", String(edit.numbers));
    b.image.hidden = !edit.other; b.empty.hidden = Boolean(edit.other);
    if (edit.other) { b.image.src = edit.other.picture; b.image.alt = b.note.title = edit.other.name; b.note.textContent = short(edit.other.name); } else b.note.textContent = "none yet";
    a.image.hidden = !now;
    book.mark(edit);
    if (!now) { parts.image.hidden = true; over.replaceChildren(); cells = []; return; }
    const changed = edit.changed(), many = changed.filter(Boolean).length, marked = now.marks.filter(Boolean).length;
    a.image.src = now.base.picture; a.image.alt = a.note.title = now.base.name; a.note.textContent = short(now.base.name);
    parts.note.textContent = marked ? `${marked} marked` : "";
    count.value.textContent = `${many} of ${now.codes.length}`;
    parts.image.alt = `${now.base.name}, decoded by ${props.entry}${many ? `, ${many} cells changed` : ""}`;
    lay();
    over.dataset.brush = edit.brush;
    over.classList.toggle("gm-code-numbered", edit.numbers);
    cells.forEach((cell, k) => {
      cell.classList.toggle("gm-changed", changed[k]); cell.classList.toggle("gm-marked", now.marks[k]); cell.classList.toggle("gm-chosen", edit.brush === "choose" && k === edit.cell);
      cell.firstChild.textContent = now.codes[k];
      cell.setAttribute("aria-label", named(k));
    });
    tell();
    Object.assign(element.dataset, { changed: many, marked, name: now.base.name });
    look();
    props.value = { entry: props.entry, codes: edit.rows(now.codes), marked: edit.rows(now.marks.map(Number)) };
  };
  const open = () => {
    if (entry === props.entry) return;
    entry = props.entry; shown = ""; nats = pointed = null; asking++;
    off?.();
    if (!entry) return element.replaceChildren(el("div", { class: "gm-nothing", text: "This entry does not write pictures as codes. Choose another one." }));
    edit = gm.codeEdit(props.family, entry);
    off = edit.on(() => { if (element.isConnected) draw(); else off(); });
    if (!body.isConnected) element.replaceChildren(body);
    fail("");
    const [height, width] = gm.plain(props.size);
    middle.style.setProperty("--gm-shape", `${width} / ${height}`);
    until(server.book, (found) => { edit.grid = found.grid; book.show(found); return true; }, fail);
    until(server.usage, (usage) => { book.count(usage); return usage.pictures >= usage.wanted; }, (text) => book.count({ error: text }));
    draw();
  };
  const watcher = new ResizeObserver(() => { if (!element.isConnected) watcher.disconnect(); else book.fit(); });
  watcher.observe(element);
  open();
  setTimeout(() => { if (element.isConnected && edit?.now()) draw(); }, 80); // Gradio puts its own value in once more after this script
  watch("entry", open);
};
