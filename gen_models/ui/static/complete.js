/* Complete: a line over a picture, below which all is rubbed out; variants of what the model writes there; their mean.

   value (panels/complete.py: Variants.sent), entry, size [rows, columns], title, pad, form come from Python. A variant
   is sent once: writing goes in reading order, so that a row of the past is the same picture, cut earlier. */
(() => {
  const gm = window.gm, el = gm.el;
  const QUICK = 2; // seconds a run may take for the variants to follow the line by themselves
  const ROWS_PER_SECOND = 12, NEAR = 4; // pixels a pointer may move in a click

  gm.complete = (element, props, server, trigger, watch) => {
    const R = gm.raster;
    let entry = null, size = [28, 28], given = null, name = "", absent = "", run = null, at = 0, tint = true, stale = false, pending = false, asking = false, due = 0, playing = false, clock = 0, tiles = [];
    element.classList.add("gm-complete");
    const form = () => gm.forms[props.form], settings = () => form()?.value() ?? {};
    const pixels = () => size[0] * size[1], drawn = () => gm.pads[props.pad]?.value() ?? null;
    const cut = () => { const { rows = 0, pixels: more = 0 } = settings(); return given ? Math.min(pixels(), rows * size[1] + more) : 0; };
    const move = (k) => {
      const now = Math.max(0, Math.min(pixels(), k));
      if (given && now !== cut()) form()?.fill({ rows: Math.floor(now / size[1]), pixels: now % size[1] });
    };

    /* ---- what is asked ---- */
    const asked = () => { const { run: _, ...rest } = settings(); return { entry: props.entry, settings: rest, drawn: drawn() }; };
    const fail = (text) => { parts.message.textContent = text; parts.message.hidden = !text; };
    const looked = (value, about) => {
      if (about.entry !== props.entry) return;
      if (value.waiting) { parts.picture.note.textContent = `reading ${props.title} …`; return setTimeout(look, 400); }
      given = value.pixels ? R.bytes(value.pixels) : null;
      name = value.name;
      fail(given ? "" : absent);
      follow();
    };
    const missed = (text) => {
      const { test } = settings(), wrong = drawn() || test === null || test === undefined || /whole number/.test(text);
      fail(text);
      if (wrong) return;
      absent = text; // the test pictures are not at hand: begin with nothing, and go on saying why
      form()?.fill({ test: null });
    };
    const looking = gm.pump(server.look, looked, missed, 1);
    const look = () => {
      pending = element.offsetParent === null; // what nobody sees is asked for when somebody does
      if (props.entry && element.isConnected && !pending) looking.put(asked());
    };
    const again = gm.pump(server.again, (value, about) => { if (about.entry === props.entry && !gm.running[props.form] && !value.waiting) show(value); }, fail, 1);
    const follow = () => { asking = true; draw(); }; // once per frame: a move of the line changes two settings
    const followed = () => {
      asking = false;
      stale = Boolean(run);
      form()?.block(given && cut() >= pixels() ? "Nothing is left to complete: all pixels are kept. Move the line up." : "");
      if ((!run || (run.done && run.seconds < QUICK)) && !gm.running[props.form] && !gm.blocked[props.form]) again.put(asked());
    };
    const show = (value) => {
      run = { ...gm.plain(value), x: R.bytes(value.pixels) };
      stale = false;
      pause();
      at = run.done ? size[0] : Math.ceil(run.written / size[1]);
      draw();
    };

    /* ---- what is seen ---- */
    const box = (label) => { const canvas = el("canvas", { role: "img", "aria-label": label }), empty = el("p", { class: "gm-void", hidden: true }); return { canvas, empty, node: el("div", { class: "gm-raster-box" }, canvas, empty) }; };
    const main = box("what is kept"), first = box("the original"), mean = box("mean of the variants");
    const line = el("path", { class: "gm-comp-line" }), shade = el("path", { class: "gm-comp-halo" }), over = el("svg", { preserveAspectRatio: "none", "aria-hidden": "true" }, shade, line);
    const handle = el("div", { class: "gm-comp-handle", role: "slider", tabindex: 0, "aria-label": "the line: what is below it is rubbed out", "aria-orientation": "vertical", "aria-valuemin": 0, id: `${props.form}-line` }, el("i"));
    main.node.classList.add("gm-comp-drag");
    main.node.append(over, handle);
    const box1 = (id, label) => el("input", { type: "number", class: "gm-input", id: `${props.form}-${id}`, min: 0, step: 1, "aria-label": label });
    const rows = box1("rows", "rows kept"), more = box1("pixels", "pixels kept of the next row");
    const parts = {
      picture: R.figure("gm-comp-picture", "what is kept", "real", main.node,
        el("div", { class: "gm-comp-kept" }, el("label", {}, el("span", { text: "Rows kept" }), rows), el("label", {}, el("span", { text: "and pixels of the next" }), more)),
        el("p", { class: "gm-muted gm-comp-said", role: "status" }), R.check(`${props.form}-tint`, "Tint what was kept", true, (on) => { tint = on; draw(); })),
      grid: el("div", { class: "gm-variants", role: "group" }), original: R.figure("", "the original", null, first.node), mean: R.figure("", "mean", "generated", mean.node),
      message: el("p", { class: "gm-wrong", role: "alert", hidden: true }),
    };
    parts.variants = R.figure("gm-comp-variants", "variants", "generated", parts.grid);
    parts.variants.head.setAttribute("id", `${props.form}-title`);
    const said = parts.picture.node.querySelector(".gm-comp-said");
    parts.picture.node.append(parts.message);
    const number = (field, name, most) => { field.oninput = () => { const v = Math.round(Number(field.value)); if (field.value !== "" && v >= 0 && v <= most() && given) form()?.fill({ [name]: v }); }; field.onchange = () => draw(); };
    number(rows, "rows", () => size[0]);
    number(more, "pixels", () => size[1] - 1);

    /* ---- drawing ---- */
    const take = (k) => {
      const n = pixels(), x = run.x.slice(k * n, (k + 1) * n).map((b) => (b === R.UNWRITTEN ? 0 : b));
      const part = run.written < n ? run.written : null;
      R.bring(props.pad, x, size, `variant, seed ${run.seed + k}`);
      if (part !== null) { given = x; move(part); }
      gm.tell?.(`The variant with seed ${run.seed + k} is on the pad: move the line and go on. Undo takes it back.`);
    };
    const build = (count) => {
      parts.grid.style.setProperty("--n", Math.ceil(Math.sqrt(count)));
      tiles = Array.from({ length: count }, (_, k) => {
        const canvas = el("canvas", { "aria-hidden": "true" });
        return { canvas, button: el("button", { type: "button", class: "gm-variant", onclick: () => run && take(k) }, canvas) };
      });
      parts.grid.replaceChildren(...tiles.map((tile) => tile.button));
    };
    const edge = (k) => { // the border between the first k pixels and the rest, as a stair
      const [h, w] = size, row = Math.floor(k / w), column = k % w;
      return column ? `M0 ${row + 1}H${column}V${row}H${w}` : `M0 ${Math.min(row, h - 0.001)}H${w}`;
    };
    const draw = () => { if (!due) due = requestAnimationFrame(() => { due = 0; if (!element.isConnected || !entry) return; if (asking) followed(); paint(); }); };
    const paint = () => {
      const [h, w] = size, n = pixels(), k = cut(), count = run?.count ?? Math.max(1, Math.min(16, settings().n ?? 16));
      const green = R.rgb("real"), rubbed = R.mix(R.rgb("soft"), R.rgb("edge"), 0.3);
      const kept = (v) => (tint ? R.mix(R.grey(v), green, v > 127 ? 0.5 : 0.26) : R.grey(v));
      R.paint(main.canvas, size, (i) => (!given ? rubbed : i < k ? kept(given[i]) : R.mix(rubbed, R.grey(given[i]), 0.13)));
      main.empty.hidden = Boolean(given);
      main.empty.textContent = "Nothing is drawn: the model begins with nothing. Draw, upload, or choose a test picture.";
      over.setAttribute("viewBox", `0 0 ${w} ${h}`);
      for (const path of [line, shade]) path.setAttribute("d", given ? edge(k) : "");
      handle.hidden = !given;
      handle.style.top = `${(100 * Math.floor(k / w)) / h}%`;
      const told = `${Math.floor(k / w)} rows${k % w ? ` and ${k % w} pixel${k % w > 1 ? "s" : ""}` : ""} kept`;
      for (const [key, value] of Object.entries({ "aria-valuemax": n, "aria-valuenow": k, "aria-valuetext": told })) handle.setAttribute(key, value);
      for (const [field, value] of [[rows, Math.floor(k / w)], [more, k % w]]) { if (document.activeElement !== field) field.value = value; field.disabled = !given; field.title = given ? "" : "nothing is drawn"; }
      rows.max = h; more.max = w - 1;
      said.textContent = !given ? `all ${n} pixels are written by the model` : k >= n ? "nothing is left to write: move the line up" : `${n - k} of ${n} pixels are written by the model`;
      parts.picture.note.textContent = parts.picture.note.title = name;
      if (tiles.length !== count) build(count);
      const until = run ? Math.max(run.known, at * w) : k, known = run ? run.known : k;
      const value = (v, i) => (i >= until ? R.UNWRITTEN : run ? run.x[v * n + i] : given ? given[i] : R.UNWRITTEN);
      tiles.forEach(({ canvas, button }, v) => {
        R.paint(canvas, size, (i) => { const b = value(v, i); return b === R.UNWRITTEN ? rubbed : i < known ? kept(b) : R.grey(b); });
        button.disabled = !run;
        const about = run ? `variant ${v + 1} of ${count}, ${run.entry}, seed ${run.seed + v}` : `variant ${v + 1}, not written yet`;
        button.setAttribute("aria-label", run ? `${about}: put it on the pad` : about);
        button.title = run ? `seed ${run.seed + v}: go on from this one` : "press Complete first";
      });
      parts.variants.head.textContent = `${count} variant${count > 1 ? "s" : ""}`;
      parts.variants.note.textContent = !run ? "press Complete" : stale ? "of the line before: press Complete" : run.done ? "click one to go on from it" : "being written";
      R.paint(mean.canvas, size, (i) => { let sum = 0; for (let v = 0; v < count; v++) { const b = value(v, i); if (b === R.UNWRITTEN) return rubbed; sum += b; } return R.grey(sum / count); });
      parts.mean.note.textContent = "grey: undecided";
      mean.canvas.setAttribute("aria-label", `pixel by pixel the mean of ${count} variants`);
      first.empty.hidden = Boolean(given);
      first.empty.textContent = "no original";
      R.paint(first.canvas, size, (i) => (given ? R.grey(given[i]) : rubbed));
      first.canvas.setAttribute("aria-label", given ? name : "no original");
      mark();
      Object.assign(element.dataset, { cut: k, shown: at, known: run?.known ?? "", seed: run?.seed ?? "", done: Boolean(run?.done && !stale), name });
    };

    /* ---- rows of the past ---- */
    const start = () => (run ? Math.floor(run.known / size[1]) : 0), last = () => (run ? Math.ceil(run.written / size[1]) : 0);
    const go = (row) => { at = Math.max(start(), Math.min(last(), row)); draw(); };
    const pause = () => { playing = false; };
    const tick = (now) => {
      if (!playing || !element.isConnected) return;
      const jump = Math.floor(((now - clock) / 1000) * ROWS_PER_SECOND * (gm.films.speed ?? 1));
      if (jump > 0) { clock = now; go(at + jump); if (at >= last()) playing = false; }
      requestAnimationFrame(tick);
    };
    const play = () => { if (playing || !run) return; playing = true; clock = performance.now(); if (at >= last()) at = start(); draw(); requestAnimationFrame(tick); };
    const step = (by) => { pause(); go(at + by); };
    const button = (text, onclick) => el("button", { type: "button", class: "gm-button", text, onclick });
    const bar = { play: button("Play", play), pause: button("Pause", () => { pause(); draw(); }), step: button("Step", () => step(1)), reset: button("Reset", () => { pause(); go(start()); }),
      count: el("b", { class: "gm-count" }), range: el("input", { type: "range", class: "gm-range", step: 1, "aria-label": "row", oninput: (event) => { pause(); go(Number(event.target.value)); } }),
      speed: el("select", { class: "gm-input gm-speed", "aria-label": "Speed", onchange: (event) => { gm.films.speed = Number(event.target.value); } }, ...[[0.1, "talk 0.1×"], [0.5, "speed 0.5×"], [1, "speed 1×"], [2, "speed 2×"]].map(([value, text]) => el("option", { value, text }))),
      save: button("PNG", () => document.getElementById(`${props.form}-png`)?.click()) };
    bar.speed.value = gm.films?.speed ?? 1;
    const timeline = el("div", { class: "gm-timeline gm-player gm-comp-bar" }, el("div", { class: "gm-bar" }, bar.play, bar.pause, bar.step, bar.reset, bar.count, bar.range, bar.speed, bar.save));
    timeline.addEventListener("gm:key", ({ detail }) => ({ play: () => (playing ? (pause(), draw()) : play()), next: () => step(1), previous: () => step(-1), first: () => { pause(); go(start()); }, last: () => { pause(); go(last()); } })[detail]?.());
    const mark = () => {
      const why = !run ? "nothing is written yet: press Complete" : !run.done && gm.running[props.form] ? "still running: press Stop to look at what there is" : "";
      const allow = (node, reason) => { node.disabled = Boolean(reason); node.title = reason; };
      allow(bar.play, why || (playing ? "it is playing" : "")); allow(bar.pause, why || (playing ? "" : "it is not playing"));
      allow(bar.step, why || (at >= last() ? "this is the last row" : "")); allow(bar.reset, why || (at <= start() ? "this is the start" : ""));
      allow(bar.save, why); allow(bar.range, why);
      bar.range.min = start(); bar.range.max = Math.max(last(), start() + 1); bar.range.value = at;
      bar.range.style.setProperty("--at", `${(100 * (at - start())) / Math.max(1, last() - start())}%`);
      bar.count.textContent = `row ${run ? at : Math.floor(cut() / size[1])} of ${size[0]}`;
      bar.range.setAttribute("aria-valuetext", bar.count.textContent);
    };

    /* ---- the line ---- */
    let held = null;
    main.node.onpointerdown = (event) => {
      if (event.button || !given) return;
      event.preventDefault();
      main.node.setPointerCapture(event.pointerId);
      held = { id: event.pointerId, y: event.clientY, moved: false, grip: event.target.closest(".gm-comp-handle") };
      handle.focus({ preventScroll: true });
    };
    main.node.onpointermove = (event) => {
      if (held?.id !== event.pointerId || (!held.moved && Math.abs(event.clientY - held.y) < NEAR)) return;
      held.moved = true;
      const frame = main.canvas.getBoundingClientRect();
      move(Math.round(Math.max(0, Math.min(1, (event.clientY - frame.top) / frame.height)) * size[0]) * size[1]);
    };
    main.node.onpointerup = (event) => {
      if (held && !held.moved && !held.grip) { const [row, column] = R.under(event, main.canvas, size); move(row * size[1] + column + 1); }
      held = null;
    };
    main.node.onpointercancel = () => { held = null; };
    handle.onkeydown = (event) => {
      const w = size[1], by = { ArrowUp: -w, ArrowDown: w, ArrowLeft: -1, ArrowRight: 1, PageUp: -4 * w, PageDown: 4 * w, Home: -pixels(), End: pixels() }[event.key];
      if (!by) return;
      event.preventDefault();
      move(cut() + by);
    };

    const body = [el("div", { class: "gm-comp-top" }, parts.picture.node, parts.variants.node, el("div", { class: "gm-comp-aside" }, parts.original.node, parts.mean.node)), timeline];
    const open = () => {
      if (entry === props.entry && size.join() === gm.plain(props.size).join()) return;
      entry = props.entry; size = gm.plain(props.size); given = null; run = null; name = absent = ""; at = 0;
      if (!entry) return element.replaceChildren(el("div", { class: "gm-nothing", text: "This entry does not write pictures pixel by pixel, or is not trained yet. Choose another one." }));
      fail("");
      element.replaceChildren(...body);
      draw(); look();
    };
    R.meet(element, props.pad, props.form, (pad, controls) => {
      const offs = [pad.on(() => (element.isConnected ? look() : leave())), controls.on((_, changed) => {
        if (!element.isConnected) return leave();
        if (changed === "test" || changed === null) look();
        else { if (changed === "n" && !run) tiles = []; follow(); }
      })];
      const leave = () => offs.forEach((off) => off());
      look();
    });
    const repaint = () => { if (!element.isConnected) return watcher.disconnect(), document.removeEventListener("gm:theme", repaint); if (pending) look(); draw(); };
    const watcher = new ResizeObserver(repaint);
    watcher.observe(element);
    document.addEventListener("gm:theme", repaint);
    open();
    watch("value", () => { if (props.value?.pixels && props.value.entry === props.entry) show(props.value); });
    watch(["entry", "size"], open);
  };
})();
