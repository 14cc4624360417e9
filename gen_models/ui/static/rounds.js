/* EM in half rounds: E gives the points the colours of the components, M moves the ellipses. Played without a request.

   value (from Python, panels/rounds.py): one run, as static/rounds_picture.js draws it, its arrays in base64.
   source: {name, title, points, view}: the data that is chosen now. Where a run is looked at lives in gm.climbs[form]
   while the page is open, so that leaving the tab loses nothing. */
window.gm.climbs = {};
window.gm.rounds = (element, props, server, trigger, watch) => {
  const gm = window.gm, el = gm.el, id = props.form;
  const SPEEDS = [[0.25, "talk 0.25×"], [0.5, "speed 0.5×"], [1, "speed 1×"], [2, "speed 2×"], [4, "speed 4×"], [10, "speed 10×"]];
  const store = (gm.climbs[id] ??= { run: null, at: 0, speed: 1, drawing: false, hidden: null });
  let film = null, place = 0, playing = false, moving = null; // place: what is drawn, on its way to store.at

  /* ---- the parts ---- */
  const button = (text, onclick) => el("button", { type: "button", class: "gm-button", text, id: `${id}-${text.toLowerCase()}`, onclick });
  const play = button("Play", () => start()), halt = button("Pause", () => pause()), next = button("Step", () => step(1));
  const reset = button("Reset", () => { pause(); go(0); }), back = button("Back", () => step(-1));
  const count = el("b", { class: "gm-rounds-count", id: `${id}-count` });
  const slider = el("input", { type: "range", class: "gm-range", min: 0, max: 0, step: 1, id: `${id}-half`, "aria-label": "half rounds" });
  const speed = el("select", { class: "gm-input gm-rounds-speed", "aria-label": "Speed", title: "Speed; talk is slow motion" }, ...SPEEDS.map(([value, text]) => el("option", { value, text })));
  const saves = Object.entries(props.saves).map(([name, file]) => el("button", { type: "button", class: "gm-button", text: name, id: `${id}-save-${name.toLowerCase()}`, onclick: (event) => save(event.target, name, file) }));
  const bar = el("div", { class: "gm-player gm-rounds-bar" }, el("div", { class: "gm-rounds-keys" }, play, halt, next, reset, back), count, slider, el("div", { class: "gm-rounds-keys" }, speed, ...saves));
  const canvas = el("canvas", { class: "gm-rounds-canvas", role: "img" }), chart = el("canvas", { class: "gm-rounds-chart", role: "img", "aria-label": "log-likelihood over rounds: nothing yet" });
  const plot = el("div", { class: "gm-plot gm-rounds-plot" }, canvas), picture = gm.roundsPicture(canvas, props);
  const points = gm.drawPoints({ name: `${id}-points`, onchange: (csv) => { gm.forms[id]?.fill({ csv }); points.set(csv); } });
  const title = el("b", { class: "gm-rounds-title" });
  const mode = el("button", { type: "button", class: "gm-button gm-tight", id: `${id}-mode`, onclick: () => { store.drawing = !store.drawing; draw(); } });
  const said = el("p", { class: "gm-rounds-said", role: "status", id: `${id}-said` }), detail = el("p", { class: "gm-muted", id: `${id}-detail` });
  const fact = (name) => {
    const value = el("b", { text: "–", id: `${id}-${name.replaceAll(" ", "-")}` });
    return { value, node: el("div", {}, el("span", { class: "gm-muted", text: name }), value) };
  };
  const facts = ["log-likelihood", "held out", "change"].map(fact);
  element.classList.add("gm-rounds");
  element.replaceChildren(bar, el("div", { class: "gm-rounds-both" },
    el("div", { class: "gm-rounds-seen" }, plot, points.node),
    el("div", { class: "gm-rounds-told" }, el("div", { class: "gm-loss-head" }, title, mode), el("div", { class: "gm-rounds-words" }, said, detail),
      el("div", { class: "gm-rounds-facts" }, ...facts.map((one) => one.node)), chart)));
  speed.value = store.speed;
  speed.onchange = () => { store.speed = Number(speed.value); };

  /* ---- what is seen ---- */
  const shown = () => film && store.hidden !== film.run && !store.drawing;
  const last = () => 2 * film.rounds;
  const kind = (half) => (half === 0 ? "start" : half % 2 ? "E" : "M");
  const nats = (x) => (x < 0 ? "−" : "") + Math.abs(x).toFixed(3);
  const gain = (x) => (Math.abs(x) < 1e-4 ? "< 0.0001" : (x < 0 ? "−" : "+") + Math.abs(x).toFixed(4));
  const paint = () => {
    const source = props.source, half = Math.ceil(place);
    if (shown()) picture.draw(film, place); else if (source.points) picture.rest(numbers(source.points, Float32Array), gm.plain(source.view));
    gm.roundsCurve(chart, shown() ? film : null, half % 2 || !half ? Math.floor(half / 2) : place / 2);
  };
  const words = () => {
    const half = store.at, circles = film.k > 1 ? `${film.k} equal circles` : "one circle";
    if (half === 0) return [`Start: ${circles}.`, film.init === "random points" ? "Their centres are points chosen at random." : "Their centres are points that lie far apart."];
    const torn = picture.undecided(film, half), of = film.points.length / 2;
    if (half % 2) return ["E: every point asks which component explains it.", film.k === 1 ? "There is only one." : torn ? `${torn} of ${of} points are undecided: outlined.` : "No point is undecided."];
    const [k, far] = picture.furthest(film, half), moves = ["M: each component moves to its points.", `${film.k > 1 ? `Component ${k + 1} moves furthest, by` : "It moves by"} ${gm.digits(far)}.`];
    if (half < last()) return moves;
    return [moves[0], film.converged ? "Converged: rounds gain next to nothing now." : film.stopped ? `Stopped here, at round ${film.rounds}.` : `The limit of ${film.allowed} rounds: it still gains.`];
  };
  const tell = () => {
    const any = shown(), half = any ? store.at : 0, round = Math.floor(half / 2), turn = Math.ceil(half / 2);
    const [what, more] = any ? words() : ["E asks, M moves, again and again.", "Each point finds the components that explain it; each component moves to its points."];
    if (said.textContent !== what) said.textContent = what;
    detail.textContent = more;
    count.textContent = any ? (half ? `round ${turn} of ${film.rounds}, ${kind(half)}` : `start of ${film.rounds} rounds`) : "";
    facts[0].value.textContent = any ? nats(film.nats[round]) : "–";
    facts[1].value.textContent = any && film.held ? nats(film.held[round]) : "–";
    facts[1].node.title = any && !film.held ? "with fewer than 50 points none is held out" : "";
    facts[2].value.textContent = any && round ? gain(film.nats[round] - film.nats[round - 1]) : "–";
    slider.max = any ? last() : 0; slider.value = half;
    slider.style.setProperty("--at", `${any ? (100 * half) / last() : 0}%`);
    slider.setAttribute("aria-valuetext", any ? count.textContent : "nothing yet");
    canvas.setAttribute("aria-label", any ? `${film.k} components on ${film.title}, ${count.textContent}: ${what}` : `${props.source.title}: the points`);
    const empty = any ? "" : "press Run EM first", off = (node, why) => { node.disabled = Boolean(why); node.title = why; };
    slider.disabled = !any;
    off(play, empty || (playing ? "it is playing" : "")); off(halt, empty || (playing ? "" : "it is not playing"));
    off(next, empty || (half === last() ? "this is the end" : "")); off(back, empty || (half ? "" : "this is the start")); off(reset, empty || (half ? "" : "this is the start"));
    for (const node of saves) off(node, empty);
    Object.assign(element.dataset, { half, halves: any ? last() : 0, kind: any ? kind(half) : "", playing: playing ? 1 : 0 });
  };
  const draw = () => {
    const own = !props.source.points, any = film && store.hidden !== film.run, pad = own && (store.drawing || !any);
    title.replaceChildren(pad || !any ? props.source.title : `${film.title}, ${film.k} component${film.k > 1 ? "s" : ""}`,
      ...(pad || !any ? [] : [el("span", { class: "gm-muted", text: `${film.points.length / 2} of ${film.learnt} points drawn` })]));
    mode.hidden = !own || !any; mode.textContent = pad ? "Show the rounds" : "Draw points";
    element.classList.toggle("gm-own", own); plot.hidden = pad; points.node.hidden = !pad;
    tell(); paint();
  };

  /* ---- moving: the picture glides from half to half ---- */
  const beat = () => Math.max(120, Math.min(700, 16000 / last())) / store.speed; // milliseconds of a half round
  const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
  const ease = (t) => t * t * (3 - 2 * t);
  const go = (half) => {
    const before = place;
    store.at = Math.max(0, Math.min(last(), half));
    const glides = !calm() && Math.abs(store.at - before) <= 1 && store.at !== before;
    place = glides ? before : store.at;
    const begun = performance.now(), idle = !moving;
    moving = glides || playing ? { from: before, begun, lasts: Math.min(600, 0.65 * beat()), glides } : null;
    tell(); paint();
    if (moving && idle) requestAnimationFrame(tick);
  };
  const tick = () => {
    if (!element.isConnected || !film) { moving = null; playing = false; return; }
    if (!moving) return;
    const now = performance.now() - moving.begun;
    if (moving.glides && place !== store.at) { const t = Math.min(1, now / moving.lasts); place = t < 1 ? moving.from + (store.at - moving.from) * ease(t) : store.at; paint(); }
    if (place === store.at && !playing) { moving = null; return; }
    if (playing && now >= beat()) { if (store.at === last()) { moving = null; return pause(); } go(store.at + 1); }
    requestAnimationFrame(tick);
  };
  const pause = () => { if (playing) { playing = false; tell(); } };
  const start = () => { if (!shown() || playing) return; playing = true; if (store.at === last()) place = 0; go(store.at === last() ? 0 : store.at); };
  const step = (by) => { if (!shown()) return; pause(); place = store.at; go(store.at + by); };
  slider.oninput = () => { pause(); place = -2; go(Number(slider.value)); };
  bar.addEventListener("gm:key", ({ detail: act }) => {
    if (!shown()) return;
    ({ play: () => (playing ? pause() : start()), next: () => step(1), previous: () => step(-1), first: () => { pause(); go(0); }, last: () => { pause(); go(last()); } })[act]?.();
  });
  const save = async (node, name, file) => {
    await gm.ask(server.place, { half: store.at });
    node.textContent = `${name} …`; node.disabled = true;
    const done = () => { node.textContent = name; node.disabled = false; document.removeEventListener("gm:saved", done); };
    document.addEventListener("gm:saved", done);
    document.getElementById(file)?.click();
  };

  /* ---- news from Python, and the data that is chosen ---- */
  const numbers = (text, Kind) => new Kind(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
  const news = () => {
    const value = gm.plain(props.value);
    film = value && { ...value, points: numbers(value.points, Float32Array), components: numbers(value.components, Float32Array), owners: numbers(value.owners, Uint8Array) };
    const fresh = film && film.run !== store.run;
    if (fresh) Object.assign(store, { run: film.run, at: 0, drawing: false });
    if (film) store.at = Math.min(store.at, last());
    playing = false; place = store.at;
    draw();
    if (fresh && !calm()) start();
  };
  let known = null;
  const follow = () => {
    const form = gm.forms[id];
    if (!form) return setTimeout(follow, 50);
    known = form.value().data;
    points.set(form.value().csv ?? "");
    const off = form.on((now, name) => {
      if (!element.isConnected) return off();
      if (name === "csv") points.set(now.csv ?? "");
      if (now.data === known) return;
      known = now.data;
      pause();
      store.hidden = film?.run ?? null; store.drawing = false;
      trigger("choose");
    });
  };
  const again = () => { if (!element.isConnected) { document.removeEventListener("gm:theme", again); watcher.disconnect(); } else paint(); };
  const watcher = new ResizeObserver(again);
  watcher.observe(plot); watcher.observe(chart);
  document.addEventListener("gm:theme", again);
  follow();
  news();
  watch("value", news);
  watch("source", () => { element.dataset.followed = Number(element.dataset.followed ?? 0) + 1; draw(); });
};

/* The information criterion over K: every dot is a button that puts its K into the form.
   value: {title, all: [K, ..], k: [K, ..], bic: [..], at, over}. */
window.gm.bic = (element, props, server, trigger, watch) => {
  const gm = window.gm, el = gm.el, H = 126, EDGE = { left: 46, right: 12, top: 12, bottom: 34 };
  const svg = el("svg", { class: "gm-bic", height: H, role: "group", "aria-label": "BIC by number of components" });
  const short = (x) => (Math.abs(x) >= 1e4 ? `${(x / 1e3).toFixed(1)}k` : Math.round(x).toString()).replace("-", "−");
  const text = (x, y, words, anchor = "middle", more = "") => el("text", { class: `gm-axis-text ${more}`, x, y, "text-anchor": anchor, text: words });
  const draw = () => {
    const v = gm.plain(props.value), width = svg.clientWidth;
    if (!width) return;
    const bottom = H - EDGE.bottom, end = width - EDGE.right;
    const frame = [el("line", { class: "gm-axis", x1: EDGE.left, x2: end, y1: bottom, y2: bottom }), el("line", { class: "gm-axis", x1: EDGE.left, x2: EDGE.left, y1: EDGE.top, y2: bottom })];
    if (!v) return svg.replaceChildren(...frame, text((EDGE.left + end) / 2, (EDGE.top + bottom) / 2, "fit against size: lower is better"), text((EDGE.left + end) / 2, H - 4, "components K"));
    const low = Math.min(...v.bic), high = Math.max(...v.bic), span = high - low || 1, best = v.k[v.bic.indexOf(low)];
    const X = (k) => EDGE.left + 14 + (v.all.indexOf(k) / Math.max(1, v.all.length - 1)) * (end - EDGE.left - 20);
    const Y = (b) => EDGE.top + 6 + (1 - (b - low) / span) * (bottom - EDGE.top - 22);
    const use = (k) => gm.forms[props.form]?.fill({ components: k });
    const dots = v.k.map((k, n) => {
      const words = `K = ${k}: BIC ${Math.round(v.bic[n])}${k === best ? ", the lowest" : ""}`;
      const dot = el("g", { class: `gm-bic-dot${k === best ? " gm-best" : ""}`, "data-k": k, role: "button", tabindex: 0, "aria-label": `${words}; use it`, onclick: () => use(k),
        onkeydown: (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); event.stopPropagation(); use(k); } } },
      el("rect", { x: X(k) - 12, y: EDGE.top - 8, width: 24, height: bottom - EDGE.top + 26, class: "gm-bic-reach" }), el("circle", { cx: X(k), cy: Y(v.bic[n]), r: k === best ? 6 : 4 }));
      const tip = document.createElementNS("http://www.w3.org/2000/svg", "title");
      tip.textContent = words; dot.prepend(tip);
      return dot;
    });
    svg.replaceChildren(...frame, ...(v.k.length ? [text(EDGE.left - 6, Y(high) + 4, short(high), "end"), text(EDGE.left - 6, Y(low) + 4, high > low ? short(low) : "", "end")] : []),
      ...v.all.map((k) => text(X(k), bottom + 15, String(k), "middle", k === best && v.over ? "gm-bic-name" : "")), text((EDGE.left + end) / 2, H - 4, `components K, ${v.title}`),
      el("path", { class: "gm-bic-line", d: v.k.map((k, n) => `${n ? "L" : "M"}${X(k)} ${Y(v.bic[n])}`).join("") }), ...dots);
    svg.dataset.best = v.over && v.k.length ? best : "";
  };
  element.classList.add("gm-bic-box");
  element.replaceChildren(svg);
  const watcher = new ResizeObserver(() => { if (!element.isConnected) watcher.disconnect(); else draw(); });
  watcher.observe(svg);
  watch("value", draw);
};
