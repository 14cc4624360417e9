/* Predict: a picture pixel by pixel under the loupe, p(white | all before it), what a pixel can see, another choice.

   entry, size [rows, columns], title, figure, pad, form come from Python (panels/predict.py). One forward pass tells the
   probability of every pixel of a picture, so that looking at another pixel asks the server nothing. */
(() => {
  const gm = window.gm, el = gm.el;
  const MOST_UNDO = 60, HOT = 3, // nats of surprise that are shown in full heat
    WORDS = ["black", "white"];
  const share = (p) => (p > 0.9995 ? "> 0.999" : p < 0.0005 ? "< 0.001" : p.toFixed(3));
  const cost = (v) => (v >= 100 ? v.toFixed(0) : v >= 9.995 ? v.toFixed(1) : v.toFixed(2));

  gm.predict = (element, props, server, trigger, watch) => {
    const R = gm.raster;
    let entry = null, size = [28, 28], name = "", written = 0, at = 0, chosen = [], past = [], token = 0, writing = false, reading = false, started = false, pending = true, due = 0;
    let pixels = new Uint8Array(0), nats = [new Float64Array(0), new Float64Array(0)], seen = new Map(), sighted = null, askedFor = -1, heat = false, sight = true, onward = true;
    element.classList.add("gm-predict");
    const form = () => gm.forms[props.form], settings = () => { const { run, ...rest } = form()?.value() ?? {}; return rest; };
    const total = () => size[0] * size[1], drawn = () => gm.pads[props.pad]?.value() ?? null;
    const bit = (k) => (k < written ? Number(pixels[k] > 127) : null);
    const p = (k) => Math.exp(-nats[1][k]);

    /* ---- what is asked ---- */
    const fail = (text) => { parts.message.textContent = text; parts.message.hidden = !text; };
    /** Takes in what the server wrote: the nats of what stands there, and of the other value. */
    const take = (value) => {
      pixels = R.bytes(value.pixels); written = value.written;
      const own = new Float32Array(R.bytes(value.nats).buffer);
      own.forEach((s, k) => { const v = bit(k) ?? 0; nats[v][k] = s; nats[1 - v][k] = -Math.log(Math.max(-Math.expm1(-s), 1e-38)); });
    };
    const restart = async () => {
      pending = element.offsetParent === null; // what nobody sees is asked for when somebody does
      if (!props.entry || !element.isConnected || pending) return;
      const mine = ++token, source = settings().source;
      writing = false; reading = true; draw();
      const asked = { entry: props.entry, settings: settings(), drawn: source === "drawing" ? drawn() : null };
      for (;;) {
        const answer = await R.ask(server.look, asked);
        if (mine !== token || !element.isConnected) return;
        if (answer.value?.waiting) { parts.figure.note.textContent = `reading ${props.title} …`; await new Promise((done) => setTimeout(done, 400)); if (mine !== token) return; continue; }
        reading = false;
        if (answer.error) { fail(answer.error); return draw(); }
        if (started) remember();
        fail("");
        started = true; chosen = []; name = answer.value.name;
        nats = [new Float64Array(total()), new Float64Array(total())];
        take(answer.value);
        if (source === "sample") { at = 0; await write(total()); if (mine + 1 === token) { at = Math.floor(total() / 2) + Math.floor(size[1] / 2); draw(); } } else { at = Math.min(at, limit()); draw(); }
        return;
      }
    };
    const limit = () => Math.min(written, total() - 1);
    /** Lets the model go on, in as many calls as it takes; the newest wish wins. */
    const write = async (until) => {
      const mine = ++token;
      writing = true; draw();
      while (written < until) {
        const answer = await R.ask(server.go, { entry: props.entry, settings: settings(), pixels: R.coded(pixels), written, until });
        if (mine !== token || !element.isConnected) return false;
        if (answer.error) { fail(answer.error); break; }
        fail(""); take(answer.value); draw();
      }
      writing = false; draw();
      return true;
    };
    const stop = () => { ++token; writing = false; draw(); };
    const seeing = gm.pump(server.sight, (value, asked) => {
      if (asked.entry !== props.entry) return;
      value.seen.forEach((text, k) => seen.set(value.row * size[1] + k, R.bits(R.bytes(text))));
      draw();
    }, fail, 1);

    /* ---- what a person does ---- */
    const now = () => ({ pixels: pixels.slice(), nats: nats.map((a) => a.slice()), written, at, chosen, name });
    const remember = () => { past = [...past.slice(1 - MOST_UNDO), now()]; };
    const undo = () => {
      if (!past.length) return;
      stop();
      ({ pixels, nats, written, at, chosen, name } = past.pop());
      fail(""); draw();
    };
    const cut = (k) => { pixels.fill(R.UNWRITTEN, k); written = k; chosen = chosen.filter((c) => c < k); };
    const go = (k) => { at = Math.max(0, Math.min(limit(), k)); draw(); };
    const choose = (v) => {
      if (!started || reading) return;
      stop(); remember();
      const k = at;
      cut(k);
      pixels[k] = 255 * v; written = k + 1; chosen = [...chosen, k];
      if (onward || written >= total()) { if (written < total()) write(total()); draw(); } else fresh(k + 1);
    };
    /** The next pixel's own probability, after a choice that the model has not seen. */
    const fresh = async (k) => {
      const mine = ++token, answer = await R.ask(server.go, { entry: props.entry, settings: settings(), pixels: R.coded(pixels), written, until: written });
      if (mine !== token) return;
      if (answer.error) return fail(answer.error);
      take(answer.value); go(k);
    };
    const step = (until) => { if (written >= total()) return; stop(); remember(); write(Math.min(total(), until)).then((done) => done && go(written)); };
    const back = () => { if (!written) return; stop(); remember(); cut(written - 1); go(written); };
    const rub = () => { stop(); remember(); cut(at); go(at); };

    /* ---- what is seen ---- */
    const canvas = el("canvas", { "aria-hidden": "true" });
    const lines = el("path", { class: "gm-pred-grid" }), field = el("path", { class: "gm-pred-field" }), marks = el("g"), ring = el("rect", { class: "gm-pred-ring", width: 1, height: 1 }), rim = el("rect", { class: "gm-pred-rim", width: 1, height: 1 });
    const over = el("svg", { preserveAspectRatio: "none", "aria-hidden": "true" }, lines, field, marks, rim, ring);
    const box = el("div", { class: "gm-raster-box gm-pred-box", role: "slider", tabindex: 0, id: `${props.form}-picture`, "aria-label": "the pixel looked at", "aria-valuemin": 1 }, canvas, over);
    const range = el("input", { type: "range", class: "gm-range", min: 1, step: 1, "aria-label": "pixel", oninput: () => go(range.value - 1) });
    const box1 = el("input", { type: "number", class: "gm-input", min: 1, step: 1, id: `${props.form}-pixel`, "aria-label": "pixel number" });
    box1.oninput = () => { const k = Number(box1.value); if (box1.value !== "" && Number.isInteger(k) && k >= 1 && k <= total()) { fail(k - 1 > limit() ? `Pixel ${k} is not written yet: the next one is ${limit() + 1}.` : ""); go(k - 1); } else if (box1.value !== "") fail(`Pixels are numbered 1 to ${total()}.`); };
    box1.onchange = () => { fail(""); draw(); };
    const bars = [0, 1].map((v) => {
      const part = el("i"), number = el("b"), word = el("span", { text: WORDS[v] }), mark = el("small");
      return { part, number, mark, node: el("button", { type: "button", class: `gm-pred-bar gm-pred-${WORDS[v]}`, id: `${props.form}-${WORDS[v]}`, onclick: () => choose(v) }, word, el("span", { class: "gm-pred-track" }, part), number, mark) };
    });
    const button = (text, id, onclick, kind = "gm-button") => el("button", { type: "button", class: kind, text, id: `${props.form}-${id}`, onclick });
    const b = {
      other: button("Choose the other value", "other", () => choose(1 - (bit(at) ?? Number(p(at) > 0.5))), "gm-primary"), pixel: button("Step pixel", "step-pixel", () => step(written + 1)),
      row: button("Step row", "step-row", () => step((Math.floor(written / size[1]) + 1) * size[1])), all: button("Continue", "continue", () => (writing ? stop() : step(total()))),
      back: button("Back", "back", back), rub: button("Cut here", "rub", rub), undo: button("Undo", "undo", undo),
    };
    const parts = {
      figure: R.figure("gm-pred-picture", "the picture", "generated", box), message: el("p", { class: "gm-wrong", role: "alert", hidden: true }), place: el("p", { class: "gm-pred-place" }, el("b"), el("span", { class: "gm-muted" })),
      stands: el("p", { class: "gm-pred-stands", role: "status", id: `${props.form}-stands` }), sees: el("p", { class: "gm-muted" }), sum: el("b", { class: "gm-pred-sum", id: `${props.form}-sum` }), beside: el("p", { class: "gm-muted" }),
      scale: el("div", { class: "gm-pred-scale" }, el("span", { text: "0" }), el("i"), el("span", { text: `${HOT} nats and more` })),
    };
    const side = el("div", { class: "gm-pred-side" }, parts.place, el("div", { class: "gm-row gm-sliding" }, range, box1),
      el("div", { class: "gm-pred-bars", role: "group", "aria-label": "probability of this pixel given all before it: press one to choose it" }, el("span", { class: "gm-muted", text: "p(this pixel | all before it)" }), ...bars.map((bar) => bar.node)),
      parts.stands, b.other, R.check(`${props.form}-onward`, "then go on to the end at once", true, (on) => { onward = on; draw(); }),
      el("div", { class: "gm-pred-buttons", role: "group", "aria-label": "writing" }, b.pixel, b.row, b.all, b.back, b.rub, b.undo), parts.message,
      el("div", { class: "gm-pred-under" }, R.check(`${props.form}-sight`, "Show what it sees", true, (on) => { sight = on; draw(); }), parts.sees,
        R.check(`${props.form}-heat`, "Show the surprise of every pixel, −log p", false, (on) => { heat = on; draw(); }), parts.scale, el("div", { class: "gm-pred-total" }, el("span", { class: "gm-muted", text: "−log p(x)" }), parts.sum), parts.beside));

    const draw = () => { if (!due) due = requestAnimationFrame(() => { due = 0; if (element.isConnected && entry) paint(); }); };
    const outline = (mask) => { // the edges between what is seen and what is not
      const [h, w] = size, on = (r, c) => r >= 0 && c >= 0 && r < h && c < w && mask[r * w + c];
      let d = "";
      for (let r = 0; r <= h; r++) for (let c = 0; c <= w; c++) {
        if (c < w && Boolean(on(r - 1, c)) !== Boolean(on(r, c))) d += `M${c} ${r}h1`;
        if (r < h && Boolean(on(r, c - 1)) !== Boolean(on(r, c))) d += `M${c} ${r}v1`;
      }
      return d;
    };
    const paint = () => {
      const [h, w] = size, n = total(), k = Math.min(at, limit()), row = Math.floor(k / w), column = k % w, v = bit(k), ready = started && !reading, known = seen.get(k);
      if (ready && sight && !known && askedFor !== row) seeing.put({ entry: props.entry, row: (askedFor = row) });
      sighted = known ?? (sight ? sighted : null);
      const mask = sight && !heat && ready && !writing ? sighted : null, ground = R.rgb("ground"), blank = R.mix(R.rgb("soft"), R.rgb("edge"), 0.3), hot = R.rgb("critic");
      const costs = Array.from({ length: written }, (_, i) => nats[bit(i)][i]); const sum = costs.reduce((a, s) => a + s, 0);
      const warm = (s) => (s < 0.6 ? R.mix([12, 12, 16], hot, s / 0.6) : R.mix(hot, [255, 248, 220], (s - 0.6) / 0.4));
      R.paint(canvas, size, (i) => {
        const own = i >= written ? blank : heat ? warm(Math.min(1, costs[i] / HOT)) : R.grey(pixels[i]);
        return mask && !mask[i] && i !== k ? R.mix(own, ground, 0.62) : own;
      });
      over.setAttribute("viewBox", `0 0 ${w} ${h}`);
      lines.setAttribute("d", Array.from({ length: w - 1 }, (_, i) => `M${i + 1} 0V${h}`).join("") + Array.from({ length: h - 1 }, (_, i) => `M0 ${i + 1}H${w}`).join(""));
      field.setAttribute("d", mask ? outline(mask) : "");
      marks.replaceChildren(...chosen.map((c) => el("circle", { class: "gm-pred-chosen", cx: (c % w) + 0.5, cy: Math.floor(c / w) + 0.5, r: 0.22 })));
      for (const rect of [ring, rim]) { rect.setAttribute("x", column); rect.setAttribute("y", row); }
      const p1 = ready ? p(k) : NaN, shares = [1 - p1, p1], where = `row ${row + 1}, column ${column + 1}`;
      parts.place.firstChild.textContent = `pixel ${k + 1} of ${n}`; parts.place.lastChild.textContent = ` ${where}`;
      range.max = n; range.value = k + 1; range.style.setProperty("--at", `${(100 * k) / Math.max(1, n - 1)}%`); range.setAttribute("aria-valuetext", `pixel ${k + 1} of ${n}`);
      if (document.activeElement !== box1) box1.value = k + 1;
      box1.max = n;
      bars.forEach((bar, value) => {
        const q = shares[value];
        bar.part.style.width = `${ready ? 100 * q : 0}%`;
        bar.number.textContent = ready ? share(q) : "—";
        bar.mark.textContent = v === value ? (chosen.includes(k) ? "chosen" : "written") : "";
        bar.node.setAttribute("aria-pressed", String(v === value));
        bar.node.setAttribute("aria-label", `${WORDS[value]}, probability ${ready ? share(q) : "unknown"}${v === value ? ", as it stands" : ""}: choose it`);
        bar.node.disabled = !ready; bar.node.title = ready ? `make this pixel ${WORDS[value]}${onward ? " and let the model go on" : ""}` : "the picture is on its way";
      });
      const t = settings().temperature ?? 1, odds = nats[0][k] - nats[1][k], white = t > 0 ? 1 / (1 + Math.exp(-odds / t)) : Number(odds > 0);
      const drawnWith = ready && t !== 1 ? `; at temperature ${gm.digits(t)} white is drawn with ${share(white)}` : "";
      parts.stands.textContent = !ready ? "" : v === null ? `not written yet${drawnWith}` : `${chosen.includes(k) ? "chosen by you" : "it stands there"}: ${WORDS[v]}, surprise ${cost(costs[k])} nats${drawnWith}`;
      b.other.textContent = `Choose ${WORDS[v === null ? Number(p1 <= 0.5) : 1 - v]}${v === null ? ", the less likely" : " instead"}`;
      const whole = written >= n ? "the picture is whole: choose another value, or cut the picture at a pixel" : "", wait = ready ? "" : "the picture is on its way";
      const allow = (node, why) => { node.disabled = Boolean(why); node.title = why; };
      allow(b.other, wait); allow(b.pixel, wait || (writing ? "it is being written" : whole)); allow(b.row, wait || (writing ? "it is being written" : whole)); allow(b.all, wait || (writing ? "" : whole));
      b.all.textContent = writing ? "Stop" : "Continue";
      allow(b.back, wait || (written ? "" : "nothing is written")); allow(b.rub, wait || (k < written ? "" : "nothing stands here")); b.rub.title ||= "rubs out this pixel and all after it"; allow(b.undo, past.length ? "" : "nothing to undo");
      const many = mask || known ? (known ?? sighted)?.reduce((a, x) => a + x, 0) : null;
      parts.sees.textContent = many === null || many === undefined ? "\u00a0" : `${many} of the ${k} pixels before it`;
      parts.scale.hidden = !heat;
      parts.sum.textContent = ready ? `${sum.toFixed(1)} nats` : "—";
      parts.beside.textContent = `${written === n ? `all ${n} pixels` : `the first ${written} of ${n} pixels`}${props.figure ? `; a test picture costs ${props.figure} on average` : ""}`;
      parts.figure.note.textContent = parts.figure.note.title = reading ? "on its way" : writing ? `${name}: row ${Math.floor(written / w)} of ${h}` : written < n ? `${name}, ${written} of ${n} pixels` : name;
      for (const [key, value] of Object.entries({ "aria-valuemax": n, "aria-valuenow": k + 1, "aria-valuetext": `pixel ${k + 1}, ${where}, ${v === null ? "not written" : WORDS[v]}, probability of white ${ready ? share(p1) : "unknown"}` })) box.setAttribute(key, value);
      Object.assign(element.dataset, { at: k, written, name, busy: writing || reading, sum: sum.toFixed(3), white: ready ? p1.toFixed(5) : "", undo: past.length });
    };

    /* ---- pointer and keys ---- */
    let held = false;
    const point = (event) => { const [row, column] = R.under(event, canvas, size); go(row * size[1] + column); };
    box.onpointerdown = (event) => { if (event.button) return; held = true; point(event); };
    box.onpointermove = (event) => { if (held && event.pointerType === "mouse") point(event); };
    box.onpointerup = box.onpointercancel = box.onpointerleave = () => { held = false; };
    box.onkeydown = (event) => {
      if (event.key === "Enter" && !event.ctrlKey && !event.metaKey) { event.preventDefault(); return b.other.click(); }
      const w = size[1], by = { ArrowUp: -w, ArrowDown: w, ArrowLeft: -1, ArrowRight: 1, Home: -total(), End: total() }[event.key];
      if (!by) return;
      event.preventDefault();
      go(at + by);
    };

    const body = [parts.figure.node, side];
    const open = () => {
      if (entry === props.entry && size.join() === gm.plain(props.size).join()) return;
      stop();
      entry = props.entry; size = gm.plain(props.size); seen = new Map(); sighted = null; askedFor = -1; past = []; chosen = []; written = at = 0; started = false; name = "";
      if (!entry) return element.replaceChildren(el("div", { class: "gm-nothing", text: "This entry does not write pictures pixel by pixel, or is not trained yet. Choose another one." }));
      nats = [new Float64Array(total()), new Float64Array(total())]; pixels = new Uint8Array(total()).fill(R.UNWRITTEN);
      fail("");
      element.replaceChildren(...body);
      draw(); if (form()) restart();
    };
    R.meet(element, props.pad, props.form, (pad, controls) => {
      let last = pad.value()?.pixels; // another entry's size is no new drawing
      const offs = [pad.on((value) => {
        if (!element.isConnected) return leave();
        if (value?.pixels === last) return;
        last = value?.pixels;
        if (value && settings().source !== "drawing") return controls.fill({ source: "drawing" });
        if (settings().source === "drawing") restart();
      }), controls.on((_, changed) => {
        if (!element.isConnected) return leave();
        const { source } = settings();
        if (changed === "test" && source !== "test") return controls.fill({ source: "test" });
        if (changed === "source" || changed === "label" || changed === null || changed === source || (source === "sample" && changed !== "test")) restart(); else draw();
      })];
      const leave = () => offs.forEach((off) => off());
      if (!started) restart();
    });
    const repaint = () => { if (!element.isConnected) return watcher.disconnect(), document.removeEventListener("gm:theme", repaint); if (pending && form()) restart(); else draw(); };
    const watcher = new ResizeObserver(repaint);
    watcher.observe(element);
    document.addEventListener("gm:theme", repaint);
    open();
    watch(["entry", "size", "figure"], () => { open(); draw(); });
  };
})();
