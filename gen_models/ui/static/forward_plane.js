/* The field of a denoiser of the plane: arrows, learned and exact, over the density of x_t; how far the guess is off; and
   the paths of solvers from the same noise. `c` is described in forward.js; the data is that of panels/plane_field.py. */
(() => {
  const gm = window.gm, el = gm.el;
  const WHAT = { velocity: "velocity dx/dt", score: "score", x0: "to x̂_0" };
  const SHADES = 48, COLORS = ["ink", "latent", "critic", "generated", "real", "muted"], DASHES = [[], [6, 3], [2, 3], [9, 3, 2, 3], [4, 4], [1, 2]];
  const rgb = (color) => [1, 3, 5].map((k) => parseInt(color.slice(k, k + 2), 16));
  const ramp = (name, bands, most) => {
    const card = rgb(gm.color("card")), full = rgb(gm.color(name));
    return Array.from({ length: bands + 1 }, (_, k) => card.map((v, i) => v + (full[i] - v) * most * (k / bands)));
  };

  gm.forwardViews.field = (c) => {
    const view = (key, title, color) => {
      const canvas = el("canvas", { role: "img", "data-part": key }), note = el("span", { class: "gm-muted" }), empty = el("p", { class: "gm-void", hidden: true });
      const box = el("div", { class: "gm-view gm-framed" }, canvas, empty);
      const below = el("div", { class: "gm-forward-legend" });
      return { canvas, note, empty, box, below, side: 0, node: el("figure", { class: "gm-track" }, el("figcaption", {}, c.title(title, color), note), box, below) };
    };
    const arrows = view("arrows", "learned and exact"), off = view("off", "x̂_0, learned − exact"), paths = view("paths", "paths, one noise");
    const all = [arrows, off, paths], layer = document.createElement("canvas");
    let field = null, walked = null, asked = 0, painted = "";

    const wait = (text) => { for (const v of [arrows, off]) { v.empty.textContent = text; v.empty.hidden = !text; } };

    /* ---- what is asked ---- */
    const open = async () => {
      if (field) return;
      const mine = ++asked;
      wait("Comparing at 40 times …");
      for (;;) {
        const answer = await gm.ask(c.server.field, { entry: c.props.entry });
        if (mine !== asked || !c.element.isConnected || c.state.view !== "field") return;
        if (answer.error) return wait(""), c.fail(answer.error);
        if (answer.busy || answer.value.waiting) { await new Promise((done) => setTimeout(done, 300)); continue; }
        const v = answer.value, points = (text) => (text ? c.shorts(text) : null);
        field = { ...v, places: points(v.places), learned: points(v.learned), exact: points(v.exact), density: v.density ? c.bytes(v.density) : null, off: v.off ? c.bytes(v.off) : null };
        wait("");
        return c.repaint();
      }
    };
    const pump = gm.pump(c.server.paths, (found, sent) => {
      if (sent.entry !== c.props.entry) return;
      c.fail("");
      walked = { ...found, solvers: Object.entries(found.solvers).map(([name, one]) => ({ name, times: gm.plain(one.times), calls: one.calls, points: c.shorts(one.points) })) };
      c.element.dataset.paths = walked.solvers.map((one) => one.name).join(" ");
      c.element.dataset.steps = walked.steps;
      c.repaint();
    }, c.fail, 1);
    const walk = () => { const { seed, solvers, steps, particles } = c.form(); pump.put({ entry: c.props.entry, seed: seed ?? 0, solvers, steps, particles }); };
    const moment = () => field.times.reduce((best, t, k) => (Math.abs(t - c.t()) < Math.abs(field.times[best] - c.t()) ? k : best), 0);

    /* ---- drawing ---- */
    const pen = (v) => {
      const full = Math.round(v.side * (devicePixelRatio || 1));
      if (v.canvas.width !== full) v.canvas.width = v.canvas.height = full;
      const p = v.canvas.getContext("2d");
      p.setTransform(1, 0, 0, 1, 0, 0);
      p.clearRect(0, 0, full, full);
      return p;
    };
    const part = (array, k) => { const n = field.side ** 2; return Array.from(array.subarray(k * n, (k + 1) * n), (v) => v / 255); };
    const ground = (p, side, k, most) => {
      if (!field?.density) return;
      gm.contour(layer, side, field.side, part(field.density, k).map((v) => v * field.bands + 1 - 1e-6), ramp("real", field.bands, most));
      p.drawImage(layer, 0, 0);
    };
    /** Where the arrows of a guess of x0 lead from their places: the chosen quantity at time k. */
    const leads = (guess, k) => {
      const { alpha, sigma, rates } = c.levels(undefined, field.times[k]), n = field.places.length, found = new Float32Array(n);
      for (let i = 0; i < n; i++) {
        const x = field.places[i] / 3000, x0 = guess[k * n + i] / 3000, eps = (x - alpha * x0) / sigma;
        found[i] = c.state.arrows === "velocity" ? rates[0] * x0 + rates[1] * eps : c.state.arrows === "score" ? -eps / sigma : x0 - x;
      }
      return found;
    };
    const lengths = (v) => Array.from({ length: v.length / 2 }, (_, i) => Math.hypot(v[2 * i], v[2 * i + 1]));
    const arrow = (p, x, y, dx, dy, head) => {
      const long = Math.hypot(dx, dy);
      if (long < 0.5) return;
      const [ux, uy] = [dx / long, dy / long], h = Math.min(head, 0.6 * long);
      p.beginPath(); p.moveTo(x, y); p.lineTo(x + dx, y + dy); p.stroke();
      p.beginPath(); p.moveTo(x + dx, y + dy);
      p.lineTo(x + dx - h * (ux - 0.5 * uy), y + dy - h * (uy + 0.5 * ux)); p.moveTo(x + dx, y + dy); p.lineTo(x + dx - h * (ux + 0.5 * uy), y + dy - h * (uy - 0.5 * ux));
      p.stroke();
    };
    const drawArrows = (k) => {
      const p = pen(arrows), full = arrows.canvas.width, sharp = devicePixelRatio || 1, to = (v) => ((v / field.limit + 1) / 2) * full;
      ground(p, full, k, 0.45);
      const layers = [...(field.exact ? [[leads(field.exact, k), "real", 3.4]] : []), [leads(field.learned, k), "generated", 1.5]];
      const sorted = lengths(layers[0][0]).sort((a, b) => a - b), longest = sorted[Math.floor(0.98 * (sorted.length - 1))] || 1, unit = (full / 13) * 1.05 / longest;
      p.lineCap = "round";
      for (const [v, color, wide] of layers) {
        p.strokeStyle = gm.color(color); p.lineWidth = wide * sharp;
        for (let i = 0; i < v.length; i += 2) {
          const scale = unit * Math.min(1, (1.5 * longest) / (Math.hypot(v[i], v[i + 1]) || 1));
          arrow(p, to(field.places[i] / 3000), to(-field.places[i + 1] / 3000), v[i] * scale, -v[i + 1] * scale, 5 * sharp);
        }
      }
      arrows.note.textContent = `longest ${c.number(longest)}`;
      arrows.canvas.setAttribute("aria-label", `arrows of the ${WHAT[c.state.arrows].replace("_", "")} at t = ${field.times[k].toFixed(3)}: learned${field.exact ? " over exact" : ""}`);
    };
    const drawOff = (k) => {
      off.empty.hidden = Boolean(field.off); off.canvas.hidden = !field.off;
      off.empty.textContent = "The density of this data is not known: there is nothing exact to compare with.";
      if (!field.off) return;
      const p = pen(off), full = off.canvas.width, steps = ramp("critic", SHADES, 1);
      steps.ground = rgb(gm.color("card"));
      const faint = part(field.density, k).map((v) => Math.min(1, 0.12 + 2 * v));
      gm.contour(layer, full, field.side, part(field.off, k).map((v) => SHADES * v + 1 - 1e-6), steps, faint);
      p.drawImage(layer, 0, 0);
      off.note.textContent = `RMSE ${c.number(field.rmse[k])}`;
      off.canvas.setAttribute("aria-label", `distance of the learned from the exact guess at t = ${field.times[k].toFixed(3)}: root mean square ${c.number(field.rmse[k])} over noised data`);
      c.element.dataset.rmse = field.rmse[k];
    };
    const place = (one, t) => { // the last step that was taken by the time t
      let k = 0;
      while (k + 1 < one.times.length && one.times[k + 1] >= t - 1e-9) k++;
      return k;
    };
    const drawPaths = (k) => {
      const p = pen(paths), full = paths.canvas.width, sharp = devicePixelRatio || 1, limit = field?.limit ?? 4.5, to = (v) => ((v / 3000 / limit + 1) / 2) * full;
      if (field) ground(p, full, k, 0.3);
      if (!walked) return;
      p.lineJoin = "round";
      walked.solvers.forEach((one, s) => {
        const now = place(one, c.t()), n = walked.n, xy = (step, i) => [to(one.points[2 * (step * n + i)]), to(-one.points[2 * (step * n + i) + 1])];
        p.strokeStyle = p.fillStyle = gm.color(COLORS[s % COLORS.length]);
        p.setLineDash(DASHES[s % DASHES.length].map((v) => v * sharp)); p.lineWidth = 1.3 * sharp;
        for (const [from, until, alpha] of [[now, one.times.length - 1, 0.16], [0, now, 0.85]]) {
          p.globalAlpha = alpha;
          for (let i = 0; i < n; i++) {
            p.beginPath();
            for (let step = from; step <= until; step++) p.lineTo(...xy(step, i));
            p.stroke();
          }
        }
        p.setLineDash([]); p.globalAlpha = 1;
        for (let i = 0; i < n; i++) { p.beginPath(); p.arc(...xy(now, i), 2.4 * sharp, 0, 7); p.fill(); }
      });
      paths.note.textContent = `${walked.n} each (network calls)`;
      paths.canvas.setAttribute("aria-label", `paths of ${walked.n} particles by ${walked.solvers.map((one) => one.name).join(", ")} in ${walked.steps} steps, up to t = ${c.t().toFixed(3)}`);
    };

    /* ---- legends ---- */
    const line = (color, dash, text) => el("span", { class: "gm-forward-key" }, el("i", { style: `border-top: 3px ${dash ? "dashed" : "solid"} var(--gm-${color})` }), text);
    const chips = el("div", { class: "gm-several", role: "radiogroup", "aria-label": "what the arrows are" });
    const legends = (k) => {
      chips.replaceChildren(...Object.entries(WHAT).map(([key, text]) => el("button", { type: "button", class: "gm-chip gm-toggle", role: "radio", "data-arrows": key, "aria-checked": String(key === c.state.arrows), "aria-pressed": String(key === c.state.arrows), onclick: () => { c.state.arrows = key; painted = ""; c.repaint(); } }, c.title(text))));
      arrows.below.replaceChildren(chips, el("div", { class: "gm-forward-keys gm-muted" }, line("generated", false, "learned"), ...(field?.exact ? [line("real", false, "exact; the density of xₜ")] : [])));
      off.below.replaceChildren(...(field?.off ? [el("p", { class: "gm-muted", text: `The exact guess itself is ${c.number(field.least[k])} from x₀ (RMS over noised data). Faint where xₜ hardly ever lies; full colour: ${field.far} or more.` })] : []));
      const shown = c.element.closest(".gm-columns")?.querySelector("#" + CSS.escape(`${c.props.form}-solvers`));
      const titles = Object.fromEntries([...(shown?.querySelectorAll("[data-choice]") ?? [])].map((chip) => [chip.dataset.choice, chip.textContent]));
      paths.below.replaceChildren(el("div", { class: "gm-forward-keys gm-muted" }, ...(walked?.solvers ?? []).map((one, s) => line(COLORS[s % COLORS.length], DASHES[s % DASHES.length].length, `${titles[one.name] ?? one.name} (${one.calls})`))));
    };
    return {
      way: -1, // a path is walked from t = 1 to t = 0
      node: el("div", { class: "gm-tracks gm-forward-plane" }, ...all.map((v) => v.node)),
      start: () => { if (c.state.at < 20) c.state.at = 500; open(); walk(); },
      asked: (changed) => { if (["seed", "solvers", "steps", "particles", null].includes(changed)) walk(); },
      layout: (width, high) => {
        const narrow = width < 620, side = narrow ? width : Math.floor(Math.min((width - 32) / 3, high - 30 - 68));
        for (const v of all) { v.side = side; v.node.style.width = v.box.style.width = v.box.style.height = `${side}px`; }
      },
      paint: () => {
        const k = field ? moment() : 0;
        if (field && c.own()) { drawArrows(k); drawOff(k); }
        drawPaths(k);
        const now = [k, c.state.arrows, Boolean(field), c.element.dataset.paths, c.element.dataset.steps, walked?.n].join();
        if (now !== painted) { painted = now; legends(k); }
      },
    };
  };
})();
