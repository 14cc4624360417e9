/* Training on the stage: where it stands, the preview, the curves, and a slider over training time.

   value (from Python, panels/train.py): {run, phase, kind, title, step, total, rate, left, seconds, curves, real, look | film}
   source: {name, title, kind, real}: the data that is chosen now. What was seen lives in gm.trainings[form] while the
   page is open, so that leaving the tab loses nothing. */
window.gm.trainings = {};
window.gm.train = (element, props, server, trigger, watch, upload) => {
  const gm = window.gm, el = gm.el, id = props.form;
  const store = (gm.trainings[id] ??= { run: null, film: [], at: null, drawing: false, zips: {}, hidden: undefined });
  let timer = null, sheets = new Map();

  /* ---- the parts ---- */
  const fact = (name) => {
    const value = el("b", { text: "–", id: `${id}-${name.replaceAll(" ", "-")}` });
    return { value, node: el("div", { class: "gm-fact" }, value, el("span", { class: "gm-muted", text: name })) };
  };
  const facts = ["step", "examples per second", "time left"].map(fact);
  const canvas = el("canvas", { class: "gm-train-canvas", role: "img" });
  const title = el("b"), legend = el("span", { class: "gm-train-legend" });
  const hint = el("p", { class: "gm-train-hint gm-muted" });
  const mode = el("button", { type: "button", class: "gm-button gm-tight", id: `${id}-mode`, onclick: () => { store.drawing = !store.drawing; draw(); } });
  const curves = gm.curves({ label: "loss terms", id });
  const points = gm.drawPoints({ name: `${id}-points`, onchange: (csv) => { gm.forms[id]?.fill({ csv }); points.set(csv); } });
  const writing = el("pre", { class: "gm-train-text", id: `${id}-text-view`, hidden: true, tabindex: 0, "aria-label": "text written from fixed seeds" });
  const picture = el("div", { class: "gm-plot gm-train-plot" }, canvas, writing, hint);
  const zip = (slot, text, note) => gm.zipChooser({
    id, slot, text, note, bring: server.bring, upload, asked: () => ({ size: values().size }),
    onread: (found) => { store.zips[slot] = found; if (slot !== "zip") store.zips.pair = found; draw(); } });
  const one = zip("zip", "Upload a zip of pictures", "A .zip of PNG or JPEG files, 64 MB at most. Folders in it become classes. Or drop it here.");
  const first = zip("zip-a", "Upload the first zip", "A .zip of PNG or JPEG files of one kind, 64 MB at most. Its name names them.");
  const second = zip("zip-b", "Upload the second zip", "And one of the other kind. Nothing has to pair, and sizes may differ.");
  const own = el("div", { class: "gm-train-own" }, one.node), two = el("div", { class: "gm-train-two" }, first.node, second.node);
  const heads = el("div", { class: "gm-train-heads", id: `${id}-heads` }), fitted = el("p", { class: "gm-muted gm-train-said", id: `${id}-said`, hidden: true });
  const txt = el("input", { type: "file", accept: ".txt,.md,.csv,text/*", id: `${id}-txt`, class: "gm-hidden", tabindex: -1, "aria-hidden": "true" });
  const read = el("button", { type: "button", class: "gm-button", text: "Choose a text file", id: `${id}-read`, onclick: () => txt.click() });
  const amount = el("p", { class: "gm-muted", id: `${id}-amount` }), misread = el("p", { class: "gm-wrong", role: "alert", hidden: true, id: `${id}-txt-message` });
  const texts = el("div", { class: "gm-train-brought" }, read, txt, amount, misread);
  const slider = el("input", { type: "range", class: "gm-range", min: 0, max: 0, step: 1, id: `${id}-time`, "aria-label": "training time" });
  const button = (text, onclick) => el("button", { type: "button", class: "gm-button", text, id: `${id}-film-${text.toLowerCase()}`, onclick });
  const play = button("Play", () => start()), halt = button("Pause", () => pause());
  const next = button("Step", () => { pause(); go(here() + 1); }), reset = button("Reset", () => { pause(); go(0); });
  const place = el("b", { class: "gm-train-place", id: `${id}-place` });
  const player = el("div", { class: "gm-player gm-train-player" }, play, halt, next, reset, place, el("span", { class: "gm-muted", text: "training time" }), slider);
  element.classList.add("gm-train");
  element.replaceChildren(
    el("div", { class: "gm-facts" }, ...facts.map((f) => f.node)),
    el("div", { class: "gm-train-both" },
      el("div", { class: "gm-train-seen" }, el("div", { class: "gm-loss-head" }, el("span", { class: "gm-train-title" }, title, legend), mode), own, two, texts, heads, picture, fitted, points.node),
      curves.node),
    player);

  /* ---- what is seen ---- */
  const dot = (name, text) => el("span", { class: "gm-key", style: `--dot: var(--gm-${name})`, text });
  const tiles = (shown) => new Promise((done) => {
    if (sheets.has(shown.picture)) return done(sheets.get(shown.picture));
    const image = new Image();
    image.onload = () => { if (sheets.size > 200) sheets.clear(); sheets.set(shown.picture, image); done(image); };
    image.src = shown.picture;
  });
  let painted = 0;
  const grid = async (shown) => {
    const mine = ++painted, image = await tiles(shown);
    if (mine !== painted) return;
    const [w, h] = gm.plain(shown.size), across = shown.columns, down = Math.ceil(shown.count / across), gap = 1;
    const side = canvas.clientWidth * (devicePixelRatio || 1), scale = Math.max(1, Math.floor((side + gap) / (across * w)) - 0);
    const cell = [w * scale, h * scale], space = Math.max(2, Math.round(scale * gap * 0.6));
    canvas.width = across * cell[0] + (across - 1) * space; canvas.height = down * cell[1] + (down - 1) * space;
    const pen = canvas.getContext("2d");
    pen.imageSmoothingEnabled = false;
    for (let k = 0; k < shown.count; k++) {
      const x = k % across, y = Math.floor(k / across);
      pen.drawImage(image, x * w, y * h, w, h, x * (cell[0] + space), y * (cell[1] + space), ...cell);
    }
  };
  const cloud = (real, generated) => {
    painted++;
    gm.cloud(canvas, [[real?.points ? gm.pointsOf(real.points) : [], "real", 0.45], [generated?.points ? gm.pointsOf(generated.points) : [], "generated", 0.7]]);
  };
  const write = (lines) => {
    writing.hidden = !lines; canvas.hidden = !!lines;
    if (lines) writing.textContent = lines.join("\n");
    return !!lines;
  };
  const name = (shown) => {
    heads.hidden = !(shown?.heads || props.source.domains);
    heads.replaceChildren(...(shown?.heads ?? ["\u00a0"]).map((head) => el("b", { text: head, title: head })));
  };
  const paint = () => {
    const v = props.value, film = store.film, running = v && v.run === store.run && film.length && store.hidden !== v.run;
    canvas.classList.toggle("gm-paper", (running ? v.kind : props.source.kind) === "music");
    if (running) {
      const k = store.at ?? film.length - 1, look = film[Math.min(k, film.length - 1)];
      name(look);
      if (write(look.texts)) painted++;
      else if (canvas.clientWidth) { if (v.kind === "points") cloud(v.real, look); else grid(look); }
      canvas.setAttribute("aria-label", `${v.title}: ${look.heads ? "held-out pictures translated" : "samples from fixed seeds"} at step ${look.at} of ${v.total}`);
      slider.max = Math.max(0, film.length - 1); slider.value = Math.min(k, film.length - 1);
      slider.style.setProperty("--at", `${film.length > 1 ? (100 * slider.value) / (film.length - 1) : 100}%`);
      slider.setAttribute("aria-valuetext", `step ${look.at}`);
      place.textContent = `step ${look.at}`;
      element.dataset.looks = film.length; element.dataset.at = look.at;
      curves.draw({ ...gm.plain(v.curves), total: v.total, yardsticks: gm.plain(v.yardsticks ?? {}), cursor: store.at === null ? null : look.at });
    } else {
      const real = brought()?.real ?? props.source.real;
      name(real);
      if (write(real?.texts)) painted++;
      else if (canvas.clientWidth) { if (real?.picture) grid(real); else cloud(real, null); }
      canvas.setAttribute("aria-label", `${props.source.title}: ${real ? "a sample of the data" : "nothing to show yet"}`);
      place.textContent = ""; slider.max = 0; slider.style.setProperty("--at", "0%");
      curves.draw(null);
    }
    const still = !running || film.length < 2, last = (store.at ?? film.length - 1) >= film.length - 1;
    const off = (node, why) => { node.disabled = !!why; node.title = why; };
    slider.disabled = still;
    const empty = still ? "previews appear here while it trains" : "";
    off(play, empty || (timer ? "it is playing" : ""));
    off(halt, empty || (timer ? "" : "it is not playing"));
    off(next, empty || (last ? "this is the last preview" : ""));
    off(reset, empty || (store.at === 0 ? "this is the first preview" : ""));
  };
  const draw = () => {
    const v = props.value, busy = v?.phase === "training" && gm.running[id], any = v && store.film.length > 0 && store.hidden !== v.run;
    const source = props.source, mine = source.name.startsWith("own-");
    const drawing = mine && !busy && (store.drawing || !any);
    const bare = !any && !source.real && !brought()?.real;
    facts[0].value.textContent = any ? `${v.step} of ${v.total}` : "–";
    facts[1].value.textContent = any && v.rate ? gm.big(v.rate) : "–";
    facts[2].value.textContent = any ? (v.phase === "training" ? (v.left === null ? "…" : seconds(v.left)) : { done: "done", stopped: "stopped", failed: "ended early" }[v.phase]) : "–";
    title.textContent = drawing ? source.title : any ? v.title : source.title;
    legend.replaceChildren(...((any ? v.kind : source.kind) === "points" && !drawing ? [dot("real", "real"), any ? dot("generated", "generated") : null].filter(Boolean) : []));
    mode.hidden = !mine || busy || !any;
    mode.textContent = drawing ? "Show the training" : { "own-points": "Draw points", "own-text": "Choose a text" }[source.name] ?? "Choose pictures";
    picture.hidden = drawing && source.name === "own-points";
    points.node.hidden = !(drawing && source.name === "own-points");
    own.hidden = !(drawing && source.name === "own-pictures");
    two.hidden = !(drawing && source.name === "own-domains");
    const said = any && !drawing ? v.said ?? [] : brought()?.said ?? [];
    fitted.hidden = !said.length; fitted.textContent = said.join(" ");
    texts.hidden = !(drawing && source.name === "own-text");
    const length = values().text?.length ?? 0;
    amount.textContent = length ? `${length.toLocaleString("en")} characters` : "A text in any language, up to 2 MB: the longer, the better. Or drop it here.";
    for (const [slot, made] of [["zip", one], ["zip-a", first], ["zip-b", second]]) made.say(store.zips[slot]?.line);
    hint.hidden = !bare;
    hint.textContent = ["own-pictures", "own-domains"].includes(source.name) ? "Your pictures appear here." : source.domains ? `Held-out pictures, translated both ways, appear here while it learns ${source.title}.` : source.kind === "points" ? "" : source.kind === "text" ? "What it writes appears here while it learns." : source.kind === "music" ? "Three pieces appear here while it learns: time to the right, pitch upwards." : `16 samples appear here while it learns ${source.title}.`;
    paint();
  };
  const seconds = (s) => (s < 100 ? `${Math.ceil(s)} s` : `${Math.round(s / 60)} min`);

  /* ---- the player ---- */
  const pause = () => { if (!timer) return; clearInterval(timer); timer = null; paint(); };
  const go = (k) => { store.at = Math.max(0, Math.min(store.film.length - 1, k)); if (store.at === store.film.length - 1) store.at = null; paint(); };
  const here = () => store.at ?? store.film.length - 1;
  const start = () => {
    if (store.film.length < 2 || timer) return;
    if (here() === store.film.length - 1) store.at = 0;
    timer = setInterval(() => {
      if (!element.isConnected) return clearInterval(timer);
      if (here() >= store.film.length - 1) return pause();
      go(here() + 1);
    }, 120);
    paint();
  };
  slider.oninput = () => { pause(); go(Number(slider.value)); };
  player.addEventListener("gm:key", (event) => {
    const act = { play: () => (timer ? pause() : start()), next: () => go(here() + 1), previous: () => go(here() - 1), first: () => go(0), last: () => go(1e9) };
    if (event.detail !== "play") pause();
    act[event.detail]?.();
  });

  /* ---- news from Python ---- */
  const news = () => {
    const v = props.value;
    if (!v) return draw();
    store.yardsticks = gm.plain(v.yardsticks ?? {});
    if (v.run !== store.run) { pause(); Object.assign(store, { run: v.run, film: [], at: null, drawing: false }); sheets.clear(); }
    if (v.film) { const kept = store.at === null ? null : store.film[store.at]?.at; store.film = gm.plain(v.film); store.at = kept === null ? null : Math.max(0, store.film.findIndex((look) => look.at >= kept)); }
    else if (v.look && store.film.at(-1)?.at !== v.look.at) {
      store.film.push(gm.plain(v.look));
      if (store.film.length > 240 && store.at === null) store.film = store.film.filter((_, k) => k % 2 === 0 || k === store.film.length - 1);
    }
    draw();
  };

  /* ---- the data that is chosen ---- */
  const values = () => gm.forms[id]?.value() ?? {};
  const brought = () => store.zips[{ "own-pictures": "zip", "own-domains": "pair" }[props.source.name]];
  const shape = (now) => JSON.stringify([now.data, now.model, now.size, now.grey, now.lines]);
  let known = null;
  const follow = () => {
    const form = gm.forms[id];
    if (!form) return setTimeout(follow, 50);
    known = shape(form.value());
    const off = form.on((now, name) => {
      if (!element.isConnected) return off();
      if (name === "csv") points.set(now.csv ?? "");
      if (name === "text") draw();
      if (shape(now) === known) return;
      known = shape(now);
      if (name === "data") { store.drawing = true; if (!gm.running[id]) { pause(); store.hidden = props.value?.run ?? null; } }
      trigger("choose");
    });
    points.set(values().csv ?? "");
  };
  const spell = async (file) => {
    if (!file) return;
    misread.hidden = true;
    const fail = (text) => { misread.textContent = text; misread.hidden = false; };
    if (!file.size) return fail(`${file.name} is empty. Choose a text file with something in it.`);
    if (file.size > 2e6) return fail(`${file.name} is larger than 2 MB. Bring a part of it.`);
    let found = "";
    try { found = new TextDecoder("utf-8", { fatal: true }).decode(await file.arrayBuffer()); } catch { return fail(`${file.name} is no text in UTF-8. Save it as plain text in UTF-8.`); }
    if (found.includes("\0")) return fail(`${file.name} is a binary file, not a text. Choose a plain text file.`);
    gm.forms[id]?.fill({ text: found });
    draw();
  };
  txt.onchange = () => { spell(txt.files[0]); txt.value = ""; };
  texts.ondragover = (event) => event.preventDefault();
  texts.ondrop = (event) => { event.preventDefault(); spell(event.dataTransfer.files[0]); };

  const again = () => { if (!element.isConnected) { document.removeEventListener("gm:theme", again); watcher.disconnect(); } else paint(); };
  const watcher = new ResizeObserver(paint);
  watcher.observe(picture);
  document.addEventListener("gm:theme", again);
  follow();
  news();
  watch("value", news);
  watch("source", () => { element.dataset.followed = Number(element.dataset.followed ?? 0) + 1; draw(); });
};
