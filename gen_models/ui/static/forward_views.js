/* Three views of the forward process: the equation x_t = alpha x0 + sigma eps in pictures, schedules side by side, and
   the loss at each time. `c` is described in forward.js. */
(() => {
  const gm = window.gm, el = gm.el, LIMIT = 4.5;

  /** The picture (or cloud) alpha x0 + sigma eps on a square canvas of `side` CSS pixels. */
  const mixed = (c, canvas, side, alpha, sigma, color, most = 4) => {
    const given = c.given, sharp = devicePixelRatio || 1, full = Math.round(side * sharp), gap = Math.round(4 * sharp);
    if (!given || !side) return;
    const count = Math.min(given.count, most), columns = count > 1 ? 2 : 1, line = most === 2 && c.props.kind !== "points"; // a row, or a square
    const width = line ? full * columns + gap * (columns - 1) : full;
    if (canvas.width !== width || canvas.height !== full) { canvas.width = width; canvas.height = full; }
    const pen = canvas.getContext("2d");
    pen.clearRect(0, 0, width, full);
    if (c.props.kind === "points") {
      const to = (v) => ((v / LIMIT + 1) / 2) * full, radius = Math.max(1.4 * sharp, full / 260);
      pen.fillStyle = gm.color(color); pen.globalAlpha = 0.6;
      for (let k = 0; k < 2 * given.count; k += 2) {
        const [x, y] = [0, 1].map((j) => (alpha * given.x0[k + j] + sigma * given.eps[k + j]) / 3000);
        pen.beginPath(); pen.arc(to(x), to(-y), radius, 0, 7); pen.fill();
      }
      pen.globalAlpha = 1;
      return;
    }
    const [channels, h, w] = given.shape, size = channels * h * w, wide = line ? full : Math.floor((full - gap * (columns - 1)) / columns);
    const small = document.createElement("canvas");
    small.width = w; small.height = h;
    pen.imageSmoothingEnabled = false;
    for (let n = 0; n < count; n++) {
      const out = new ImageData(w, h), plane = h * w;
      for (let p = 0; p < plane; p++) {
        for (let ch = 0; ch < 3; ch++) {
          const q = n * size + (channels > 1 ? ch : 0) * plane + p;
          out.data[4 * p + ch] = Math.round((alpha * (given.x0[q] / 127.5 - 1) + (sigma * given.eps[q]) / 3000 + 1) * 127.5); // clamped by the array
        }
        out.data[4 * p + 3] = 255;
      }
      small.getContext("2d").putImageData(out, 0, 0);
      const scale = Math.min(wide / w, wide / h);
      pen.drawImage(small, (n % columns) * (wide + gap), Math.floor(n / columns) * (wide + gap), w * scale, h * scale);
    }
  };
  const square = (c, key, title, color) => {
    const canvas = el("canvas", { role: "img", "data-part": key }), note = el("span", { class: "gm-muted" });
    const box = el("div", { class: `gm-view ${c.props.kind === "points" ? "gm-framed" : ""}` }, canvas);
    return { canvas, note, box, side: 0, node: el("figure", { class: "gm-track", "data-part": key }, el("figcaption", {}, c.title(title, color), note), box) };
  };
  const sized = (part, side) => { part.side = side; part.node.style.width = part.box.style.width = part.box.style.height = `${side}px`; };

  /* ---- noising ---- */
  gm.forwardViews.noising = (c) => {
    const parts = [square(c, "signal", "α x_0, what is left of the data", "real"), square(c, "noise", "σ ε, the noise", "latent"), square(c, "sum", "x_t, their sum", "ink")];
    const sign = (text) => el("span", { class: "gm-forward-sign", "aria-hidden": "true", text });
    const node = el("div", { class: "gm-forward-sum" }, parts[0].node, sign("+"), parts[1].node, sign("="), parts[2].node);
    return {
      node,
      layout: (width, high) => {
        const narrow = width < 620, side = narrow ? width : Math.floor(Math.min((width - 2 * 40) / 3, high - 30)), half = narrow ? Math.floor((width - 12) / 2) : side;
        [half, half, side].forEach((s, k) => sized(parts[k], s));
      },
      paint: () => {
        const { alpha, sigma } = c.levels();
        [[alpha, 0, "real"], [0, sigma, "latent"], [alpha, sigma, "ink"]].forEach(([a, s, color], k) => mixed(c, parts[k].canvas, parts[k].side, a, s, color));
        parts[0].note.textContent = `α = ${alpha.toFixed(2)}`; parts[1].note.textContent = `σ = ${sigma.toFixed(2)}`; parts[2].note.textContent = `t = ${c.t().toFixed(2)}`;
        const what = c.given?.words ?? "nothing yet";
        ["the data times alpha", "the noise times sigma", "their sum"].forEach((words, k) => parts[k].canvas.setAttribute("aria-label", `${what}: ${words}, at t = ${c.t().toFixed(3)}`));
      },
    };
  };

  /* ---- schedules ---- */
  gm.forwardViews.schedules = (c) => {
    const plots = [["α, the signal's share", "alpha"], ["σ, the noise's share", "sigma"], ["log-SNR, log α²/σ²", "snr"]].map(([title, key]) => gm.timePlot({ title, id: `${c.props.form}-plot-${key}`, height: 164 }));
    const row = el("div", { class: "gm-forward-row" }), node = el("div", { class: "gm-forward-schedules" }, el("div", { class: "gm-forward-plots" }, ...plots.map((plot) => plot.node)), row);
    let parts = [], drawn = "", room = [0, 0];
    const build = () => {
      parts = c.names().map((name) => ({ name, ...square(c, name, name === c.own() && name !== "its own" ? `${name}: this one` : name, name === c.own() ? "ink" : "muted") }));
      row.replaceChildren(...parts.map((part) => part.node));
      const x = Array.from({ length: 101 }, (_, k) => k / 100), every = (values) => Array.from(x, (_, k) => values[10 * k]);
      const lines = (r) => c.names().map((name) => ({ name, x, y: every(c.row(name, r)), kind: name === c.own() ? "main" : "other" }));
      plots[0].draw({ lines: lines(0), low: 0, high: 1 }); plots[1].draw({ lines: lines(1), low: 0, high: 1 }); plots[2].draw({ lines: lines(4), low: -10, high: 10 });
    };
    const sizes = () => {
      const [width, high] = room, n = Math.max(1, parts.length), narrow = width < 620;
      const two = c.props.kind !== "points" && (c.given?.count ?? 4) > 1, wide = (width - 16 * (n - 1)) / n, half = two ? (wide - 4) / 2 : wide;
      const side = narrow ? Math.floor(two ? (width - 4) / 2 : width / 2) : Math.floor(Math.max(120, Math.min(half, high - 164 - 28 - 28 - 12)));
      for (const part of parts) { sized(part, side); part.node.style.width = part.box.style.width = `${two ? 2 * side + 4 : side}px`; }
    };
    return {
      node,
      layout: (width, high) => { room = [width, high]; sizes(); },
      paint: () => {
        if (!c.own()) return;
        const now = [c.names(), c.own(), c.given?.count].join();
        if (drawn !== now) { drawn = now; build(); sizes(); }
        for (const part of parts) {
          const { alpha, sigma, snr } = c.levels(part.name);
          mixed(c, part.canvas, part.side, alpha, sigma, "ink", 2);
          part.note.textContent = c.decibels(snr);
          part.canvas.setAttribute("aria-label", `x_t at t = ${c.t().toFixed(3)} under the schedule ${part.name}, ${c.decibels(snr)}`);
        }
        plots.forEach((plot) => plot.cursor(c.t()));
      },
    };
  };

  /* ---- the loss at each time ---- */
  gm.forwardViews.loss = (c) => {
    const plot = gm.timePlot({ title: "mean squared error per number", id: `${c.props.form}-loss`, height: 380 });
    const chips = el("div", { class: "gm-several", role: "radiogroup", "aria-label": "measure" }), told = el("p", { class: "gm-forward-told", role: "status" });
    const log = el("button", { type: "button", class: "gm-button gm-tight", onclick: () => { c.state.log = !c.state.log; draw(); } });
    const node = el("div", { class: "gm-forward-loss" }, el("div", { class: "gm-forward-top" }, chips, log), plot.node, told);
    let drawn = null, shown = "";
    const measure = (v) => (c.state.measure in (v?.measures ?? {}) ? c.state.measure : v?.own ?? null);
    const draw = () => {
      const v = gm.plain(c.props.value), now = measure(v);
      drawn = c.props.value; shown = now;
      log.textContent = c.state.log ? "Linear" : "Logarithmic"; log.disabled = !v; log.title = v ? "" : "nothing is measured yet";
      if (!v) {
        chips.replaceChildren();
        told.textContent = "";
        return plot.draw({ lines: [], empty: "Press Measure the loss: the model's error on held-out data, from t = 0 (data) to t = 1 (noise)." });
      }
      const words = gm.plain(c.props.words);
      chips.replaceChildren(...Object.keys(v.measures).map((name) => {
        const chip = el("button", { type: "button", class: "gm-chip gm-toggle", role: "radio", "data-measure": name, "aria-checked": String(name === now), "aria-pressed": String(name === now), onclick: () => { c.state.measure = name; c.repaint(); } }, c.title(words[name]));
        if (name === v.own) chip.append(" · what it predicts");
        return chip;
      }));
      const curve = v.measures[now], x = v.times, flat = v.trivial[now];
      const lines = [{ name: "this model", x, y: curve.map((p) => p?.[0] ?? null), bars: curve.map((p) => p?.[1] ?? 0), dots: true, kind: "main", color: "generated" },
        { name: "best constant", x: [0, 1], y: [flat, flat], kind: "dashed", color: "muted" }];
      if (v.least) lines.push({ name: "exact: the least", x, y: v.least[now], kind: "dashed", color: "real" });
      plot.draw({ lines, log: Boolean(c.state.log), ...(c.state.log ? {} : { low: 0, high: 1.08 * Math.max(flat, ...curve.map((p) => (p ? p[0] + p[1] : 0))) }) });
      Object.assign(c.element.dataset, { measured: Math.min(...v.counts), wanted: v.wanted, measure: now });
    };
    const tell = () => {
      const v = c.props.value;
      if (!v) return plot.cursor(c.t());
      const times = gm.plain(v.times), k = times.reduce((best, t, i) => (Math.abs(t - c.t()) < Math.abs(times[best] - c.t()) ? i : best), 0), pair = gm.plain(v.measures[shown][k]);
      plot.cursor(c.t());
      const share = pair ? `${c.number(pair[0])} ± ${c.number(pair[1], 2)}, ${Math.round((100 * pair[0]) / v.trivial[shown])}% of what the best constant (${{ x0: "the data's mean", eps: "0", velocity: "minus the data's mean" }[shown]}) gives` : "not measured yet";
      told.textContent = `At t = ${times[k].toFixed(3)}: ${share}${v.least ? `; the least possible is ${c.number(gm.plain(v.least[shown])[k])}` : ""}. ${v.counts[k].toLocaleString("en")} held-out examples; bars are standard errors.`;
    };
    return {
      node,
      layout: (width, high) => plot.resize(Math.floor(Math.min(430, Math.max(220, high - 36 - 22 - 44 - 18)))),
      paint: () => { if (drawn !== c.props.value || shown !== measure(c.props.value) || !drawn) draw(); tell(); },
    };
  };
})();
