/* Interpolate, for music and text: stops on the way from one seed to another; each is seen, heard and saved.

   value (panels/between.py: sent): {run, entry, kind, name, a, b, equal: [null, {same, of}, ..]} and of music {steps, pieces,
   keys}, of text {words}. The stop that is looked at lives in gm.betweens[form] while the page is open. */
window.gm.betweens = {};
window.gm.between = (element, props, server, trigger, watch) => {
  const gm = window.gm, el = gm.el, id = props.form;
  const store = (gm.betweens[id] ??= { at: 0, run: null });
  const flying = new Map();
  let loaded = null, wanted = null;
  element.classList.add("gm-between", "gm-player");
  const form = () => gm.forms[id], settings = () => form()?.value() ?? {};
  const value = () => (props.value?.run && props.value.entry === props.entry ? gm.plain(props.value) : null);
  const count = (v = value()) => v?.equal.length ?? 0;

  /* ---- the parts ---- */
  const roll = gm.roll({ id: `${id}-roll`, onseek: (step) => { if (sound.node.getAttribute("src")) sound.seek(step); else hear(true, step); } });
  const sound = gm.sound({ id, roll });
  const title = el("b", { id: `${id}-title` }), told = el("span", { class: "gm-muted", id: `${id}-equal` });
  const wrong = el("p", { class: "gm-wrong", role: "alert", hidden: true, id: `${id}-wrong` });
  const slider = el("input", { type: "range", class: "gm-range", min: 0, max: 6, step: 1, value: 0, id: `${id}-stop`, "aria-label": "stop on the way" });
  slider.oninput = () => go(Number(slider.value));
  const tiles = el("div", { class: "gm-between-stops", role: "group", "aria-label": "stops: press one to look at it" });
  const play = el("button", { type: "button", class: "gm-button", id: `${id}-play`, text: "Play this stop", onclick: () => hear(true) });
  const file = (text, what, hint) => el("button", { type: "button", class: "gm-button", id: `${id}-${what}`, text, "data-hint": hint, onclick: () => save(what) });
  const files = [file("MIDI", "mid", "this stop's notes"), file("WAV", "wav", "this stop's sound"), file("ZIP", "zip", "all stops as MIDI")];
  const words = el("ol", { class: "gm-between-words", id: `${id}-words` });
  const text = el("button", { type: "button", class: "gm-button", id: `${id}-txt`, text: "Text", onclick: () => gm.saveFile(`${value().words.join("\n")}\n`, `${value().name}.txt`, "text/plain;charset=utf-8") });
  const music = [
    el("div", { class: "gm-listen-head" }, el("span", { class: "gm-listen-title" }, title, told), roll.legend),
    el("div", { class: "gm-listen-stage" }, roll.node),
    el("div", { class: "gm-between-way" }, slider), tiles,
    el("div", { class: "gm-listen-bar" }, play, sound.node, el("span", { class: "gm-listen-files", role: "group", "aria-label": "save" }, ...files)), wrong];
  const say = (line) => { wrong.textContent = line; wrong.hidden = !line; };

  /* ---- its sound: rendered on demand, the next stop ahead of time ---- */
  const asked = (k) => { const v = value(), { tempo, key } = settings(); return { entry: v.entry, run: v.run, piece: k, tempo, key }; };
  const fetch = (k) => {
    const about = asked(k), name = JSON.stringify(about);
    const rendered = async () => {
      for (let tries = 0; ; tries++) {
        const answer = await gm.ask(server.sound, about);
        if (!answer.busy || tries === 20) return answer;
        await new Promise((done) => setTimeout(done, 100));
      }
    };
    if (!flying.has(name)) flying.set(name, rendered().finally(() => flying.delete(name))); // what is rendered the server keeps
    return flying.get(name);
  };
  const hear = async (begin = false, at = null) => {
    const v = value();
    if (!v || v.kind !== "music") return;
    const k = store.at, mine = (wanted = {});
    play.disabled = true;
    const answer = await fetch(k);
    play.disabled = false;
    if (mine !== wanted || store.at !== k || value()?.run !== v.run || !element.isConnected) return;
    if (!answer.value) return say(answer.error ?? "The server is busy: try again in a moment.");
    say("");
    const same = loaded === v.run; // another stop, tempo or key: it goes on where it was
    sound.load(answer.value.path, answer.value.tempo, { play: begin, at: at ?? (same ? null : 0), steps: v.steps });
    loaded = v.run;
    show(answer.value.semitones);
    element.dataset.heard = `${k + 1} ${answer.value.tempo} ${answer.value.semitones}`;
    if (k + 1 < count(v)) fetch(k + 1);
  };
  const save = async (what) => {
    const answer = await gm.ask(server.file, { ...asked(store.at), what });
    if (!answer.value) return say(answer.error ?? "The server is busy: try again in a moment.");
    say("");
    gm.saveUrl(gm.fileUrl(answer.value.path), answer.value.name);
  };

  /* ---- what is seen ---- */
  const common = (v, k, unit) => (v.equal[k] ? `${v.equal[k].same} of ${v.equal[k].of} ${unit} as at stop ${k}` : `the seed itself`);
  const show = (by = 0) => {
    const v = value();
    roll.set(v ? { ...v.pieces[store.at], steps: v.steps, by } : { notes: [], steps: 256 });
    title.textContent = v ? `stop ${store.at + 1} of ${count(v)}` : "";
    told.textContent = v ? `${common(v, store.at, "events")}${v.keys[store.at] ? ` · heard in ${v.keys[store.at]}` : ""}` : "press Interpolate: the stops appear here";
    slider.disabled = !v; slider.max = Math.max(1, count(v) - 1); slider.value = store.at;
    slider.style.setProperty("--at", `${v ? (100 * store.at) / Math.max(1, count(v) - 1) : 0}%`);
    slider.setAttribute("aria-valuetext", title.textContent);
    for (const node of [play, ...files]) { node.disabled = !v; node.title = v ? node.dataset.hint ?? "" : "nothing to hear yet: press Interpolate"; }
    [...tiles.children].forEach((tile, k) => tile.setAttribute("aria-pressed", String(k === store.at)));
    element.dataset.stop = v ? store.at + 1 : "";
  };
  const draw = () => {
    const v = value(), n = count(v);
    while (tiles.children.length > n) tiles.lastChild.remove();
    for (let k = 0; k < n; k++) {
      const tile = tiles.children[k] ?? tiles.appendChild(el("button", { type: "button", class: "gm-listen-tile", onclick: () => go(k) }, el("canvas"), el("span")));
      tile.lastChild.textContent = k === 0 ? `seed ${v.a}` : k === n - 1 ? `seed ${v.b}` : `stop ${k + 1}`;
      tile.setAttribute("aria-label", `stop ${k + 1}: ${common(v, k, "events")}`);
      gm.miniRoll(tile.firstChild, { ...v.pieces[k], steps: v.steps });
    }
    show();
  };
  const spell = () => {
    const v = value();
    text.disabled = !v; text.title = v ? "" : "nothing is written yet";
    words.replaceChildren(...(v ? v.words.map((word, k) => el("li", {}, el("span", { class: "gm-between-word", text: word || "(empty)" }),
      el("small", { class: "gm-muted", text: k === 0 ? `seed ${v.a}` : `${k === count(v) - 1 ? `seed ${v.b} · ` : ""}${common(v, k, "letters")}` })))
      : [el("li", { class: "gm-void", text: "Words appear here: press Interpolate." })]));
    element.dataset.stop = v ? count(v) : "";
  };
  const go = (k) => {
    const v = value();
    if (!v) return;
    store.at = Math.max(0, Math.min(count(v) - 1, k));
    show();
    if (sound.playing()) hear(); else if (sound.node.getAttribute("src")) sound.clear();
  };

  /* ---- all of it ---- */
  const news = () => {
    const v = value();
    if (v && v.run !== store.run) Object.assign(store, { run: v.run, at: 0 });
    if (v && loaded !== v.run) { sound.clear(); loaded = null; say(""); }
    if (props.kind === "text") spell(); else { draw(); if (v) fetch(store.at); }
  };
  const open = () => {
    if (!props.entry) return element.replaceChildren(el("div", { class: "gm-nothing", text: "This entry has no latent space of music or text. Choose another one." }));
    element.replaceChildren(...(props.kind === "text" ? [el("div", { class: "gm-lines-bar" }, el("b", { text: "from word to word" }), el("span", { class: "gm-space" }), text), words] : music));
    news();
  };
  const listen = async () => {
    const now = await gm.until(() => form()?.element.isConnected && form());
    if (!now || !element.isConnected) return;
    const off = now.on((_, name) => { if (!element.isConnected) return off(); if (["tempo", "key"].includes(name) && sound.node.getAttribute("src")) hear(); });
  };
  element.addEventListener("gm:key", (event) => {
    ({ play: () => (sound.node.getAttribute("src") ? sound.toggle() : hear(true)), next: () => go(store.at + 1), previous: () => go(store.at - 1), first: () => go(0), last: () => go(99) })[event.detail]?.();
  });
  const again = () => { if (!element.isConnected) document.removeEventListener("gm:theme", again); else if (props.entry && props.kind === "music") draw(); };
  document.addEventListener("gm:theme", again);
  open();
  listen();
  watch("value", news);
  watch(["entry", "kind"], open);
};
