/* One's own pictures: one that is being drawn, those that were kept, and files, several at once.

   name, entry, size, box and most come from Python (panels/critic.py). gm.owned[name].value() -> [{kind, pixels, name,
   size}], pictures of this entry's size only; .on(listener) -> unsubscribe. What was brought outlives a change of tab. */
window.gm.owned = {};
/** Puts a picture's bytes, grey or three colours, on a canvas of its own size. */
window.gm.paintPixels = (canvas, { pixels, size: [height, width] }) => {
  const bytes = Uint8Array.from(atob(pixels), (c) => c.charCodeAt(0)), wide = bytes.length === 3 * width * height ? 3 : 1;
  canvas.width = width; canvas.height = height;
  const pen = canvas.getContext("2d"), image = pen.createImageData(width, height);
  for (let k = 0; k < width * height; k++) {
    for (let c = 0; c < 3; c++) image.data[4 * k + c] = bytes[wide * k + (wide === 3 ? c : 0)];
    image.data[4 * k + 3] = 255;
  }
  pen.putImageData(image, 0, 0);
};
window.gm.own = (element, props, server, trigger, watch) => {
  const gm = window.gm, el = gm.el, name = props.name, MOST_BYTES = 24e6;
  const state = gm.owned[name]?.state ?? { items: [], open: false, drawn: 0 };
  const listeners = gm.owned[name]?.listeners ?? new Set();
  const size = () => gm.plain(props.size), same = (item) => item.size.join() === size().join();
  const pad = gm.drawing({ name: `${name}-pad`, size: size(), box: props.box, entry: props.entry, label: "Draw here", read: server.picture, onchange: () => changed() });

  const drawn = () => { const value = pad.value(); return value ? [{ ...value, name: value.name || "your drawing", size: size() }] : []; };
  const value = () => [...state.items.filter(same), ...drawn()];
  const changed = () => {
    props.value = value().slice(0, props.most);
    draw();
    for (const listener of listeners) listener(props.value);
  };
  const room = () => props.most - state.items.filter(same).length - drawn().length;

  const keep = el("button", { type: "button", class: "gm-button", text: "Keep it, draw another", id: `${name}-keep`, onclick: () => {
    const [now] = drawn();
    if (!now) return;
    state.items.push({ ...now, name: now.kind === "drawn" ? `drawing ${++state.drawn}` : now.name });
    pad.clear();
    changed();
  } });
  const chooser = el("input", { type: "file", accept: "image/*", multiple: true, class: "gm-hidden", tabindex: -1, "aria-label": "several pictures", id: `${name}-files` });
  const choose = el("button", { type: "button", class: "gm-button", text: "Add files", id: `${name}-add`, onclick: () => chooser.click() });
  const message = el("p", { class: "gm-wrong", role: "alert", hidden: true, id: `${name}-own-message` });
  const chips = el("div", { class: "gm-chips gm-own-chips", role: "group", "aria-label": "your pictures" });
  const coded = (bytes) => { let text = ""; for (const b of bytes) text += String.fromCharCode(b); return btoa(text); };
  const read = async (file) => {
    if (!file.size) throw new Error(`${file.name} is empty. Choose a picture.`);
    if (file.size > MOST_BYTES) throw new Error(`${file.name} is larger than 24 MB. Save the picture smaller and try again.`);
    const answer = await gm.ask(server.picture, { entry: props.entry, name: file.name, file: coded(new Uint8Array(await file.arrayBuffer())) });
    if (!answer.value) throw new Error(answer.error ?? "The server is busy: try again in a moment.");
    return { kind: "file", name: file.name.slice(0, 80), pixels: answer.value.pixels, size: answer.value.size };
  };
  chooser.onchange = async () => {
    const files = [...chooser.files], wrong = [], free = room();
    chooser.value = "";
    choose.disabled = true; choose.textContent = "Reading …";
    for (const file of files.slice(0, free)) {
      try { state.items.push(await read(file)); } catch (error) { wrong.push(error.message); }
    }
    if (files.length > free) wrong.push(`${files.length - free} too many: there is room for ${props.most} pictures.`);
    message.textContent = wrong.join(" "); message.hidden = !wrong.length;
    choose.textContent = "Add files";
    changed();
  };
  const draw = () => {
    const full = room() <= 0, nothing = !drawn().length;
    keep.disabled = nothing; keep.title = nothing ? "nothing is drawn" : "";
    choose.disabled = full; choose.title = full ? `there is room for ${props.most} pictures: remove one first` : "";
    chips.replaceChildren(...state.items.filter(same).map((item) => {
      const canvas = el("canvas", { role: "img", "aria-label": item.name });
      gm.paintPixels(canvas, item);
      return el("span", { class: "gm-chip gm-own-chip", title: item.name }, canvas, el("button", {
        type: "button", "aria-label": `remove ${item.name}`, text: "×", onclick: () => { state.items = state.items.filter((other) => other !== item); changed(); } }));
    }));
  };
  gm.owned[name] = { state, listeners, value: () => value().slice(0, props.most), on: (listener) => (listeners.add(listener), () => listeners.delete(listener)) };
  element.replaceChildren(el("details", { class: "gm-more gm-own", open: state.open, ontoggle: (event) => { state.open = event.target.open; } },
    el("summary", { text: "Your own pictures: draw, or add files" }), el("div", { class: "gm-own-body" },
      chips, el("div", { class: "gm-row" }, choose, keep, chooser), message, pad.node)));
  draw();
  watch(["entry", "size", "box"], () => { pad.set({ entry: props.entry, size: size(), box: props.box }); changed(); });
};
