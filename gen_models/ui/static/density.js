/* Density: filled levels of log p over the plane, model and truth at the same levels, a cross-hair through all views.

   gm.contour(canvas, side, n, value, paint)    value(k) of node k of n x n (row by row from the top, NaN: not known yet)
     in bands; paint(band, k-th pixel's value) -> [r, g, b] or null. See below for the two paints in use.
   From Python: value (panels/density.py: Surface.sent), entry, data, preview, side, limit, bands, unit, saves. */
window.gm.densities = {}; // element id -> what outlives a change of tab
(() => {
  const gm = window.gm, el = gm.el;
  const rgb = (color) => [1, 3, 5].map((k) => parseInt(color.slice(k, k + 2), 16));
  const mixed = (a, b, share) => a.map((v, c) => v + (b[c] - v) * share);

  /** Values at n x n nodes as bands on a canvas of side x side pixels: ramp[0] below all levels, then one per level. */
  gm.contour = (canvas, side, n, values, ramp, faint = null) => {
    canvas.width = canvas.height = side;
    const pen = canvas.getContext("2d"), picture = pen.createImageData(side, side), out = picture.data, fine = new Float32Array(side * side);
    const shade = faint ? new Float32Array(side * side) : null;
    const at = Array.from({ length: side }, (_, k) => { const p = (k * (n - 1)) / (side - 1), low = Math.min(n - 2, Math.floor(p)); return [low, p - low]; });
    const between = (grid, row, down, column, right) => {
      const k = row * n + column;
      const high = grid[k] * (1 - right) + grid[k + 1] * right, low = grid[k + n] * (1 - right) + grid[k + n + 1] * right;
      return high * (1 - down) + low * down;
    };
    for (let y = 0, o = 0; y < side; y++) for (let x = 0; x < side; x++, o++) {
      fine[o] = between(values, ...at[y], ...at[x]);
      if (faint) shade[o] = between(faint, ...at[y], ...at[x]);
    }
    const last = ramp.length - 1, clip = (v) => Math.max(0, Math.min(last, v));
    for (let y = 0, o = 0; y < side; y++) for (let x = 0; x < side; x++, o++) {
      const v = fine[o];
      if (Number.isNaN(v)) continue; // transparent
      const right = x + 1 < side ? fine[o + 1] : fine[o - 1], below = y + 1 < side ? fine[o + side] : fine[o - side];
      const slope = Math.max(1e-6, Math.abs(right - v), Math.abs(below - v)); // of one pixel: an edge is as wide as that
      const base = Math.floor(v), edge = Math.min(1, (v - base) / slope);
      const high = ramp[clip(base)], low = ramp[clip(base - 1)], seen = faint ? shade[o] : 1;
      for (let c = 0; c < 3; c++) { const full = low[c] + (high[c] - low[c]) * edge; out[4 * o + c] = ramp.ground ? ramp.ground[c] + (full - ramp.ground[c]) * seen : full; }
      out[4 * o + 3] = 255;
    }
    pen.putImageData(picture, 0, 0);
  };
  /** From the card's colour to a semantic one; the densest go on towards the ink a little. */
  const ramp = (name, bands) => {
    const card = rgb(gm.color("card")), full = rgb(gm.color(name)), ink = rgb(gm.color("ink"));
    return Array.from({ length: bands + 1 }, (_, k) => {
      const share = k / bands;
      return share <= 0.8 ? mixed(card, full, (share / 0.8) ** 0.85) : mixed(full, ink, (share - 0.8) * 1.6);
    });
  };
  /* as render.difference: blue is less, orange is more; half a nat each, full at three */
  const STEPS = 13, ENDS = { light: [[0, 90, 181], [220, 100, 0]], dark: [[80, 160, 255], [255, 150, 60]] };
  const ends = () => ENDS[document.body.classList.contains("dark") ? "dark" : "light"];
  const signed = () => {
    const card = rgb(gm.color("card")), [less, more] = ends();
    const found = Array.from({ length: STEPS }, (_, k) => mixed(card, k < 6 ? less : more, Math.abs(k - 6) / 6));
    found.ground = card;
    return found;
  };
  const nats = (v, digits = 2) => (v === null ? "−∞" : `${v < 0 ? "−" : ""}${Math.abs(v).toFixed(digits)}`);
  const plus = (v, digits = 2) => (v === null ? "∞" : `${v < 0 ? "−" : "+"}${Math.abs(v).toFixed(digits)}`);

  gm.density = (element, props, server, trigger, watch) => {
    const n = props.side, limit = props.limit, bands = props.bands, id = element.id || "density";
    const state = (gm.densities[props.saves.PNG] ??= { difference: false, place: null });
    let truth = null, asked = 0, views = [], model = null, exactly = null;
    element.classList.add("gm-density");

    /* ---- numbers ---- */
    const opened = (text) => {
      const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0)), whole = new Int16Array(bytes.buffer);
      return Float32Array.from(whole, (v) => (v === -32768 ? NaN : v / props.unit));
    };
    const highest = () => truth?.top ?? props.value?.top ?? 0;
    const read = (values, [x, y]) => {
      const column = ((x / limit + 1) / 2) * (n - 1), row = ((1 - y / limit) / 2) * (n - 1);
      const c = Math.min(n - 2, Math.floor(column)), r = Math.min(n - 2, Math.floor(row)), k = r * n + c;
      const high = values[k] * (1 - column + c) + values[k + 1] * (column - c), low = values[k + n] * (1 - column + c) + values[k + n + 1] * (column - c);
      return high * (1 - row + r) + low * (row - r);
    };

    /* ---- the views ---- */
    const view = (key, title, color) => {
      const canvas = el("canvas", { role: "img" }), words = el("p", { class: "gm-void" }), before = el("img", { class: "gm-density-before", alt: "", hidden: true });
      const note = el("span", { class: "gm-muted" });
      const cross = [el("i", { class: "gm-cross-x" }), el("i", { class: "gm-cross-y" })];
      const box = el("div", { class: "gm-density-box", tabindex: 0, role: "group", "aria-label": `${title}: arrow keys move the cross-hair`, "data-view": key }, canvas, before, words, ...cross);
      const move = (event) => {
        const frame = box.getBoundingClientRect(), part = (v, from, size) => Math.max(-limit, Math.min(limit, ((v - from) / size * 2 - 1) * limit));
        go([part(event.clientX, frame.left, frame.width), -part(event.clientY, frame.top, frame.height)]);
      };
      box.onpointermove = move; box.onpointerdown = move;
      box.onkeydown = (event) => {
        const by = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key], step = event.shiftKey ? 0.5 : 0.05;
        if (!by) return;
        event.preventDefault(); event.stopPropagation();
        const [x, y] = state.place ?? [0, 0], inside = (v) => Math.max(-limit, Math.min(limit, v));
        go([inside(x + by[0] * step), inside(y + by[1] * step)]);
      };
      return { key, title, canvas, words, before, note, box, cross, color,
        node: el("figure", { class: "gm-track" }, el("figcaption", {}, el("b", { style: `color: var(--gm-${color})`, text: title }), note), box) };
    };
    const void_ = (v, text, picture = "") => {
      v.words.textContent = text; v.words.hidden = !text;
      v.before.hidden = !picture;
      if (picture) v.before.src = picture;
      v.canvas.hidden = Boolean(text);
    };
    const paint = (v) => {
      const side = Math.round(v.side * (devicePixelRatio || 1)), lowest = highest() - bands;
      if (!side) return;
      const level = (values) => values.map((value) => value - lowest + 1);
      if (v.key === "model") {
        v.note.textContent = model && props.value.side < n ? `${props.value.side || "…"} × ${props.value.side || "…"} so far` : model && !props.value.exact ? `a lower bound, ${props.value.draws} draws` : "";
        if (!model) return void_(v, props.entry ? "These are its samples. Press Draw for the density." : "This entry has no density over the plane. Choose another one.", props.preview);
        void_(v, "");
        gm.contour(v.canvas, side, n, level(model), ramp("generated", bands));
        v.canvas.setAttribute("aria-label", `log-density of ${props.entry} over the plane, ${bands} levels of one nat up to ${highest()}`);
      } else if (v.key === "truth") {
        v.note.textContent = truth?.values ? props.data : "";
        if (truth?.values) {
          void_(v, "");
          gm.contour(v.canvas, side, n, level(truth.values), ramp("real", bands));
          v.canvas.setAttribute("aria-label", `true log-density of ${props.data}, at the same levels`);
        } else if (truth?.points) {
          void_(v, "");
          gm.cloud(v.canvas, [[truth.points, "real", 0.6]], limit);
          v.canvas.setAttribute("aria-label", `${truth.points.length} held-out points`);
        } else void_(v, truth ? "The true density of points that were drawn or brought is not known, and the points themselves are not kept." : "…");
      } else {
        v.note.textContent = "log p of the model − truth";
        if (!model || !truth?.values) return void_(v, model ? "Without a true density there is no difference." : "Press Draw.");
        void_(v, "");
        const less = (value, k) => (value - truth.values[k]) / 0.5 + 6.5;
        gm.contour(v.canvas, side, n, model.map(less), signed(), model.map((value, k) => Math.max(0, Math.min(1, (Math.max(value, truth.values[k]) - lowest) / 1.5))));
        v.canvas.setAttribute("aria-label", `difference of the log-densities of ${props.entry} and ${props.data}; faint where both are low`);
      }
    };

    /* ---- the cross-hair ---- */
    const pump = gm.pump(server.at, (found, sent) => { exactly = { place: sent.place, found }; tell(); }, () => {}, 1);
    const go = (place) => {
      state.place = place;
      mark(); tell();
      if (model && props.value.side === n) pump.put({ entry: props.entry, x: place[0], y: place[1], place, draws: props.value.draws });
    };
    const mark = () => {
      for (const v of views) {
        for (const line of v.cross) line.hidden = !state.place;
        if (!state.place) continue;
        v.cross[0].style.left = `${((state.place[0] / limit + 1) / 2) * 100}%`;
        v.cross[1].style.top = `${((1 - state.place[1] / limit) / 2) * 100}%`;
      }
    };
    const told = el("p", { class: "gm-density-told", role: "status" });
    const pair = (name, text, color) => el("span", {}, el("span", { class: "gm-muted", text: `${name} ` }), el("b", { style: color ? `color: var(--gm-${color})` : null, text }));
    const tell = () => {
      if (!state.place) return told.replaceChildren(el("span", { class: "gm-muted", text: "Move over a picture, tap it, or use the arrow keys: log p of model and truth at that place." }));
      const [x, y] = state.place, sure = exactly?.place.join() === state.place.join() && model ? exactly.found : null;
      const low = (v) => (v !== undefined && v <= -60 ? null : v);
      const p = sure ? sure.model : model ? read(model, state.place) : undefined, q = sure ? sure.truth : truth?.values ? low(read(truth.values, state.place)) : undefined;
      const parts = [pair("at", `(${nats(x)}, ${nats(y)})`)];
      if (p !== undefined && !Number.isNaN(p)) parts.push(pair(props.value.exact ? "model log p" : "model log p ≥", `${sure ? "" : "≈ "}${nats(low(p))} nats`, "generated"));
      if (truth?.values) parts.push(pair("truth", `${nats(q)} nats`, "real"));
      if (p !== undefined && !Number.isNaN(p) && truth?.values) parts.push(pair("difference", q === null ? "+∞" : `${plus(p - q)} nats`));
      told.dataset.sure = Boolean(sure);
      return told.replaceChildren(...parts);
    };

    /* ---- below the views ---- */
    const legend = el("div", { class: "gm-density-legend" }), numbers = el("div", { class: "gm-density-numbers", role: "group", "aria-label": "figures" });
    const toggle = el("button", { type: "button", class: "gm-chip gm-toggle", text: "Difference", onclick: () => { state.difference = !state.difference; build(); } });
    const save = el("button", { type: "button", class: "gm-button", text: "PNG", onclick: () => document.getElementById(props.saves.PNG)?.click() });
    const key = () => {
      const both = [ramp("generated", bands), ...(truth?.values ? [ramp("real", bands)] : [])];
      const color = ([r, g, b]) => `rgb(${r | 0} ${g | 0} ${b | 0})`;
      const swatch = (k) => el("span", { class: "gm-band" }, ...both.map((one) => el("i", { style: `background: ${color(one[k])}` })), el("small", { text: k ? nats(highest() - bands + k - 1, 0) : "" }));
      const known = model || truth?.values;
      legend.replaceChildren(
        el("span", { class: "gm-bands", role: "img", "aria-label": `levels from ${highest() - bands} to ${highest()} nats, one nat each` }, ...(known ? Array.from({ length: bands + 1 }, (_, k) => swatch(k)) : [])),
        el("span", { class: "gm-muted", text: "log p, a nat for each band" }),
        ...(state.difference ? [el("div", { class: "gm-recon-bar gm-density-signed" }, el("span", { text: "model lower" }), el("i", { style: `background: linear-gradient(to right, ${color(ends()[0])}, var(--gm-card), ${color(ends()[1])})` }), el("span", { text: "higher by 3 nats" }))] : []));
    };
    const figure = (name, value, note, color) => el("div", { class: "gm-stat" }, el("span", { class: "gm-muted", text: name }), el("b", { style: color ? `color: var(--gm-${color})` : null, text: value }), el("small", { class: "gm-muted", text: note }));
    const stats = () => {
      const f = props.value?.figures, within = ([value, error]) => [value.toFixed(3), `± ${error.toFixed(3)} nats`];
      const most = props.value && !props.value.exact;
      const whole = props.value?.mass ?? null, all = truth?.mass ?? null;
      numbers.replaceChildren(
        figure("held-out NLL, model", ...(f ? [`${most ? "≤ " : ""}${within(f.nll)[0]}`, `${within(f.nll)[1]}, n = ${f.n.toLocaleString("en")}`] : ["—", model ? "" : "press Draw"]), "generated"),
        figure("NLL of the truth", ...(f?.truth ? [within(f.truth)[0], `${within(f.truth)[1]}, same points`] : ["—", truth?.values ? "" : "not known"]), "real"),
        figure("gap to the truth", ...(f?.gap ? [`${most ? "≤ " : ""}${plus(f.gap[0], 3)}`, within(f.gap)[1]] : ["—", ""])),
        figure("probability in the view", whole === null ? "—" : whole.toFixed(3), most ? "not for a bound" : whole === null ? "once all is drawn" : all === null ? "" : `the truth has ${all.toFixed(3)}`));
    };

    /* ---- building ---- */
    const layout = () => {
      const width = Math.floor(element.getBoundingClientRect().width), narrow = width < 620, gap = 16, count = views.length;
      if (!width) return;
      const above = element.getBoundingClientRect().top + scrollY, below = element.querySelector(".gm-density-under").offsetHeight + 92;
      const side = narrow ? width : Math.floor(Math.min((width - gap * (count - 1)) / count, Math.max(260, innerHeight - above - below)));
      for (const v of views) { v.side = side; v.node.style.width = v.box.style.width = v.box.style.height = `${side}px`; }
    };
    const draw = () => { model = props.value?.model ? opened(props.value.model) : null; views.forEach(paint); mark(); tell(); key(); stats(); shade(); };
    const shade = () => {
      save.disabled = !model; save.title = model ? "both pictures as one PNG, with its recipe" : "nothing to save yet: press Draw";
      toggle.setAttribute("aria-pressed", String(state.difference));
      toggle.disabled = Boolean(truth && !truth.values); toggle.title = toggle.disabled ? "without a true density there is no difference" : "a third picture: where the model has more than the truth, and where less";
      Object.assign(element.dataset, { side: props.value?.side ?? 0, share: props.value?.share ?? 0, truth: truth?.values ? "density" : truth?.points ? "points" : truth ? "none" : "" });
    };
    const build = () => {
      views = [view("model", "model", "generated"), view("truth", truth && !truth.values && truth.points ? "held-out points" : "truth", "real"), ...(state.difference ? [view("difference", "difference", "ink")] : [])];
      element.replaceChildren(el("div", { class: "gm-tracks" }, ...views.map((v) => v.node)),
        el("div", { class: "gm-density-under" }, el("div", { class: "gm-density-bar" }, told, toggle, save), el("div", { class: "gm-density-foot" }, legend, numbers)));
      key(); stats(); tell(); layout(); draw(); // the pictures get the height that the lines below leave
    };
    const open = async () => {
      const mine = ++asked, entry = props.entry;
      truth = null; exactly = null;
      build();
      if (!entry) return;
      for (;;) {
        const answer = await gm.ask(server.truth, { entry });
        if (mine !== asked || !element.isConnected) return;
        if (answer.busy) { await new Promise((done) => setTimeout(done, 300)); continue; }
        const found = answer.value ?? {};
        truth = { top: found.top ?? null, mass: found.mass ?? null, values: found.values ? opened(found.values) : null, points: found.points ? gm.pointsOf(found.points) : null };
        return build();
      }
    };
    const again = () => {
      if (!element.isConnected) return watcher.disconnect(), document.removeEventListener("gm:theme", again), removeEventListener("resize", again);
      layout(); draw();
    };
    let seen = 0;
    const watcher = new ResizeObserver(() => { if (element.clientWidth !== seen) { seen = element.clientWidth; again(); } });
    watcher.observe(element);
    addEventListener("resize", again);
    document.addEventListener("gm:theme", again);
    open();
    watch("value", () => { exactly = null; draw(); });
    watch(["entry"], open);
  };
})();
