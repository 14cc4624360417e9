/* The opening that a piece goes on from: nothing, the first bars of a held-out chorale, or of a MIDI file.

   value: {kind: "none" | "chorale" | "file", piece, bars, midi (base64), name}; panels/opening.py reads it. It lives in
   gm.openings[name] while the page is open: {value(), words()}. server.opening gives the notes, or says what is wrong. */
window.gm.openings = {};
window.gm.opening = (element, props, server, trigger, watch) => {
  const gm = window.gm, el = gm.el, name = props.name, LARGEST = 2e6;
  const old = gm.openings[name];
  const state = old?.state ?? { kind: "none", piece: 0, bars: 2, midi: "", name: "" };
  const KINDS = { none: "none: it begins by itself", chorale: "a held-out chorale", file: "a MIDI file of yours" };
  let tries = 0;

  const list = el("select", { class: "gm-input", id: `${name}-kind` }, ...Object.entries(KINDS).map(([value, text]) => el("option", { value, text })));
  const box = (key, low, high) => {
    const input = el("input", { type: "number", class: "gm-input", id: `${name}-${key}`, min: low, max: high, step: 1, value: state[key] });
    input.oninput = () => { state[key] = input.value === "" ? null : Number(input.value); changed(); };
    return input;
  };
  const field = (label, input) => el("div", { class: "gm-field" }, el("label", { for: input.id, text: label }), input);
  const bars = field("Bars given", box("bars", 1, 8)), piece = field("Chorale, 0 to 76", box("piece", 0, 76));
  const chooser = el("input", { type: "file", accept: ".mid,.midi,audio/midi", id: `${name}-file`, class: "gm-hidden", tabindex: -1, "aria-hidden": "true" });
  const upload = el("button", { type: "button", class: "gm-button", id: `${name}-upload`, text: "Choose a MIDI file", onclick: () => chooser.click() });
  const canvas = el("canvas", { class: "gm-opening-roll", role: "img" }), words = el("p", { class: "gm-info", id: `${name}-words` });
  const wrong = el("p", { class: "gm-wrong", role: "alert", hidden: true, id: `${name}-message` });
  const more = el("div", { class: "gm-opening-more" }, el("div", { class: "gm-opening-row" }, piece, el("div", { class: "gm-field gm-opening-file" }, el("span", { class: "gm-muted", text: "File" }), upload), bars), canvas, words);
  const value = () => gm.plain(state);
  const say = (text) => { wrong.textContent = text; wrong.hidden = !text; };

  let drawn = null;
  const show = (data) => {
    drawn = data;
    canvas.getContext("2d").reset?.();
    if (data) gm.miniRoll(canvas, data);
    words.textContent = data?.words ?? "";
    canvas.setAttribute("aria-label", data ? `the notes of ${data.words}` : "no opening yet");
  };
  const pump = gm.pump(server.opening, (found, asked) => {
    if (JSON.stringify(asked.given) !== JSON.stringify(value())) return;
    if (found?.waiting) { words.textContent = "reading the chorales"; if (tries++ < 100) setTimeout(look, 300); return; }
    say(""); show(found);
  }, (text) => { say(text); show(null); }, 1);
  const look = () => {
    if (!element.isConnected) return;
    if (state.kind === "none" || (state.kind === "file" && !state.midi)) { say(""); return show(null); }
    pump.put({ given: value() });
  };
  /** What is chosen here is what Python gets, also after another entry was picked. */
  const settle = () => {
    const wanted = state.kind === "none" ? null : value();
    if (element.isConnected && JSON.stringify(props.value || null) !== JSON.stringify(wanted)) props.value = wanted;
  };
  const changed = () => { tries = 0; draw(); settle(); look(); };
  const draw = () => {
    list.value = state.kind;
    more.hidden = state.kind === "none";
    piece.hidden = state.kind !== "chorale";
    upload.parentElement.hidden = state.kind !== "file";
    upload.textContent = state.name || "Choose a MIDI file";
    upload.title = state.name;
  };
  const bring = async (file) => {
    if (!file) return;
    const fail = (text) => { say(text); };
    if (!file.size) return fail(`${file.name} is empty. Choose a .mid with notes in it.`);
    if (file.size > LARGEST) return fail(`${file.name} is larger than 2 MB. Choose a file of a single piece.`);
    let text = "";
    for (const b of new Uint8Array(await file.arrayBuffer())) text += String.fromCharCode(b);
    Object.assign(state, { kind: "file", midi: btoa(text), name: file.name });
    changed();
  };
  list.onchange = () => { state.kind = list.value; changed(); };
  chooser.onchange = () => { bring(chooser.files[0]); chooser.value = ""; };
  element.ondragover = (event) => event.preventDefault();
  element.ondrop = (event) => { event.preventDefault(); bring(event.dataTransfer.files[0]); };
  element.classList.add("gm-opening");
  const open = () => element.replaceChildren(...(props.entry ? [el("div", { class: "gm-field" }, el("label", { for: list.id, text: "Opening" }), list), more, chooser, wrong] : []));
  const again = () => { if (!element.isConnected) return document.removeEventListener("gm:theme", again); if (drawn) gm.miniRoll(canvas, drawn); };
  document.addEventListener("gm:theme", again);
  gm.openings[name] = { state, value };
  open(); draw(); look();
  const later = () => setTimeout(settle, 150); // Gradio puts its own value in after this
  later();
  watch("entry", () => { open(); draw(); look(); later(); });
};
