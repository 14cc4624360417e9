/* Key points of a walk through latent space: seeds, samples that were taken, pictures that were drawn or uploaded.

   props: value (the items), entry, labels, encodes, size, box, family, form. An item is
     {kind: "seed", seed, label} | {kind: "taken", seed, label, options} | {kind: "picture", drawn: {kind, pixels, name}};
   server.chips({entry, keys, label}) gives one data URL per item, server.picture reads files for the pad. */
window.gm.keypoints = (element, props, server, trigger, watch) => {
  const gm = window.gm, el = gm.el, MOST = 8, family = props.family, id = `${family}-keys`;
  let pictures = {}, drawing = null, asks = 0;
  element.classList.add("gm-keys");
  const items = () => props.value ?? [];
  const label = () => gm.forms[props.form]?.value()?.label ?? "any";
  const keyOf = (item) => JSON.stringify([props.entry, label(), item]);
  const named = (item) => item.kind === "picture" ? (item.drawn.name || "drawing")
    : `seed ${item.seed}${label() === "any" && props.labels.length && item.label !== null ? ` · ${props.labels[item.label]}` : ""}`;
  const put = (next) => { props.value = next; draw(); trigger("input"); };
  const add = (item) => { if (items().length < MOST) put([...items(), item]); };
  const seeded = (seed) => ({ kind: "seed", seed, label: props.labels.length ? seed % props.labels.length : null });
  const fromTaken = (item) => ({ kind: "taken", seed: item.seed, label: item.label, options: item.options });
  const full = () => (items().length >= MOST ? "eight key points at most: remove one first" : "");
  const button = (text, suffix, onclick, why = "") => el("button", {
    type: "button", class: "gm-button", id: `${id}-${suffix}`, text, onclick, disabled: Boolean(why), title: why || null });
  const tell = (text) => { const line = element.querySelector(":scope > .gm-wrong"); line.textContent = text; line.hidden = !text; };

  /* ---- chips: their pictures are asked for once ---- */
  const fetch = async () => {
    const wanted = items().filter((item) => !(keyOf(item) in pictures)), mine = ++asks;
    if (!wanted.length || !props.entry) return;
    const names = wanted.map(keyOf), answer = await gm.ask(server.chips, { entry: props.entry, keys: gm.plain(wanted), label: label() });
    if (answer.busy) return setTimeout(() => { if (mine === asks) fetch(); }, 80);
    if (answer.error) return tell(answer.error);
    if (Object.keys(pictures).length > 200) pictures = {};
    names.forEach((name, k) => { pictures[name] = answer.value[k]; });
    tell("");
    show();
  };
  const show = () => items().forEach((item, k) => {
    const image = element.querySelectorAll(".gm-keypoint img")[k], url = pictures[keyOf(item)];
    if (image && url) { image.src = url; image.hidden = false; }
  });
  const move = (k, by) => { const next = [...items()]; [next[k], next[k + by]] = [next[k + by], next[k]]; put(next); };
  const chip = (item, k) => {
    const small = (text, say, onclick, why = "") => el("button", {
      type: "button", class: "gm-reset", text, "aria-label": `${say} key point ${k + 1}, ${named(item)}`, onclick, disabled: Boolean(why), title: why || null });
    return el("li", { class: "gm-keypoint", "data-key": k },
      el("span", { class: "gm-key-view" }, el("img", { alt: `key point ${k + 1}, ${named(item)}`, hidden: true }), el("i", { text: k + 1 })),
      el("span", { class: "gm-key-name", text: named(item), title: named(item) }),
      el("span", { class: "gm-key-acts" },
        small("Left", "move left", () => move(k, -1), k ? "" : "it is the first"),
        small("Right", "move right", () => move(k, 1), k < items().length - 1 ? "" : "it is the last"),
        small("Remove", "remove", () => put(items().filter((_, other) => other !== k)))));
  };

  /* ---- what can be added ---- */
  const seeds = () => {
    const box = el("input", { type: "number", class: "gm-input", id: `${id}-seed`, min: 0, max: 2 ** 32 - 1, step: 1, placeholder: "seed", "aria-label": "seed of a new key point" });
    const enter = () => {
      const seed = Number(box.value);
      if (box.value === "" || !Number.isInteger(seed) || seed < 0 || seed >= 2 ** 32) return tell("A seed is a whole number from 0 to 4294967295. Type one, or press Dice.");
      tell(""); add(seeded(seed));
      element.querySelector(`#${id}-seed`)?.focus();
    };
    box.addEventListener("keydown", (event) => { if (event.key === "Enter" && !event.ctrlKey && !event.metaKey) enter(); });
    return [box, button("Add seed", "add", enter, full()), button("Dice", "dice", () => add(seeded(gm.dice())), full())];
  };
  const taken = () => (gm.takenOf[family]?.items() ?? []).map((item) => {
    const why = item.entry !== props.entry ? `from ${item.entry}: choose that entry to use it` : full();
    return el("button", { type: "button", class: "gm-chip gm-key-taken", disabled: Boolean(why), title: why || "add it as a key point", onclick: () => add(fromTaken(item)) },
      el("img", { src: item.picture, alt: "" }), `add seed ${item.seed}`);
  });
  const pad = () => {
    if (!props.encodes) return null;
    drawing ??= gm.drawing({ name: `${id}-pad`, size: gm.plain(props.size), box: props.box, entry: props.entry, label: "Draw a key point", read: server.picture });
    const use = () => {
      const drawn = gm.plain(drawing.value());
      if (!drawn) return tell("Draw something first, or upload a picture.");
      tell(""); element.classList.remove("gm-drawing"); add({ kind: "picture", drawn, label: null }); drawing.clear();
    };
    return el("div", { class: "gm-key-pad" }, drawing.node, el("div", { class: "gm-row" },
      button("Add as key point", "use", use, full()), button("Back", "back", () => element.classList.remove("gm-drawing"))));
  };
  const draw = () => {
    const last = items().length, bar = props.normal ? seeds() : [], open = () => { tell(""); element.classList.add("gm-drawing"); };
    if (props.encodes) bar.push(button("Draw or upload", "draw", open, full()));
    const message = el("p", { class: "gm-wrong", role: "alert", hidden: true });
    element.replaceChildren(
      el("div", { class: "gm-key-head" }, el("b", { text: "Key points" }), el("span", { class: "gm-muted", text: `${last} of 2 to 8, passed in this order` })),
      el("ol", { class: "gm-key-list" }, ...items().map(chip), last ? null : el("li", { class: "gm-void", text: "Add two key points to begin." })),
      el("div", { class: "gm-row gm-key-add" }, ...bar), el("div", { class: "gm-chips gm-key-takens" }, ...taken()), pad() ?? "", message);
    gm.forms[props.form]?.block(last < 2 ? "A walk needs at least two key points: add another." : "");
    show();
    fetch();
  };
  const again = () => {
    drawing?.set({ size: gm.plain(props.size), box: props.box, entry: props.entry });
    if (!props.encodes) { drawing = null; element.classList.remove("gm-drawing"); }
    draw();
  };
  const until = (ready, then) => { if (ready()) then(); else if (element.isConnected) setTimeout(() => until(ready, then), 30); };
  draw();
  until(() => gm.forms[props.form], () => {
    const off = gm.forms[props.form].on((values, name) => { if (!element.isConnected) off(); else if (name === "label" || name === null) draw(); });
    gm.forms[props.form].block(items().length < 2 ? "A walk needs at least two key points: add another." : "");
  });
  until(() => gm.takenOf[family], () => {
    const off = gm.takenOf[family].on(() => { if (!element.isConnected) off(); else element.querySelector(".gm-key-takens").replaceChildren(...taken()); });
    element.querySelector(".gm-key-takens").replaceChildren(...taken());
  });
  watch(["value", "entry", "labels", "encodes", "size", "box"], again);
};
