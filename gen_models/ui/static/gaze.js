/* Gaze: point at a place of a generated picture and see, layer by layer, where the generator looked to draw it.

   entry, labels, size and family come from Python; server.look({entry, seed, scale, label}) -> {picture, layers}
   (panels/gaze.py). All weights of a picture come at once: pointing asks nobody. A place is counted in cells of the finest
   layer. gm.gazes[family] is what outlives a change of tab. */
(() => {
  const gm = window.gm, el = gm.el;
  gm.gazes = {};

  /** A layer's bytes -> row(head, place): where that place looks, numbers that sum to 1; head "mean" is over all heads. */
  const opened = (layer) => {
    const bytes = Uint8Array.from(atob(layer.weights), (c) => c.charCodeAt(0)), { heads } = layer;
    const from = layer.at[0] * layer.at[1], to = layer.to[0] * layer.to[1];
    const one = (head, place) => {
      const start = (head * from + place) * to, row = Float32Array.from({ length: to }, (_, k) => bytes[start + k] ** 2);
      const sum = row.reduce((a, b) => a + b, 0) || 1;
      return row.map((v) => v / sum);
    };
    const mean = (place) => {
      const row = new Float32Array(to);
      for (let head = 0; head < heads; head++) one(head, place).forEach((v, k) => { row[k] += v / heads; });
      return row;
    };
    return { ...layer, row: (head, place) => (head === "mean" ? mean(place) : one(head, place)) };
  };
  const rgb = (hex) => [1, 3, 5].map((k) => parseInt(hex.slice(k, k + 2), 16));

  gm.gaze = (element, props, server, trigger, watch) => {
    const family = props.family, id = `${family}-gaze`;
    const blank = () => ({ entry: "", seed: 0, scale: 1, label: 0, from: "", at: null, heads: {} });
    let state = gm.gazes[family] ?? (gm.gazes[family] = blank());
    let layers = [], fine = [1, 1], hover = null, pale = null, figures = [], parts = {};
    const image = new Image();

    /* ---- places ---- */
    const place = () => hover ?? state.at ?? [Math.floor(fine[0] / 2), Math.floor(fine[1] / 2)];
    /** The cell of a grid that the place lies in. */
    const cell = ([rows, columns]) => { const [r, c] = place(); return [Math.floor(((r + 0.5) / fine[0]) * rows), Math.floor(((c + 0.5) / fine[1]) * columns)]; };
    const under = (event) => {
      const box = event.currentTarget.getBoundingClientRect(), on = (v, n) => Math.max(0, Math.min(n - 1, Math.floor(v * n)));
      return [on((event.clientY - box.top) / box.height, fine[0]), on((event.clientX - box.left) / box.width, fine[1])];
    };

    /* ---- asking ---- */
    const told = (text, bad) => { parts.message?.replaceChildren(...(text ? [el("p", { class: bad ? "gm-wrong" : "gm-note", role: bad ? "alert" : "status", text })] : [])); };
    const pump = gm.pump(server.look, (value, asked) => {
      if (asked.entry !== props.entry || !element.isConnected) return;
      told("");
      layers = value.layers.map(opened);
      fine = layers.reduce((most, layer) => (layer.at[0] > most[0] ? layer.at : most), [1, 1]);
      if (state.at && (state.at[0] >= fine[0] || state.at[1] >= fine[1])) state.at = null;
      image.onload = () => { pale = null; if (element.isConnected) { stage(); draw(); } };
      image.src = value.picture;
    }, (text) => told(text, true));
    const ask = (asked = {}) => {
      Object.assign(state, asked);
      if (parts.seed) parts.seed.value = state.seed;
      if (parts.label) parts.label.value = state.label;
      if (props.entry) pump.put({ entry: props.entry, seed: state.seed, scale: state.scale, label: props.labels.length ? state.label : null });
    };

    /* ---- drawing ---- */
    /** The picture in pale greys, so that the shades over it are read as shades. */
    const washed = () => {
      if (pale) return pale;
      pale = el("canvas", { width: image.naturalWidth, height: image.naturalHeight });
      const pen = pale.getContext("2d"), card = rgb(gm.color("card"));
      pen.drawImage(image, 0, 0);
      const pixels = pen.getImageData(0, 0, pale.width, pale.height), d = pixels.data;
      for (let k = 0; k < d.length; k += 4) {
        const light = 0.299 * d[k] + 0.587 * d[k + 1] + 0.114 * d[k + 2];
        for (let c = 0; c < 3; c++) d[k + c] = 0.5 * card[c] + 0.5 * light;
      }
      pen.putImageData(pixels, 0, 0);
      return pale;
    };
    const outline = (pen, [row, column], [rows, columns], side, tall) => {
      const box = [(column / columns) * side, (row / rows) * tall, side / columns, tall / rows];
      pen.lineWidth = 4; pen.strokeStyle = "#fff"; pen.strokeRect(...box);
      pen.lineWidth = 2; pen.strokeStyle = "#1b1d22"; pen.strokeRect(...box);
    };
    const fresh = (canvas) => {
      const sharp = devicePixelRatio || 1, side = canvas.clientWidth || 320, tall = (side * props.size[0]) / props.size[1];
      canvas.width = side * sharp; canvas.height = tall * sharp;
      const pen = canvas.getContext("2d");
      pen.scale(sharp, sharp);
      pen.imageSmoothingEnabled = false;
      return { pen, side, tall };
    };
    const headOf = (layer) => state.heads[layer.name] ?? (layer.heads > 1 ? "mean" : 0);
    const spoken = ([row, column]) => `row ${row + 1}, column ${column + 1}`;
    const map = ({ layer, canvas, said, most, chips }) => {
      const head = headOf(layer), at = cell(layer.at), weights = layer.row(head, at[0] * layer.at[1] + at[1]);
      const { pen, side, tall } = fresh(canvas), [rows, columns] = layer.to, top = Math.max(...weights), best = weights.indexOf(top);
      pen.drawImage(washed(), 0, 0, side, tall);
      pen.fillStyle = gm.color("latent");
      weights.forEach((weight, k) => {
        pen.globalAlpha = (0.92 * weight) / (top || 1);
        const x = Math.round(((k % columns) / columns) * side), y = Math.round((Math.floor(k / columns) / rows) * tall);
        pen.fillRect(x, y, Math.round((((k % columns) + 1) / columns) * side) - x, Math.round(((Math.floor(k / columns) + 1) / rows) * tall) - y);
      });
      pen.globalAlpha = 1;
      outline(pen, at, layer.at, side, tall);
      const spread = Math.exp(-weights.reduce((sum, w) => sum + (w > 0 ? w * Math.log(w) : 0), 0)), where = [Math.floor(best / columns), best % columns];
      most.textContent = gm.percent(top);
      said.textContent = `Most at ${spoken(where)}: ${gm.percent(top)}, ${gm.digits(+(top * weights.length).toPrecision(2))} times its even share. It looks as widely as if at ${Math.round(spread)} of ${weights.length} places alike.`;
      canvas.setAttribute("aria-label", `${props.entry}, layer ${layer.name}, from ${spoken(at)}: ${said.textContent}`);
      Object.assign(canvas.dataset, { at: at.join(" "), most: where.join(" "), share: top.toFixed(4) });
      chips.forEach(({ button, value }) => button.setAttribute("aria-pressed", String(value === head)));
    };
    const draw = () => {
      if (!layers.length || !image.naturalWidth || !parts.picture) return;
      const { pen, side, tall } = fresh(parts.picture);
      pen.drawImage(image, 0, 0, side, tall);
      outline(pen, place(), fine, side, tall);
      figures.forEach(map);
      const words = `${spoken(place())} of ${fine[0]} × ${fine[1]}`;
      parts.at.textContent = words;
      parts.picture.setAttribute("aria-valuenow", place()[0] * fine[1] + place()[1]);
      parts.picture.setAttribute("aria-valuetext", `${words}. ${figures.map(({ layer, said }) => `Layer ${layer.name}: ${said.textContent}`).join(" ")}`);
      element.dataset.at = place().join(" ");
    };

    /* ---- pointing ---- */
    const pin = (to) => { hover = null; state.at = to; draw(); };
    const pointing = (canvas) => {
      canvas.addEventListener("pointermove", (event) => {
        if (event.pointerType === "mouse") { hover = under(event); draw(); } else if (canvas.hasPointerCapture(event.pointerId)) pin(under(event));
      });
      canvas.addEventListener("pointerleave", () => { if (hover) { hover = null; draw(); } });
      canvas.addEventListener("pointerdown", (event) => { if (event.pointerType !== "mouse" && canvas === parts.picture) canvas.setPointerCapture(event.pointerId); });
      canvas.addEventListener("click", (event) => pin(under(event)));
      return canvas;
    };
    const keyed = (event) => {
      const step = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
      if (!step) return;
      event.preventDefault(); event.stopPropagation();
      pin(place().map((v, k) => Math.max(0, Math.min(fine[k] - 1, v + step[k]))));
    };

    /* ---- parts ---- */
    const figure = (layer) => {
      const canvas = pointing(el("canvas", { class: "gm-gaze-map", role: "img", id: `${id}-${layer.name.replace(/\W+/g, "-")}` })), said = el("p", { class: "gm-muted gm-gaze-said" }), most = el("span");
      const values = layer.heads > 1 ? ["mean", ...Array(layer.heads).keys()] : [];
      const chips = values.map((value) => ({ value, button: el("button", { type: "button", class: "gm-chip gm-toggle", text: value === "mean" ? "mean of heads" : `head ${value + 1}`,
        onclick: () => { state.heads[layer.name] = value; draw(); } }) }));
      const node = el("figure", { class: "gm-gaze-layer" }, el("figcaption", {}, el("b", { style: "color: var(--gm-latent)", text: `layer ${layer.name.replace("x", "×")}` }), el("span", { class: "gm-muted gm-att-ramp" }, "0 ", el("i"), " ", most)),
        canvas, chips.length ? el("div", { class: "gm-several", role: "group", "aria-label": `heads of layer ${layer.name}` }, ...chips.map((chip) => chip.button)) : null, said);
      return { layer, canvas, said, most, chips, node };
    };
    let standing = null;
    const stage = () => {
      const shape = JSON.stringify([props.entry, layers.map(({ name, heads }) => [name, heads])]);
      if (shape === standing) return figures.forEach((one, k) => { one.layer = layers[k]; });
      standing = shape;
      if (!layers.length) return parts.stage.replaceChildren(el("div", { class: "gm-nothing", text: `${props.entry} was trained without attention: every place sees only what lies around it. Choose an entry that attends.` }));
      figures = layers.map(figure);
      parts.stage.replaceChildren(parts.shown, ...figures.map((one) => one.node));
    };
    const chips = () => {
      const items = (gm.takenOf[family]?.items() ?? []).filter((item) => item.entry === props.entry);
      parts.taken?.replaceChildren(...items.map((item) => el("button", { type: "button", class: "gm-chip",
        onclick: () => ask({ seed: item.seed, label: item.label ?? 0, scale: item.options.truncation ?? item.options.temperature ?? 1, from: "taken" }) }, el("img", { src: item.picture, alt: "" }), `seed ${item.seed}`)));
    };
    const build = () => {
      parts = {}; figures = []; standing = null;
      element.className = "gm-gaze gm-columns";
      if (!props.entry) return element.replaceChildren(el("div", { class: "gm-nothing", text: "This entry does not attend within pictures, or has no checkpoint yet. Choose another one." }));
      const seed = (parts.seed = el("input", { type: "number", class: "gm-input", id: `${id}-seed`, min: 0, max: 2 ** 32 - 1, step: 1, value: state.seed }));
      seed.onchange = () => ask({ seed: seed.value === "" ? gm.dice() : Number(seed.value), scale: 1 });
      const dice = el("button", { type: "button", class: "gm-button", text: "Dice", id: `${id}-dice`, onclick: () => ask({ seed: gm.dice(), scale: 1 }) });
      const side = el("div", { class: "gm-side gm-form" },
        el("p", { class: "gm-hint", text: "Point at a place of the picture, or go there with the arrow keys. The shades show where the generator looked while it drew that place." }),
        el("div", { class: "gm-field" }, el("label", { for: seed.id, text: "Seed" }), el("div", { class: "gm-row" }, seed, dice)), (parts.taken = el("div", { class: "gm-chips" })));
      if (props.labels.length) {
        const list = (parts.label = el("select", { class: "gm-input", id: `${id}-label` }, ...gm.plain(props.labels).map((name, k) => el("option", { value: k, text: name }))));
        list.value = state.label;
        list.onchange = () => ask({ label: Number(list.value) });
        side.append(el("div", { class: "gm-field" }, el("label", { for: list.id, text: "Class" }), list));
      }
      side.append((parts.message = el("div", { class: "gm-message" })),
        el("p", { class: "gm-info", text: "The coarse layer comes first, the fine one after it. From each place the shades sum to 100 %; the deepest is the share at the end of the scale." }));
      parts.picture = pointing(el("canvas", { class: "gm-gaze-map gm-gaze-picture", tabindex: 0, role: "slider", "aria-label": "a place of the picture: arrow keys move", "aria-valuenow": 0, id: `${id}-picture`, onkeydown: keyed }));
      parts.at = el("p", { class: "gm-muted", role: "status", id: `${id}-at` });
      parts.shown = el("figure", { class: "gm-gaze-layer" }, el("figcaption", {}, el("b", { style: "color: var(--gm-generated)", text: "the picture" }), el("span", { class: "gm-muted", text: "point at it" })), parts.picture, parts.at);
      parts.stage = el("div", { class: "gm-stage gm-gaze-stage", style: `--size: ${props.size[1]} / ${props.size[0]}` });
      element.replaceChildren(side, parts.stage);
      watcher.disconnect();
      watcher.observe(parts.stage);
      chips();
    };
    const open = () => {
      if (state.entry !== props.entry) state = gm.gazes[family] = { ...blank(), entry: props.entry };
      layers = []; hover = null;
      build();
      ask();
    };
    const again = () => {
      if (!element.isConnected) return watcher.disconnect(), document.removeEventListener("gm:theme", again);
      pale = null;
      draw();
    };
    const watcher = new ResizeObserver(again);
    const off = gm.takenOf[family]?.on(() => { if (!element.isConnected) off?.(); else chips(); });
    document.addEventListener("gm:theme", again);
    open();
    watch(["entry"], open);
  };
})();
