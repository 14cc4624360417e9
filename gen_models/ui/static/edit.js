/* Edit: the mode, the picture that is edited, and in "inpaint" the brush that paints what is to be redrawn.

   entry, size [rows, columns], classes, usual (what a mode begins with), pad, form come from Python (panels/edit.py).
   What is chosen lives in the form's hidden fields mode, picture and mask (data URLs) and test (a held-out picture's
   number), so that a saved picture's recipe restores all of it. */
(() => {
  const gm = window.gm, el = gm.el;
  const MODES = [["picture to picture", "Picture to picture"], ["inpaint", "Inpaint"], ["invert", "Invert"]];
  const TRY = {
    "picture to picture": "The picture is noised up to a strength, then walked back: SDEdit.",
    inpaint: "Brush over what is to be redrawn; the rest comes back as it was: RePaint.",
    invert: "The picture is walked to its noise and back, then redrawn as another class.",
  };

  gm.edit = (element, props, server, trigger, watch) => {
    const R = gm.raster, id = props.form;
    let entry = null, size = [28, 28], image = null, name = "", mask = new Uint8Array(784), past = [], erase = false, brush = 3, stroke = null;
    let sent = { picture: "", mask: "" }, due = 0, later = 0, asking = 0, file = false;
    element.classList.add("gm-edit");
    const form = () => gm.forms[id], settings = () => form()?.value() ?? {};
    const mode = () => settings().mode ?? MODES[0][0], put = (values) => form()?.fill(values);
    const pixels = () => size[0] * size[1], some = () => mask.some((v) => v);

    /* ---- pictures as data URLs ---- */
    const url = (colour) => { const canvas = el("canvas"); R.paint(canvas, size, colour); return canvas.toDataURL("image/png"); };
    const ofPad = (value) => { const b = R.bytes(value.pixels), rgb = b.length === 3 * pixels(); return url((k) => (rgb ? [b[3 * k], b[3 * k + 1], b[3 * k + 2]] : R.grey(b[k]))); };
    const ofMask = () => url((k) => R.grey(255 * mask[k]));
    const opened = async (text) => {
      const picture = new Image(), canvas = el("canvas", { width: size[1], height: size[0] }), pen = canvas.getContext("2d");
      picture.src = text;
      await picture.decode();
      pen.drawImage(picture, 0, 0, size[1], size[0]);
      return pen.getImageData(0, 0, size[1], size[0]).data;
    };

    /* ---- what is seen ---- */
    const canvas = el("canvas", { class: "gm-edit-canvas", role: "img", id: `${id}-canvas` });
    const empty = el("p", { class: "gm-void", text: "No picture yet: draw or upload one on the left, or choose a held-out one." });
    const paint = () => {
      const [h, w] = size, scale = Math.max(1, Math.round(320 / w)), painting = mode() === "inpaint";
      canvas.width = w * scale; canvas.height = h * scale;
      canvas.style.aspectRatio = `${w} / ${h}`;
      const pen = canvas.getContext("2d");
      pen.imageSmoothingEnabled = false;
      if (image) pen.drawImage(image, 0, 0, canvas.width, canvas.height);
      if (painting) {
        pen.fillStyle = gm.color("generated");
        for (let k = 0; k < mask.length; k++) if (mask[k]) {
          pen.globalAlpha = 0.62;
          pen.fillRect((k % w) * scale, Math.floor(k / w) * scale, scale, scale);
        }
        pen.globalAlpha = 1;
      }
      empty.hidden = Boolean(image);
      canvas.classList.toggle("gm-edit-brushed", painting && Boolean(image));
      const share = Math.round((100 * mask.reduce((sum, v) => sum + v, 0)) / pixels());
      canvas.setAttribute("aria-label", image ? `${name}${painting ? `, ${share} % of it painted over` : ""}` : "no picture yet");
      const allow = (button, reason) => { button.disabled = Boolean(reason); button.title = reason; };
      allow(parts.undo, past.length ? "" : "nothing to undo");
      allow(parts.clear, some() ? "" : "nothing is painted");
      allow(parts.invert, image ? "" : "there is no picture yet");
      Object.assign(element.dataset, { mode: mode(), name, masked: mask.reduce((sum, v) => sum + v, 0), shown: image ? "yes" : "" });
    };
    const draw = () => { if (!due) due = requestAnimationFrame(() => { due = 0; if (element.isConnected && entry) paint(); }); };

    /* ---- the brush ---- */
    const dab = ([x, y]) => {
      const [h, w] = size, r = brush / 2;
      for (let j = Math.max(0, Math.floor(y - r)); j < Math.min(h, y + r); j++) {
        for (let i = Math.max(0, Math.floor(x - r)); i < Math.min(w, x + r); i++) {
          if (Math.hypot(i + 0.5 - x, j + 0.5 - y) <= Math.max(r, 0.72)) mask[j * w + i] = erase ? 0 : 1;
        }
      }
    };
    const at = (event) => {
      const frame = canvas.getBoundingClientRect();
      return [((event.clientX - frame.left) / frame.width) * size[1], ((event.clientY - frame.top) / frame.height) * size[0]];
    };
    const line = (from, to) => {
      const n = Math.max(1, Math.ceil(2 * Math.hypot(to[0] - from[0], to[1] - from[1])));
      for (let k = 1; k <= n; k++) dab([0, 1].map((c) => from[c] + ((to[c] - from[c]) * k) / n));
    };
    const keep = () => { past = [...past.slice(-49), mask.slice()]; };
    const masked = () => { sent.mask = some() ? ofMask() : ""; put({ mask: sent.mask }); draw(); };
    canvas.onpointerdown = (event) => {
      if (event.button || stroke || mode() !== "inpaint" || !image) return;
      event.preventDefault();
      canvas.setPointerCapture(event.pointerId);
      keep();
      stroke = { pointer: event.pointerId, last: at(event) };
      dab(stroke.last);
      draw();
    };
    canvas.onpointermove = (event) => {
      if (stroke?.pointer !== event.pointerId) return;
      const moves = event.getCoalescedEvents?.() ?? [];
      for (const move of moves.length ? moves : [event]) { const next = at(move); line(stroke.last, next); stroke.last = next; }
      draw();
    };
    canvas.onpointerup = canvas.onpointercancel = canvas.onlostpointercapture = () => { if (stroke) { stroke = null; masked(); } };

    /* ---- controls ---- */
    const button = (text, suffix, onclick) => el("button", { type: "button", class: "gm-button", text, id: `${id}-${suffix}`, onclick });
    const choose = (next) => { if (next !== mode()) put({ mode: next, ...gm.plain(props.usual)[next] }); };
    const modes = el("div", { class: "gm-edit-modes", role: "radiogroup", "aria-label": "mode" }, ...MODES.map(([key, text], k) => el("button", {
      type: "button", role: "radio", class: "gm-edit-mode", "data-mode": key, text, id: `${id}-mode-${k}`, onclick: () => choose(key) })));
    modes.addEventListener("keydown", (event) => {
      const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (!by) return;
      event.preventDefault(); event.stopPropagation();
      const k = (MODES.findIndex(([key]) => key === mode()) + by + MODES.length) % MODES.length;
      choose(MODES[k][0]);
      modes.children[k].focus();
    });
    const take = (test) => { gm.pads[props.pad]?.clear(); sent.picture = ""; put({ test, picture: "" }); };
    const index = el("input", { type: "number", class: "gm-input", min: 0, step: 1, id: `${id}-index`, "aria-label": "number of the held-out picture" });
    index.onchange = () => take(Math.max(0, Math.floor(Number(index.value) || 0)));
    const width = el("input", { type: "range", class: "gm-range", min: 1, max: 14, step: 1, value: brush, id: `${id}-width`, "aria-label": "width of the brush" });
    const broad = () => {
      width.max = Math.max(2, Math.round(Math.min(...size) / 2));
      brush = Math.min(Number(width.value), Number(width.max));
      width.style.setProperty("--at", `${(100 * (brush - 1)) / (width.max - 1)}%`);
      width.setAttribute("aria-valuetext", `${brush} pixels`);
      parts.width.textContent = `${brush} px`;
    };
    width.oninput = () => broad();
    const parts = {
      undo: button("Undo", "undo", () => { if (past.length) { mask = past.pop(); masked(); } }),
      clear: button("Clear", "clear", () => { keep(); mask = new Uint8Array(pixels()); masked(); }),
      invert: button("Invert", "invert", () => { keep(); mask = mask.map((v) => 1 - v); masked(); }),
      erase: button("Erase", "erase", () => { erase = !erase; parts.erase.setAttribute("aria-pressed", String(erase)); }),
      width: el("span", { class: "gm-muted" }), words: el("p", { class: "gm-edit-words gm-muted", id: `${id}-try` }),
      cost: el("p", { class: "gm-edit-cost", role: "status", id: `${id}-cost` }), remark: el("p", { class: "gm-edit-words gm-muted", id: `${id}-remark` }),
      head: el("b", { text: "the picture" }), note: el("span", { class: "gm-muted", id: `${id}-name` }), how: el("p", { class: "gm-edit-words gm-muted", id: `${id}-how` }),
      message: el("p", { class: "gm-wrong", role: "alert", hidden: true, id: `${id}-wrong` }),
    };
    parts.erase.setAttribute("aria-pressed", "false");
    parts.invert.title = "redraw what is kept, keep what is redrawn";
    const tools = el("div", { class: "gm-edit-tools" },
      el("div", { class: "gm-row", role: "group", "aria-label": "mask" }, parts.erase, parts.undo, parts.clear, parts.invert),
      el("label", { class: "gm-row" }, el("span", { class: "gm-muted", text: "Brush" }), width, parts.width));

    /* ---- what the server says ---- */
    const fail = (text) => { parts.message.textContent = text; parts.message.hidden = !text; };
    const asked = () => { const { run: _, ...rest } = settings(); return { entry: props.entry, settings: rest, file }; };
    const again = () => { clearTimeout(later); later = setTimeout(() => element.isConnected && look(), 300); };
    const looking = gm.pump(server.look, async (value, about) => {
      if (about.entry !== props.entry) return;
      if (value.waiting) { parts.note.textContent = "reading the pictures …"; return again(); }
      const next = new Image(), mine = ++asking;
      next.src = value.url;
      try { await next.decode(); } catch { return; }
      if (mine !== asking) return;
      image = next;
      const drawn = gm.pads[props.pad]?.value();
      name = about.settings.picture ? (drawn?.kind === "file" && drawn.name) || "your drawing" : value.name;
      parts.note.textContent = parts.note.title = `${name}${value.label ? `, class ${value.label}` : ""}`;
      parts.how.textContent = value.how;
      if (value.label && settings().from !== value.label && settings().from !== undefined) put({ from: value.label });
      fail("");
      draw();
    }, (text) => { image = null; name = ""; parts.note.textContent = ""; parts.how.textContent = ""; fail(text); draw(); }, 1);
    const planning = gm.pump(server.plan, (value, about) => {
      if (about.entry !== props.entry || value.waiting) return;
      parts.cost.textContent = value.cost; parts.remark.textContent = value.remark;
      form()?.block(value.blocked);
    }, (text) => { parts.cost.textContent = ""; parts.remark.textContent = text; form()?.block(""); }, 1);
    const look = () => { if (entry && form()) { looking.put(asked()); planning.put(asked()); } };

    /* ---- what the form holds ---- */
    const show = () => {
      const now = mode();
      for (const choice of modes.children) {
        const on = choice.dataset.mode === now;
        choice.setAttribute("aria-checked", String(on)); choice.tabIndex = on ? 0 : -1;
      }
      if (form()) form().element.dataset.mode = now;
      tools.hidden = now !== "inpaint";
      parts.words.textContent = TRY[now];
      if (document.activeElement !== index) index.value = settings().picture ? "" : settings().test ?? "";
      draw();
    };
    const restore = async () => { // what a recipe brought
      const { picture = "", mask: url = "" } = settings();
      if (picture !== sent.picture) {
        sent.picture = picture;
        if (picture) {
          const data = await opened(picture).catch(() => null);
          if (data && sent.picture === picture) R.bring(props.pad, Uint8Array.from({ length: 3 * pixels() }, (_, k) => data[4 * Math.floor(k / 3) + (k % 3)]), size, "the saved picture");
        } else gm.pads[props.pad]?.clear();
      }
      if (url !== sent.mask) {
        sent.mask = url;
        const data = url ? await opened(url).catch(() => null) : null;
        if (sent.mask === url) { mask = Uint8Array.from({ length: pixels() }, (_, k) => (data && data[4 * k] > 127 ? 1 : 0)); draw(); }
      }
    };
    let slow = 0;
    const drew = (value) => {
      file = value?.kind === "file";
      clearTimeout(slow);
      slow = setTimeout(() => {
        const picture = value ? ofPad(value) : "";
        if (!element.isConnected || picture === sent.picture) return;
        sent.picture = picture;
        put({ picture });
      }, 120);
    };

    const body = [modes, parts.words,
      el("div", { class: "gm-row gm-edit-held" }, el("label", { class: "gm-row" }, el("span", { class: "gm-muted", text: "Held-out picture" }), index), button("Random", "random", () => take(Math.floor(Math.random() * 1000)))),
      el("figure", { class: "gm-edit-picture" }, el("figcaption", {}, parts.head, parts.note), el("div", { class: "gm-edit-box" }, canvas, empty)),
      tools, parts.how, parts.message, parts.cost, parts.remark];
    parts.head.setAttribute("style", "color: var(--gm-real)");
    const open = () => {
      const same = size.join() === gm.plain(props.size).join();
      if (entry === props.entry && same) return;
      entry = props.entry;
      if (!same) { size = gm.plain(props.size); mask = new Uint8Array(pixels()); past = []; sent.mask = ""; if (form()) put({ mask: "" }); }
      if (!entry) return element.replaceChildren(el("div", { class: "gm-nothing", text: "This entry does not denoise pictures, or is not trained yet. Choose another one." }));
      element.replaceChildren(...body);
      broad(); show(); look();
    };
    R.meet(element, props.pad, id, (pad, controls) => {
      const leave = () => offs.forEach((off) => off());
      const offs = [pad.on((value) => (element.isConnected ? drew(value) : leave())), controls.on(() => {
        if (!element.isConnected) return leave();
        show(); restore(); look();
      })];
      show(); restore(); look();
      if (pad.value()) drew(pad.value());
    });
    const repaint = () => { if (!element.isConnected) return document.removeEventListener("gm:theme", repaint); draw(); };
    document.addEventListener("gm:theme", repaint);
    open();
    watch(["entry", "size"], open);
  };
})();
