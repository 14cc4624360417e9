/* The forward process: four views of one time t, which a slider scrubs without a request.

   From Python (panels/forward.py): value (what `_losses` gives, or null), entry, kind, title, pad, form, words; server
   functions given, schedules, field, paths. Each view is gm.forwardViews[name](c) -> {node, paint(), layout(side), start};
   `c` is what is defined below. Views: forward_views.js (noising, schedules, loss), forward_plane.js (field). */
window.gm.forwards = {}; // form -> {view, at, measure}: outlives a change of tab
window.gm.forwardViews = {};
window.gm.forward = (element, props, server, trigger, watch) => {
  const gm = window.gm, el = gm.el, N = 1000, THUMB = 16;
  const state = (gm.forwards[props.form] ??= { view: "noising", at: 350, measure: null, arrows: "velocity" });
  let views = {}, tables = {}, own = "", playing = false, clock = 0, entry = null, opened = 0;
  element.classList.add("gm-forward", "gm-player");

  /* ---- what views ask ---- */
  const bytes = (text) => Uint8Array.from(atob(text), (ch) => ch.charCodeAt(0));
  const c = {
    element, props, server, state, bytes,
    floats: (text) => new Float32Array(bytes(text).buffer),
    shorts: (text) => new Int16Array(bytes(text).buffer),
    form: () => gm.forms[props.form]?.value() ?? {},
    names: () => Object.keys(tables), own: () => own,
    row: (name, k) => tables[name]?.subarray(k * (N + 1), (k + 1) * (N + 1)), // alpha, sigma, their rates, log-SNR
    t: () => state.at / N,
    /** alpha, sigma, d alpha / dt, d sigma / dt and the log-SNR of a schedule, now or at a time. */
    levels: (name = own, t = state.at / N) => {
      const k = Math.round(t * N), v = (r) => tables[name]?.[r * (N + 1) + k] ?? (r === 0 ? 1 : 0);
      return { alpha: v(0), sigma: v(1), rates: [v(2), v(3)], snr: tables[name] ? v(4) : Infinity };
    },
    decibels: (snr) => (Number.isFinite(snr) ? `${((10 / Math.LN10) * snr).toFixed(1).replace("-", "−")} dB` : snr > 0 ? "∞ dB" : "−∞ dB"),
    number: (v, digits = 3) => (Number.isFinite(v) ? (Math.abs(v) >= 1e4 || (v && Math.abs(v) < 1e-3) ? v.toExponential(1) : String(+v.toPrecision(digits))).replace("-", "−") : v > 0 ? "∞" : "−∞"),
    given: null, // {x0, eps, count, shape, words}: what is noised
    fail: (text) => { parts.message.textContent = text; parts.message.hidden = !text; },
    title: (text, color) => {
      const title = el("b", { style: color ? `color: var(--gm-${color})` : null });
      text.split(/_(\w)/).forEach((part, k) => title.append(k % 2 ? el("sub", { text: part }) : part));
      return title;
    },
    repaint: () => paint(),
  };
  const offered = () => [["noising", "Noising"], ["schedules", "Schedules"], ["loss", "Loss at each time"], ...(props.kind === "points" ? [["field", "Learned and exact field"]] : [])];
  const current = () => views[state.view];

  /* ---- the bar of time ---- */
  const button = (text, onclick) => el("button", { type: "button", class: "gm-button", text, onclick });
  const range = el("input", { type: "range", class: "gm-range", min: 0, max: N, step: 1, id: `${props.form}-t`, "aria-label": "time t" });
  const stat = (name, key) => { const b = el("b", { "data-level": key }); return [el("span", { class: "gm-forward-stat" }, el("span", { class: "gm-muted", text: name }), b), b]; };
  const [alphaBox, alphaText] = stat("α", "alpha"), [sigmaBox, sigmaText] = stat("σ", "sigma"), [snrBox, snrText] = stat("SNR α²/σ²", "snr"), [dbBox, dbText] = stat("in decibels", "db"), [logBox, logText] = stat("log-SNR", "log");
  const parts = {
    play: button("Play", () => play()), pause: button("Pause", () => stop()), step: button("Step", () => { stop(); go(state.at + 20 * way()); }), reset: button("Reset", () => { stop(); go(way() > 0 ? 0 : N); }),
    count: el("b", { class: "gm-count", id: `${props.form}-count` }), curves: el("canvas", { class: "gm-curves gm-forward-curves", role: "img", "aria-label": "alpha and sigma over t" }),
    message: el("p", { class: "gm-wrong", role: "alert", hidden: true }), body: el("div", { class: "gm-forward-body" }), switch: el("div", { class: "gm-several gm-forward-switch", role: "radiogroup", "aria-label": "view" }),
  };
  const way = () => current()?.way ?? 1;
  const go = (at) => { state.at = Math.min(N, Math.max(0, Math.round(at))); paint(); };
  const stop = () => { if (playing) { playing = false; paint(); } };
  const play = () => {
    if (playing || !own) return;
    if (state.at === (way() > 0 ? N : 0)) state.at = way() > 0 ? 0 : N;
    playing = true; clock = performance.now();
    requestAnimationFrame(tick);
    paint();
  };
  const tick = (now) => {
    if (!element.isConnected) playing = false;
    if (!playing) return;
    const jump = Math.floor((now - clock) / 6) * (gm.films.speed ?? 1); // six seconds for the whole way at speed 1
    if (Math.abs(jump) >= 1) {
      clock = now;
      if (state.at + way() * jump >= N || state.at + way() * jump <= 0) playing = false;
      go(state.at + way() * jump);
    }
    requestAnimationFrame(tick);
  };
  range.oninput = () => { playing = false; go(Number(range.value)); };
  const curves = () => {
    const canvas = parts.curves, sharp = devicePixelRatio || 1, width = canvas.clientWidth, height = 44;
    if (!width || !own) return;
    canvas.width = width * sharp; canvas.height = height * sharp;
    const pen = canvas.getContext("2d"), x = (k) => THUMB / 2 + (k / N) * (width - THUMB), y = (v) => 3 + (1 - v) * (height - 6);
    pen.scale(sharp, sharp);
    pen.font = `12.5px ${getComputedStyle(element).fontFamily}`;
    [["real", "α, signal", 0], ["latent", "σ, noise", 1]].forEach(([color, name, r]) => {
      const row = c.row(own, r);
      pen.strokeStyle = pen.fillStyle = gm.color(color);
      pen.lineWidth = 2;
      pen.beginPath();
      for (let k = 0; k <= N; k += 5) pen.lineTo(x(k), y(row[k]));
      pen.stroke();
      const wide = pen.measureText(name).width, left = r === 0, k = left ? Math.round((wide / width) * N) + 10 : N - Math.round((wide / width) * N) - 10;
      pen.fillText(name, left ? x(0) + 4 : x(N) - wide - 4, Math.min(height - 4, Math.max(y(row[left ? 0 : N]), y(row[k])) + 15));
    });
    pen.strokeStyle = gm.color("ink"); pen.lineWidth = 1;
    pen.setLineDash([3, 3]);
    pen.beginPath(); pen.moveTo(x(state.at), 0); pen.lineTo(x(state.at), height); pen.stroke();
  };

  /* ---- drawing ---- */
  const paint = () => {
    if (!entry) return;
    const { alpha, sigma, snr } = c.levels(), t = c.t();
    const fixed = (v, digits) => (!own ? "—" : Number.isFinite(v) ? v.toFixed(digits).replace("-", "−") : c.number(v));
    parts.count.textContent = `t = ${t.toFixed(3)}`;
    range.value = state.at; range.style.setProperty("--at", `${t * 100}%`); range.setAttribute("aria-valuetext", `t = ${t.toFixed(3)}`);
    alphaText.textContent = fixed(alpha, 3); sigmaText.textContent = fixed(sigma, 3); logText.textContent = fixed(snr, 2);
    snrText.textContent = own ? c.number(Math.exp(snr)) : "—"; dbText.textContent = own ? c.decibels(snr) : "—";
    const allow = (one, why) => { one.disabled = Boolean(why); one.title = why; };
    allow(parts.play, !own ? "the schedule is not here yet" : playing ? "it is playing" : ""); allow(parts.pause, playing ? "" : "it is not playing");
    curves();
    if (own) current()?.paint(); // before that, what a time means is not known
    Object.assign(element.dataset, { view: state.view, t: t.toFixed(3), own });
  };
  const show = (name) => {
    state.view = offered().some(([key]) => key === name) ? name : "noising";
    playing = false;
    parts.switch.replaceChildren(...offered().map(([key, text]) => el("button", { type: "button", class: "gm-chip gm-toggle", role: "radio", "data-view": key, "aria-checked": String(key === state.view), "aria-pressed": String(key === state.view), text, onclick: () => show(key) })));
    views[state.view] ??= gm.forwardViews[state.view](c);
    parts.body.replaceChildren(current().node);
    layout(); current().start?.(); paint();
  };
  const layout = () => {
    const width = Math.floor(element.getBoundingClientRect().width);
    if (!width || !current()) return;
    const above = parts.body.getBoundingClientRect().top + scrollY, below = element.querySelector(".gm-timeline").offsetHeight + 56;
    current().layout?.(width, Math.max(250, innerHeight - above - below));
  };

  /* ---- what is asked ---- */
  const wanted = () => {
    const { seed, first } = c.form(), drawn = props.kind === "image" ? gm.pads[props.pad]?.value() ?? null : null;
    return { entry: props.entry, seed: seed ?? 0, first: first ?? 0, ...(drawn ? { drawn } : {}) };
  };
  const pump = gm.pump(server.given, (found, asked) => {
    if (asked.entry !== props.entry) return;
    if (found.waiting) { parts.words.textContent = `${found.words} …`; return void setTimeout(ask, 400); }
    c.fail("");
    c.given = { ...found, eps: c.shorts(found.eps), x0: props.kind === "points" ? c.shorts(found.x0) : bytes(found.x0) };
    parts.words.textContent = found.words.split(" (")[0]; parts.words.title = found.words;
    element.dataset.given = found.words;
    paint();
  }, c.fail, 2);
  const ask = () => { if (props.entry && element.isConnected) pump.put(wanted()); };
  parts.words = el("span", { class: "gm-muted gm-forward-words" });

  const open = async () => {
    if (entry === props.entry) return;
    entry = props.entry;
    const mine = ++opened;
    views = {}; tables = {}; own = ""; c.given = null; c.fail("");
    document.getElementById(props.pad)?.classList.toggle("gm-behind", props.kind === "points");
    if (!entry) return element.replaceChildren(el("div", { class: "gm-nothing", text: "This entry has no forward process here: it does not denoise, or it is not trained yet. Choose another one." }));
    element.replaceChildren(el("div", { class: "gm-forward-top" }, parts.switch, parts.words), parts.message, parts.body,
      el("div", { class: "gm-timeline" }, el("div", { class: "gm-bar" }, parts.play, parts.pause, parts.step, parts.reset, parts.count, el("span", { class: "gm-forward-stats" }, alphaBox, sigmaBox, snrBox, dbBox, logBox)), parts.curves, range));
    show(props.value ? "loss" : state.view);
    ask();
    for (;;) {
      const answer = await gm.ask(server.schedules, { entry });
      if (mine !== opened || !element.isConnected) return;
      if (answer.busy) { await new Promise((done) => setTimeout(done, 200)); continue; }
      if (answer.error) return c.fail(answer.error);
      tables = Object.fromEntries(Object.entries(answer.value.tables).map(([name, text]) => [name, c.floats(text)]));
      own = answer.value.own;
      return paint();
    }
  };
  const listen = () => {
    const pad = gm.pads[props.pad];
    if (!pad || !gm.forms[props.form]) return element.isConnected && setTimeout(listen, 50);
    document.getElementById(props.pad)?.classList.toggle("gm-behind", props.kind === "points");
    const offs = [pad.on(() => (element.isConnected ? ask() : leave())),
      gm.forms[props.form].on((_, changed) => { if (!element.isConnected) return leave(); if (["seed", "first", null].includes(changed)) ask(); current()?.asked?.(changed); })];
    const leave = () => offs.forEach((off) => off());
    return ask();
  };
  let seen = 0;
  const again = () => {
    if (!element.isConnected) return watcher.disconnect(), document.removeEventListener("gm:theme", again), removeEventListener("resize", again);
    if (entry) { layout(); paint(); }
  };
  const watcher = new ResizeObserver(() => { if (element.clientWidth !== seen) { seen = element.clientWidth; again(); } });
  watcher.observe(element);
  addEventListener("resize", again);
  document.addEventListener("gm:theme", again);
  element.addEventListener("gm:key", ({ detail }) => ({ play: () => (playing ? stop() : play()), next: () => { stop(); go(state.at + 10); }, previous: () => { stop(); go(state.at - 10); }, first: () => { stop(); go(0); }, last: () => { stop(); go(N); } })[detail]?.());
  setTimeout(() => { open(); listen(); }, 0); // the views' scripts come after this one
  watch("value", () => { if (!entry || !props.value) return; if (state.view !== "loss") show("loss"); else paint(); });
  watch(["entry", "kind"], open);
};
