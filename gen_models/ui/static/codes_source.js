/* Where a picture for Codes comes from: drawn or brought, a test picture, or a sample of the prior; for A (edited) and B (mixed in).

   entry, labels, size, box, title, family, name (of the pads) come from Python; server.take gives a picture's codes.
   gm.codeSources[family].ask("a" | "b", source, name) takes a picture from elsewhere. */
window.gm.codeSources = {};
window.gm.codesource = (element, props, server, trigger, watch) => {
  const gm = window.gm, el = gm.el, family = props.family, id = props.name.replace(/-pad$/, "-source");
  const fresh = (seed) => ({ kind: "test", test: seed, seed, label: null, total: 100 });
  const kept = gm.codeSources[family]?.kept ?? { which: "a", a: fresh(0), b: fresh(1) };
  const edit = () => gm.codeEdit(family, props.entry), mine = () => kept[kept.which];
  let entry = null, latest = {};
  element.classList.add("gm-code-source");

  /* ---- asking ---- */
  const message = el("p", { class: "gm-muted gm-code-told", role: "status", id: `${id}-message` });
  const say = (text, wrong) => { message.textContent = text; message.className = wrong ? "gm-wrong gm-code-told" : "gm-muted gm-code-told"; };
  const pumps = Object.fromEntries(["a", "b"].map((which) => [which, gm.pump(server.take, (value, asked) => shown(which, value, asked), (text) => failed(which, text), 1)]));
  const ask = (which, source, name) => {
    if (!props.entry) return;
    latest[which] = { entry: props.entry, source, name };
    pumps[which].put(latest[which]);
  };
  const shown = (which, value, asked) => {
    const same = latest[which]?.source === asked.source && asked.entry === props.entry;
    if (!same || !element.isConnected) return;
    if (value.waiting) {
      say("test" in asked.source ? `Reading ${props.title} …` : "The prior writes …");
      return setTimeout(() => { if (latest[which]?.source === asked.source) pumps[which].put(asked); }, 300);
    }
    const source = "seed" in asked.source ? { codes: value.codes } : gm.plain(asked.source);
    const base = { source, codes: value.codes.flat(), picture: value.picture, name: asked.name ?? value.name };
    if (value.total) mineOf(which).total = value.total;
    edit().grid = [value.codes.length, value.codes[0].length];
    if (which === "a") edit().take(base); else edit().set({ other: base, brush: "other" });
    say(`${base.name} is picture ${which.toUpperCase()}.`);
  };
  const mineOf = (which) => kept[which];
  const failed = (which, text) => {
    if (which === "a" && !edit().now() && mine().kind === "test") { // the data set is not at hand: there is always the prior
      mine().kind = "seed";
      draw();
      ask("a", { seed: mine().seed, label: mine().label });
    }
    say(text, true);
  };
  const again = () => {
    const m = mine();
    if (m.kind === "drawn") { const drawn = gm.pads[pad()]?.value(); if (drawn) ask(kept.which, { drawn }); else say("Draw something, or upload a picture."); return; }
    ask(kept.which, m.kind === "test" ? { test: m.test } : { seed: m.seed, label: m.label });
  };

  /* ---- controls ---- */
  const pad = () => `${props.name}-${kept.which}`;
  const button = (text, suffix, onclick, more = {}) => el("button", { type: "button", class: "gm-button", text, id: `${id}-${suffix}`, onclick, ...more });
  const segments = (name, chosen, choices, choose) => el("div", { class: "gm-code-segments", role: "group", "aria-label": name }, ...choices.map(([value, text]) => el("button", {
    type: "button", class: "gm-button gm-toggle", text, id: `${id}-${value}`, "aria-pressed": String(value === chosen), onclick: () => { choose(value); draw(); element.querySelector(`#${id}-${value}`)?.focus(); } })));
  const numbered = (name, label, most, choices) => {
    const m = mine(), box = el("input", { type: "number", class: "gm-input", id: `${id}-${name}-number`, min: 0, max: most, step: 1, value: m[name], "aria-label": label });
    const put = (value) => { m[name] = value; box.value = value; again(); };
    box.onchange = () => put(box.value === "" ? 0 : Number(box.value));
    return el("div", { class: "gm-row" }, box, ...choices.map(([text, next]) => button(text, text.toLowerCase(), () => put(next(m[name])))));
  };
  const controls = () => {
    const m = mine();
    if (m.kind === "drawn") {
      return gm.drawing({ name: pad(), size: gm.plain(props.size), box: props.box, entry: props.entry, label: `Draw picture ${kept.which.toUpperCase()}`, read: server.picture, onchange: (drawn) => { if (drawn) again(); } }).node;
    }
    if (m.kind === "test") {
      const around = (k) => ((k % m.total) + m.total) % m.total;
      return numbered("test", "number of the test picture", null, [["Previous", (k) => around(k - 1)], ["Next", (k) => around(k + 1)], ["Random", () => Math.floor(Math.random() * m.total)]]);
    }
    const labels = gm.plain(props.labels), list = el("select", { class: "gm-input", id: `${id}-class`, "aria-label": "class of the sample" }, ...labels.map((name, k) => el("option", { value: k, text: name })));
    if (labels.length && !labels.includes(m.label)) m.label = labels[0];
    if (!labels.length) m.label = null;
    list.value = Math.max(0, labels.indexOf(m.label));
    list.onchange = () => { m.label = labels[list.value]; again(); };
    return el("div", { class: "gm-code-prior" }, numbered("seed", "seed of the sample", 2 ** 32 - 1, [["Dice", () => gm.dice()]]),
      labels.length ? el("label", { class: "gm-row" }, el("span", { class: "gm-muted", text: "class" }), list) : null);
  };
  const draw = () => {
    const m = mine();
    element.replaceChildren(
      segments("picture", kept.which, [["a", "Picture A: edited"], ["b", "Picture B: mixed in"]], (which) => { kept.which = which; }),
      segments("where it comes from", m.kind, [["drawn", "Draw or upload"], ["test", "Test picture"], ["seed", "Prior"]], (kind) => { m.kind = kind; if (kind !== "drawn" || gm.pads[pad()]?.value()) setTimeout(again); }),
      controls(), message);
  };
  const open = () => {
    if (entry === props.entry) return;
    entry = props.entry;
    latest = {};
    if (!entry) return element.replaceChildren();
    if (!props.title) for (const m of [kept.a, kept.b]) if (m.kind === "test") m.kind = "seed";
    draw();
    say("");
    const a = edit().now();
    if (!a) { const which = kept.which; kept.which = "a"; again(); kept.which = which; }
  };
  gm.codeSources[family] = { kept, ask, entry: () => (element.isConnected ? props.entry : null) };
  open();
  watch(["entry", "labels", "size", "box", "title"], open);
};
