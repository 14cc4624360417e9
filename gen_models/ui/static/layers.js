/* Layers: points that flow through an invertible model both ways, over a mesh that bends; pictures play as a film.

   value (panels/layers.py: sent) is {kind: "film", film} for pictures, which the player shows, or for points
     {kind: "points", id, about, total, ways: [{title, note, stations, count, points, mesh}, ..]}: coded points, station by station.
   entry, before (the preview's film track), lines, length, limit, wheel (colours round the circle), saves come from Python.
   Keys: as the player's. The element gets data-at, the layer on screen. */
window.gm.throughs = {}; // run -> the layer it was left at; mesh: whether it is drawn
window.gm.layers = (element, props, server, trigger, watch) => {
  const gm = window.gm, el = gm.el, UNIT = 3000, GAP = 16, SECONDS = 0.7; // for one layer at speed 1x
  const SPEEDS = [[0.1, "talk 0.1×"], [0.25, "speed 0.25×"], [0.5, "speed 0.5×"], [1, "speed 1×"], [2, "speed 2×"]];
  const wheel = gm.plain(props.wheel), state = (gm.throughs.shown ??= { mesh: true, speed: 1 });
  let run = null, ways = [], at = 0, playing = false, clock = 0, goal = 0, views = [], parts = {}, player = null;

  /* ---- numbers ---- */
  const pairs = (text) => new Int16Array(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
  const opened = (way, k) => {
    const points = pairs(way.points), mesh = pairs(way.mesh), last = way.stations - 1, noise = (k ? last : 0) * 2 * way.count;
    const sector = Uint8Array.from({ length: way.count }, (_, p) => { const a = Math.atan2(points[noise + 2 * p + 1], points[noise + 2 * p]); return Math.round((a / (2 * Math.PI) + 1) * wheel.length) % wheel.length; });
    return { ...way, points, mesh, last, sector };
  };
  /** Layer and share of the next one, with a rest at each station. */
  const moment = (way) => {
    const low = Math.min(Math.floor(at), Math.max(0, way.last - 1)), t = Math.min(1, at - low);
    return [low, t * t * (3 - 2 * t)];
  };

  /* ---- drawing ---- */
  const stamps = {};
  const stamp = (color, radius) => {
    const key = `${color} ${radius}`;
    if (!stamps[key]) {
      const side = Math.ceil(2 * radius + 2), canvas = Object.assign(document.createElement("canvas"), { width: side, height: side }), pen = canvas.getContext("2d");
      pen.fillStyle = color;
      pen.beginPath(); pen.arc(side / 2, side / 2, radius, 0, 7); pen.fill();
      stamps[key] = canvas;
    }
    return stamps[key];
  };
  const paint = (way, view) => {
    const sharp = devicePixelRatio || 1, side = Math.round(view.side * sharp), pen = view.canvas.getContext("2d");
    if (view.canvas.width !== side) view.canvas.width = view.canvas.height = side;
    pen.clearRect(0, 0, side, side);
    if (!way.stations) return;
    const [low, share] = moment(way), scale = side / (2 * props.limit * UNIT), place = (values, k, width) => {
      const a = low * width + k, b = way.last ? a + width : a;
      return [side / 2 + (values[a] + (values[b] - values[a]) * share) * scale, side / 2 - (values[a + 1] + (values[b + 1] - values[a + 1]) * share) * scale];
    };
    if (state.mesh) {
      const each = 2 * props.length, width = 2 * props.lines * each;
      pen.strokeStyle = gm.color("latent"); pen.globalAlpha = 0.38; pen.lineWidth = sharp;
      pen.beginPath();
      for (let line = 0; line < 2 * props.lines; line++) for (let k = 0; k < each; k += 2) { const [x, y] = place(way.mesh, line * each + k, width); if (k) pen.lineTo(x, y); else pen.moveTo(x, y); }
      pen.stroke();
    }
    pen.globalAlpha = 0.9;
    const radius = Math.max(1.8 * sharp, side / 210);
    for (let p = 0; p < way.count; p++) {
      const [x, y] = place(way.points, 2 * p, 2 * way.count), dot = stamp(wheel[way.sector[p]], radius);
      pen.drawImage(dot, x - dot.width / 2, y - dot.height / 2);
    }
    pen.globalAlpha = 1;
  };
  const told = () => (Number.isInteger(at) ? `layer ${at} of ${run.total}` : `in layer ${Math.floor(at) + 1} of ${run.total}`);
  const draw = () => {
    ways.forEach((way, k) => {
      paint(way, views[k]);
      views[k].canvas.setAttribute("aria-label", `${run.about}, ${way.title}: ${way.count} points, ${told()}`);
    });
    parts.count.textContent = told();
    parts.range.value = at;
    parts.range.style.setProperty("--at", `${(100 * at) / (run.total || 1)}%`);
    parts.range.setAttribute("aria-valuetext", told());
    const allow = (button, why) => { button.disabled = Boolean(why); button.title = why; };
    allow(parts.play, playing ? "playing already" : run.total ? "" : "there is one station only");
    allow(parts.pause, playing ? "" : "nothing is playing");
    allow(parts.step, at >= run.total ? "this is the last layer" : "");
    allow(parts.reset, at === 0 ? "this is the start" : "");
    element.dataset.at = at;
    gm.throughs[run.id] = at;
  };

  /* ---- moving ---- */
  const go = (to) => { at = Math.min(run.total, Math.max(0, to)); draw(); };
  const stop = () => { if (playing) { playing = false; draw(); } };
  const walk = (to) => { // plays until there
    goal = Math.min(run.total, to);
    if (playing || at >= goal) return;
    playing = true; clock = performance.now();
    draw();
    requestAnimationFrame(tick);
  };
  const play = () => { if (!playing && at >= run.total) at = 0; walk(run.total); };
  const tick = (now) => {
    if (!element.isConnected) playing = false;
    if (!playing) return;
    const next = at + ((now - clock) / 1000 / SECONDS) * state.speed;
    clock = now;
    if (next >= goal) { playing = false; go(goal); } else { go(next); requestAnimationFrame(tick); }
  };
  const step = (by) => { stop(); if (by > 0) go(Math.floor(at + 1)); else go(Math.ceil(at - 1)); };

  /* ---- building ---- */
  const figure = (title, note, color, ...inside) => el("figure", { class: "gm-track" }, el("figcaption", {}, el("b", { style: `color: var(--gm-${color})`, text: title }), el("span", { class: "gm-muted", text: note })), el("div", { class: "gm-view gm-framed" }, ...inside));
  const build = () => {
    views = ways.map((way, k) => {
      const canvas = el("canvas", { role: "img" });
      const empty = way.stations ? null : el("p", { class: "gm-void", text: way.empty });
      return { canvas, side: 0, node: figure(way.title, way.note, k ? "real" : "generated", canvas, empty) };
    });
    const button = (text, onclick) => el("button", { type: "button", class: `gm-button gm-to-${text.toLowerCase()}`, text, onclick });
    const list = el("select", { class: "gm-input gm-speed", "aria-label": "Speed", title: "Speed; talk is slow motion" }, ...SPEEDS.map(([value, text]) => el("option", { value, text })));
    list.value = state.speed;
    list.onchange = () => { state.speed = Number(list.value); clock = performance.now(); };
    const range = el("input", { type: "range", class: "gm-range", "aria-label": "layer", min: 0, max: run.total, step: 0.01 });
    range.oninput = () => { const wanted = Number(range.value), whole = Math.round(wanted); stop(); go(Math.abs(wanted - whole) < 0.06 ? whole : wanted); };
    const mesh = el("button", { type: "button", class: "gm-chip gm-toggle", text: "Mesh", "aria-pressed": String(state.mesh), onclick: () => { state.mesh = !state.mesh; mesh.setAttribute("aria-pressed", String(state.mesh)); draw(); } });
    parts = { play: button("Play", play), pause: button("Pause", stop), step: button("Step", () => step(1)), reset: button("Reset", () => { stop(); go(0); }), count: el("b", { class: "gm-count" }), range };
    const save = el("button", { type: "button", class: "gm-button gm-save", text: "GIF", onclick: () => document.getElementById(props.saves.GIF)?.click() });
    const round = el("span", { class: "gm-wheel", role: "img", "aria-label": "colours by the angle at which a point lies in the noise", style: `background: conic-gradient(from 90deg, ${[...wheel].reverse().join(", ")}, ${wheel[0]})` });
    element.replaceChildren(el("div", { class: "gm-tracks" }, ...views.map((view) => view.node)),
      el("div", { class: "gm-timeline" }, el("div", { class: "gm-bar" }, parts.play, parts.pause, parts.step, parts.reset, el("span", { class: "gm-told" }, parts.count), mesh, list, save),
        el("div", { class: "gm-scrub" }, range, el("div", { class: "gm-layer-marks", "aria-hidden": "true" }, ...Array.from({ length: run.total + 1 }, (_, k) => el("i", { style: `left: ${(100 * k) / (run.total || 1)}%` })))),
        el("p", { class: "gm-muted gm-layers-words" }, round, "A point keeps the colour of its angle in the noise, and the mesh is the plane that it starts in, bent as the layers bend it.")));
  };
  const layout = () => {
    const width = Math.floor(element.getBoundingClientRect().width), narrow = width < 620, above = element.getBoundingClientRect().top + scrollY;
    const under = element.querySelector(".gm-timeline")?.offsetHeight ?? 0;
    const half = Math.floor((width - GAP) / 2), side = narrow ? half : Math.min(half, Math.max(260, Math.floor(innerHeight - above - under - 92)));
    element.querySelectorAll(".gm-track").forEach((node) => { node.classList.toggle("gm-half", narrow); node.style.width = `${side}px`; Object.assign(node.querySelector(".gm-view").style, { width: `${side}px`, height: `${side}px` }); });
    for (const view of views) view.side = side;
  };

  /* ---- what is shown: points, a film, or the entry's preview ---- */
  const film = (value, key = JSON.stringify(value?.id)) => { // the player draws into an element of its own
    run = null; ways = []; views = [];
    if (!player) {
      const box = el("div"), heard = [];
      element.replaceChildren(box);
      player = { props: { value, saves: gm.plain(props.saves), empty: props.empty }, heard, key: null };
      element.classList.remove("gm-player", "gm-film");
      gm.player(box, player.props, server, trigger, (names, listener) => heard.push(listener));
      player.key = key;
    } else if (player.key !== key) { player.props.value = value; player.key = key; player.heard.forEach((listener) => listener()); }
  };
  const points = (value) => {
    player = null;
    run = value; ways = value.ways.map(opened);
    at = Math.min(run.total, gm.throughs[run.id] ?? 0);
    element.classList.add("gm-player", "gm-film");
    const fresh = gm.throughs[run.id] === undefined;
    build(); layout(); draw();
    if (fresh && !matchMedia("(prefers-reduced-motion: reduce)").matches) play(); else if (fresh) go(run.total);
  };
  const load = () => {
    const value = gm.plain(props.value);
    playing = false;
    if (value?.kind === "points") return points(value);
    if (value?.kind === "film") return film(value.film);
    player = null; run = null; ways = []; views = [];
    element.classList.remove("gm-player");
    element.classList.add("gm-film");
    if (!props.entry) return element.replaceChildren(el("div", { class: "gm-nothing gm-void", text: "This entry has no layers that can be undone. Choose another one." }));
    const before = gm.plain(props.before)?.frames?.[0];
    element.replaceChildren(el("div", { class: "gm-tracks" }, figure("noise → data", "its samples", "generated", before ? el("img", { class: "gm-layers-before", src: before, alt: "samples" }) : null), figure("data → noise", "", "real", el("p", { class: "gm-void", text: "Press Follow: held-out data goes the other way." }))),
      el("div", { class: "gm-timeline gm-layers-empty" }));
    return layout();
  };
  const again = () => {
    if (!element.isConnected) return watcher.disconnect(), document.removeEventListener("gm:theme", again), removeEventListener("resize", again);
    if (player) return;
    layout();
    if (run) draw();
  };
  let seen = 0;
  const watcher = new ResizeObserver(() => { if (element.clientWidth !== seen) { seen = element.clientWidth; again(); } });
  watcher.observe(element);
  addEventListener("resize", again);
  document.addEventListener("gm:theme", again);
  element.addEventListener("gm:key", ({ detail }) => {
    if (run) ({ play: () => (playing ? stop() : play()), next: () => step(1), previous: () => step(-1), first: () => { stop(); go(0); }, last: () => { stop(); go(run.total); } })[detail]?.();
  });
  load();
  watch("value", load);
  watch(["entry"], () => { if (!props.value) load(); });
};
