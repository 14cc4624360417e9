/* Listen: the roll grows while it is written; then it plays, in the tempo and the key that the form says.

   value (panels/listen.py: sent): {run, entry, seed, bars, over, pieces: [roll], keys, figures}. Which piece is looked at
   lives in gm.listened[form] while the page is open. */
(() => {
  const gm = window.gm, el = gm.el;
  const FIGURES = { // field of metrics.music.Statistics -> title, words, unit
    scale: ["In one scale", "share of the notes that lie in the major or minor scale that fits best", "share"],
    polyphony: ["Polyphony", "share of the onsets at which several voices begin", "share"], span: ["Tone span", "semitones from the lowest to the highest tone", ""],
    unique: ["Unique pitches", "different tones", ""], repeats2: ["Pairs repeated", "two tones in a row that come again, pairs of places", ""],
    repeats3: ["Triples repeated", "three tones in a row that come again, pairs of places", ""] };
  gm.listened = {};

  /** A number line: the corpus as a band of one standard deviation, pieces as marks; HTML, so that it bends with its place. */
  gm.numberLine = ({ title, words, share, corpus, marks, at }) => {
    const known = marks.filter((v) => v !== null && v !== undefined), [mean, sd] = corpus ?? [null, 0];
    const ends = [...known, ...(corpus ? [mean - 3.2 * sd, mean + 3.2 * sd] : [])];
    let low = ends.length ? Math.min(...ends) : 0, high = ends.length ? Math.max(...ends) : 1;
    low = Math.max(0, low - 0.08 * (high - low)); high = high + 0.08 * (high - low) || 1;
    if (share) high = Math.min(1, high);
    if (high - low < 1e-9) high = low + 1;
    const place = (v) => `${Math.max(0, Math.min(100, (100 * (v - low)) / (high - low)))}%`, text = (v) => (share ? `${(100 * v).toFixed(0)} %` : gm.digits(v));
    const track = el("div", { class: "gm-line-track", "aria-hidden": "true" });
    if (corpus) {
      const left = Math.max(low, mean - sd), right = Math.min(high, mean + sd);
      track.append(el("i", { class: "gm-line-band", style: `left:${place(left)};width:${(100 * (right - left)) / (high - low)}%` }), el("i", { class: "gm-line-mean", style: `left:${place(mean)}` }));
    }
    marks.forEach((v, k) => { if (v !== null && v !== undefined) track.append(el("i", { class: `gm-line-mark${k === at ? " gm-line-at" : ""}`, style: `left:${place(v)}`, title: text(v) })); });
    const value = marks[at] ?? null, said = corpus ? `chorales ${text(mean)} ± ${share ? (100 * sd).toFixed(0) : gm.digits(sd)}` : "";
    return el("div", { class: "gm-line", title: words, "data-value": value ?? "", "data-corpus": corpus ? mean : "" },
      el("div", { class: "gm-line-head" }, el("span", { class: "gm-muted", text: title }), el("b", { text: value === null ? "–" : text(value) })), track, el("span", { class: "gm-muted", text: said || "\u00a0" }));
  };

  gm.listen = (element, props, server, trigger, watch) => {
    const id = props.form, store = (gm.listened[id] ??= { at: 0, run: null, play: true });
    let corpus = null, corpusOf = null, by = 0, loaded = null;
    element.classList.add("gm-listen", "gm-player");
    const form = () => gm.forms[id], settings = () => form()?.value() ?? {};
    const value = () => (props.value?.pieces && props.value.entry === props.entry ? gm.plain(props.value) : null);

    /* ---- the parts ---- */
    const roll = gm.roll({ id: `${id}-roll`, onseek: (step) => sound.seek(step) });
    const sound = gm.sound({ id, roll });
    const title = el("b", { id: `${id}-title` }), told = el("span", { class: "gm-muted gm-listen-key", id: `${id}-key-heard` });
    const wrong = el("p", { class: "gm-wrong", role: "alert", hidden: true, id: `${id}-wrong` });
    const auto = el("input", { type: "checkbox", id: `${id}-auto` });
    auto.checked = store.play;
    auto.onchange = () => { store.play = auto.checked; };
    const button = (text, what, hint) => el("button", { type: "button", class: "gm-button", id: `${id}-${what}`, text, "data-hint": hint, onclick: () => save(what) });
    const files = [button("MIDI", "mid", "the notes, for any player or notation program"), button("WAV", "wav", "the sound"), button("PNG", "png", "the roll, with its recipe inside")];
    const small = el("div", { class: "gm-listen-small", role: "radiogroup", "aria-label": "pieces: press one to hear it" });
    const lines = el("div", { class: "gm-lines-row", id: `${id}-figures` }), source = el("p", { class: "gm-muted gm-listen-source" });
    const before = el("figure", { class: "gm-listen-before" });
    const body = [
      el("div", { class: "gm-listen-head" }, el("span", { class: "gm-listen-title" }, title, told), roll.legend),
      el("div", { class: "gm-listen-stage" }, roll.node, before),
      el("div", { class: "gm-listen-bar" }, sound.node, el("label", { class: "gm-listen-auto" }, auto, "Play when ready"), el("span", { class: "gm-listen-files", role: "group", "aria-label": "save" }, ...files)),
      wrong, small, lines, source];
    const say = (text) => { wrong.textContent = text; wrong.hidden = !text; };

    /* ---- its sound ---- */
    const asked = () => { const v = value(), { tempo, key } = settings(); return v && { entry: v.entry, run: v.run, piece: store.at, tempo, key }; };
    const pump = gm.pump(server.sound, (found, about) => {
      const v = value();
      if (!v || about.run !== v.run || about.piece !== store.at) return;
      say("");
      by = found.semitones;
      told.textContent = found.heard ? `heard in ${found.heard}${by ? `, sounds in ${found.sounds}` : ""}` : "";
      show();
      const same = loaded === `${about.run} ${about.piece}`; // another tempo or key: it goes on where it was
      sound.load(found.path, found.tempo, { play: about.play, at: same ? null : 0, steps: v.bars * 16 });
      loaded = `${about.run} ${about.piece}`;
      element.dataset.heard = `${about.run} ${about.piece} ${found.tempo} ${by}`;
    }, (text) => say(text), 2);
    const hear = (play = false) => { const now = asked(); if (now && value().over) pump.put({ ...now, play }); };
    const save = async (what) => {
      const answer = await gm.ask(server.file, { ...asked(), what });
      if (answer.error || answer.busy) return say(answer.error ?? "The server is busy: try again in a moment.");
      say("");
      gm.saveUrl(gm.fileUrl(answer.value.path), answer.value.name);
    };

    /* ---- what is seen ---- */
    const show = () => {
      const v = value(), piece = v?.pieces[store.at];
      roll.set(piece ? { ...piece, steps: v.bars * 16, by: v.over ? by : 0 } : { notes: [], steps: 256 });
      before.hidden = Boolean(v);
      title.textContent = v ? `seed ${v.seed + store.at} · ${v.bars} bar${v.bars > 1 ? "s" : ""}` : "";
      if (v && !v.over) told.textContent = "being written";
      for (const file of files) { file.disabled = !v?.over; file.title = file.disabled ? "nothing is written yet" : file.dataset.hint; }
      element.dataset.over = v?.over ? v.run : "";
    };
    const choose = (k, play) => { if (k === store.at && !play) return; store.at = k; by = 0; told.textContent = ""; show(); draw(); hear(play); };
    const draw = () => {
      const v = value(), count = v?.pieces.length ?? 0;
      small.hidden = count < 2;
      while (small.children.length > count) small.lastChild.remove();
      for (let k = 0; k < count && count > 1; k++) {
        const tile = small.children[k] ?? small.appendChild(el("button", { type: "button", class: "gm-listen-tile", role: "radio", onclick: () => choose(k, true) }, el("canvas"), el("span")));
        tile.setAttribute("aria-checked", String(k === store.at));
        tile.tabIndex = k === store.at ? 0 : -1;
        tile.lastChild.textContent = `seed ${v.seed + k}${v.keys[k] ? ` · ${v.keys[k]}` : ""}`;
        gm.miniRoll(tile.firstChild, { ...v.pieces[k], steps: v.bars * 16 });
      }
      const rows = v?.figures ?? [];
      lines.replaceChildren(...Object.entries(FIGURES).filter(([name]) => !rows[0] || name in rows[0]).map(([name, [head, words, unit]]) => gm.numberLine({
        title: head, words, share: unit === "share", corpus: corpus?.figures?.[name], marks: rows.map((row) => row?.[name] ?? null), at: store.at })));
      source.textContent = corpus?.words ? `Of the first 100 notes. Green: ${corpus.words}, mean and standard deviation. Purple: ${rows.length > 1 ? "these pieces" : "this piece"}.` : corpus?.error ?? "";
    };
    small.addEventListener("keydown", (event) => {
      const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key], count = value()?.pieces.length ?? 0;
      if (!by || !count) return;
      event.preventDefault(); event.stopPropagation();
      choose((store.at + by + count) % count, false);
      small.children[store.at]?.focus();
    });
    const measure = async (tries = 0) => {
      const entry = props.entry;
      if (!entry || corpusOf === entry) return;
      const answer = await gm.ask(server.corpus, { entry });
      if (entry !== props.entry || !element.isConnected) return;
      if (answer.busy || answer.value?.waiting) { if (tries < 100) setTimeout(() => measure(tries + 1), 400); return; }
      corpusOf = entry;
      corpus = answer.value ?? { error: answer.error };
      draw();
    };

    /* ---- all of it ---- */
    const news = (fresh) => {
      const v = value();
      if (v && v.run !== store.run) { Object.assign(store, { run: v.run, at: 0 }); sound.clear(); by = 0; loaded = null; }
      if (v && store.at >= v.pieces.length) store.at = 0;
      show(); draw();
      if (v?.over) hear(fresh && store.play);
    };
    const open = () => {
      say(""); told.textContent = "";
      if (!props.entry) return element.replaceChildren(el("div", { class: "gm-nothing", text: "This entry makes no music, or has no checkpoint yet. Choose another one." }));
      if (!roll.node.isConnected) element.replaceChildren(...body);
      before.replaceChildren(...(props.picture ? [el("img", { src: props.picture, alt: `pieces that ${props.entry} wrote from seeds 0, 1, ..` })] : []),
        el("figcaption", { class: "gm-muted", text: props.picture ? "what it wrote from seeds 0 to 3 · press Generate: the roll grows while it is written" : "press Generate: the roll grows while it is written" }));
      corpus = null; corpusOf = null;
      news(false);
      measure();
    };
    const listen = async () => {
      const now = await gm.until(() => form()?.element.isConnected && form());
      if (!now || !element.isConnected) return;
      const off = now.on((_, name) => { if (!element.isConnected) return off(); if (["tempo", "key", null].includes(name)) hear(); });
      if (value()?.over && !loaded) hear();
    };
    element.addEventListener("gm:key", (event) => { if (event.detail === "play") sound.toggle(); });
    const again = () => { if (!element.isConnected) document.removeEventListener("gm:theme", again); else draw(); };
    document.addEventListener("gm:theme", again);
    open();
    listen();
    watch("value", () => news(true));
    watch(["entry", "picture"], open);
  };
})();
