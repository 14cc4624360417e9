/* The pad: draw a picture with mouse, pen or finger, or bring one as a file (chooser, drop or paste).

   As a component of its own (Python: gen_models/ui/pad.py has the other end):
     view = live("pad", pad.serve(tab), tab.visits, events=("input",), value=None, name=f"{family}-latent-pad", **pad.props(tab.first))
     tab.on_pick(pad.follow, [view])
     view.input(fn, [tab.chosen, view], ...): the value is null (empty) or {kind, pixels, name}; pad.received(value, space) -> (C, H, W)
   From JavaScript: gm.pads[name].value(), .on(listener) -> unsubscribe; listener(value) is called at most once per frame
     while somebody draws: put the value into your gm.pump as {entry, drawn: value} and use pad.received there too.

   Inside a component of yours: const pad = gm.drawing({name, size: [H, W], box, entry, label, read: server.picture, onchange});
     pad.node (put it into the page), pad.value(), pad.clear(), pad.set({size, box, entry}).
     read(asked) asks the server function that pad.serve(tab) gives; onchange(value) is called as above.

   value: {kind: "drawn" | "file", pixels: base64 of H * W grey bytes (drawn) or H * W * 3 bytes (file), name: the file's}.
   box > 0: a drawing is scaled so that its longer side is `box` of the picture (MNIST: 20 / 28), with strokes of the
     brush's width whatever the scale, and its centre of mass is put in the middle; box = 0: it is taken as drawn.
   colours: [[name, "#rrggbb"], ..] draws in these on white paper, and the pixels are H * W * 3 bytes; [] in white on black.
   What was drawn, and its history, outlives the component: it stays under its name while the page is open. */
window.gm.pads = {};
window.gm.drawing = ({ name, size, box = 0, colours = [], entry, label = "Draw here", read, onchange = () => {} }) => {
  const gm = window.gm, el = gm.el, FINE = 8, MOST_BYTES = 24e6;
  const old = gm.pads[name];
  const state = old?.state ?? { now: { strokes: [], file: null }, past: [], brush: 2.4, colour: 0 };
  const listeners = old?.listeners ?? new Set();
  let [height, width] = size, stroke = null, due = 0, sent = null, reading = 0;

  /* ---- from strokes to a picture like the data ---- */
  const fine = el("canvas"), pen = fine.getContext("2d", { willReadFrequently: true });
  const trace = (target, strokes, scale, dx, dy, thick, colour = null) => {
    target.lineCap = target.lineJoin = "round";
    for (const { points, brush, ink } of strokes) {
      target.strokeStyle = colour ?? (colours.length ? ink ?? colours[0][1] : "#fff");
      target.lineWidth = brush * thick;
      target.beginPath();
      target.moveTo(points[0][0] * scale + dx, points[0][1] * scale + dy);
      if (points.length === 1) target.lineTo(points[0][0] * scale + dx + 0.01, points[0][1] * scale + dy);
      for (const [x, y] of points.slice(1)) target.lineTo(x * scale + dx, y * scale + dy);
      target.stroke();
    }
  };
  const grey = (strokes) => {
    const w = width * FINE, h = height * FINE, all = strokes.flatMap((s) => s.points);
    const [xs, ys] = [0, 1].map((axis) => all.map((point) => point[axis]));
    const span = (a) => a.reduce((m, x) => [Math.min(m[0], x), Math.max(m[1], x)], [Infinity, -Infinity]);
    const [[left, right], [top, bottom]] = [span(xs), span(ys)];
    const brush = Math.max(...strokes.map((s) => s.brush));
    const room = box * Math.min(width, height) - brush, long = Math.max(right - left, bottom - top);
    const scale = box ? Math.min(long ? room / long : 1, 3) : 1; // a dot stays a dot
    fine.width = w; fine.height = h;
    const dx = box ? w / 2 - ((left + right) / 2) * scale * FINE : 0, dy = box ? h / 2 - ((top + bottom) / 2) * scale * FINE : 0;
    trace(pen, strokes, scale * FINE, dx, dy, FINE, "#fff");
    const ink = pen.getImageData(0, 0, w, h).data;
    let mass = 0, mx = 0, my = 0;
    for (let y = 0; y < h; y++) for (let x = 0; x < w; x++) { const a = ink[4 * (y * w + x) + 3]; mass += a; mx += a * x; my += a * y; }
    const sx = box && mass ? Math.round(mx / mass - (w - 1) / 2) : 0, sy = box && mass ? Math.round(my / mass - (h - 1) / 2) : 0;
    const out = new Uint8Array(width * height);
    for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) {
      let sum = 0;
      for (let j = 0; j < FINE; j++) for (let i = 0; i < FINE; i++) {
        const u = x * FINE + i + sx, v = y * FINE + j + sy;
        if (u >= 0 && v >= 0 && u < w && v < h) sum += ink[4 * (v * w + u) + 3];
      }
      out[y * width + x] = Math.round(sum / (FINE * FINE));
    }
    return out;
  };
  const painted = (strokes) => {
    const w = width * FINE, h = height * FINE, out = new Uint8Array(3 * width * height), sums = new Float64Array(out.length);
    fine.width = w; fine.height = h;
    pen.fillStyle = "#fff"; pen.fillRect(0, 0, w, h);
    trace(pen, strokes, FINE, 0, 0, FINE);
    const ink = pen.getImageData(0, 0, w, h).data;
    for (let v = 0; v < h; v++) for (let u = 0; u < w; u++) {
      const from = 4 * (v * w + u), to = 3 * (Math.floor(v / FINE) * width + Math.floor(u / FINE));
      for (let c = 0; c < 3; c++) sums[to + c] += ink[from + c];
    }
    for (let k = 0; k < out.length; k++) out[k] = Math.round(sums[k] / (FINE * FINE));
    return out;
  };
  const coded = (bytes) => { let text = ""; for (const b of bytes) text += String.fromCharCode(b); return btoa(text); };
  const bytesOf = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const value = () => {
    const { strokes, file } = state.now;
    if (strokes.length) return { kind: "drawn", pixels: coded(colours.length ? painted(strokes) : grey(strokes)), name: "" };
    return file && file.size.join() === [height, width].join() ? { kind: "file", pixels: file.pixels, name: file.name } : null;
  };

  /* ---- what is seen ---- */
  const canvas = el("canvas", { class: "gm-pad-canvas", role: "img", "aria-label": label });
  const small = el("canvas", { class: "gm-pad-small", role: "img", "aria-label": "what the model gets" });
  const paintBytes = (target, bytes) => {
    const rgb = bytes.length === 3 * width * height;
    target.width = width; target.height = height;
    const image = target.getContext("2d").createImageData(width, height);
    for (let k = 0; k < width * height; k++) {
      for (let c = 0; c < 3; c++) image.data[4 * k + c] = rgb ? bytes[3 * k + c] : bytes[k];
      image.data[4 * k + 3] = 255;
    }
    target.getContext("2d").putImageData(image, 0, 0);
  };
  const paint = () => {
    const { strokes, file } = state.now, seen = strokes.length || !file ? 10 : 1;
    canvas.style.aspectRatio = `${width} / ${height}`;
    canvas.width = width * seen; canvas.height = height * seen;
    const target = canvas.getContext("2d");
    if (!strokes.length && file) paintBytes(canvas, bytesOf(file.pixels));
    else {
      target.fillStyle = colours.length ? "#fff" : "#000"; target.fillRect(0, 0, canvas.width, canvas.height);
      trace(target, strokes, seen, 0, 0, seen);
    }
    paintBytes(small, sent ? bytesOf(sent.pixels) : new Uint8Array(width * height).fill(colours.length ? 255 : 0));
    node.classList.toggle("gm-pad-empty", !strokes.length && !file);
    undo.disabled = !state.past.length; undo.title = undo.disabled ? "nothing to undo" : "";
    clear.disabled = !strokes.length && !file; clear.title = clear.disabled ? "nothing is drawn" : "";
    invert.hidden = !file || strokes.length > 0;
  };
  const changed = () => {
    if (due) return;
    due = requestAnimationFrame(() => {
      due = 0;
      sent = value();
      paint();
      onchange(sent);
      for (const listener of listeners) listener(sent);
    });
  };
  const step = (next) => { state.past = [...state.past.slice(-49), state.now]; state.now = next; say(""); changed(); };

  /* ---- drawing ---- */
  const at = (event) => {
    const frame = canvas.getBoundingClientRect();
    return [((event.clientX - frame.left) / frame.width) * width, ((event.clientY - frame.top) / frame.height) * height];
  };
  canvas.onpointerdown = (event) => {
    if (event.button || stroke) return;
    event.preventDefault();
    canvas.setPointerCapture(event.pointerId);
    const ink = colours.length ? colours[state.colour % colours.length][1] : null;
    stroke = { points: [at(event)], brush: (state.brush * Math.min(width, height)) / 28, pointer: event.pointerId, ink };
    step({ strokes: [...state.now.strokes, stroke], file: state.now.file });
  };
  canvas.onpointermove = (event) => {
    if (stroke?.pointer !== event.pointerId) return;
    const moves = event.getCoalescedEvents?.() ?? [];
    for (const move of moves.length ? moves : [event]) stroke.points.push(at(move));
    changed();
  };
  canvas.onpointerup = canvas.onpointercancel = canvas.onlostpointercapture = () => { stroke = null; };

  /* ---- buttons ---- */
  const button = (text, suffix, onclick) => el("button", { type: "button", class: "gm-button", text, id: `${name}-${suffix}`, onclick });
  const undo = button("Undo", "undo", () => { if (state.past.length) { state.now = state.past.pop(); say(""); changed(); } });
  const clear = button("Clear", "clear", () => step({ strokes: [], file: null }));
  const invert = button("Invert", "invert", () => {
    const { file } = state.now;
    step({ strokes: [], file: { ...file, pixels: coded(bytesOf(file.pixels).map((b) => 255 - b)) } });
  });
  invert.title = "black becomes white: for ink on paper";
  const chooser = el("input", { type: "file", accept: "image/*", id: `${name}-file`, class: "gm-hidden", tabindex: -1, "aria-hidden": "true" });
  chooser.onchange = () => { bring(chooser.files[0]); chooser.value = ""; };
  const choose = button("Upload", "upload", () => chooser.click());
  const brush = el("input", {
    type: "range", class: "gm-range", min: 1, max: 5, step: 0.1, value: state.brush, id: `${name}-brush`, "aria-label": "brush width",
  });
  const broad = () => {
    brush.max = colours.length ? 12 : 5; // a face is filled with a broad one
    brush.style.setProperty("--at", `${((brush.value - 1) / (brush.max - 1)) * 100}%`);
    brush.setAttribute("aria-valuetext", `${brush.value} pixels`);
  };
  brush.oninput = () => { state.brush = Number(brush.value); broad(); };
  const palette = el("div", { class: "gm-row gm-pad-palette", role: "group", "aria-label": "colour" });
  const inks = () => {
    palette.hidden = !colours.length;
    palette.replaceChildren(...colours.map(([title, colour], k) => el("button", {
      type: "button", class: "gm-pad-ink", title, "aria-label": title, "aria-pressed": String(state.colour % colours.length === k), style: `--ink: ${colour}`,
      id: `${name}-ink-${title}`, onclick: () => { state.colour = k; inks(); palette.children[k].focus(); },
    })));
  };

  /* ---- files ---- */
  const message = el("p", { class: "gm-wrong gm-pad-message", role: "alert", hidden: true, id: `${name}-message` });
  const say = (text) => { message.textContent = text; message.hidden = !text; };
  const bring = async (file) => {
    if (!file) return;
    if (!file.size) return say(`${file.name} is empty. Choose a picture.`);
    if (file.size > MOST_BYTES) return say(`${file.name} is larger than 24 MB. Save the picture smaller and try again.`);
    const mine = ++reading;
    choose.textContent = "Reading …";
    try {
      const answer = await gm.ask(read, { entry, name: file.name, file: coded(new Uint8Array(await file.arrayBuffer())) });
      if (mine !== reading) return;
      if (answer.value) step({ strokes: [], file: { pixels: answer.value.pixels, size: answer.value.size, name: file.name } });
      else say(answer.error ?? "The server is busy: try again in a moment.");
    } catch (error) { say(`${file.name} could not be sent: ${error.message}`); } finally { choose.textContent = "Upload"; }
  };
  const pictureIn = (transfer) => [...(transfer?.files ?? [])][0];
  const node = el("div", { class: "gm-pad" },
    el("div", { class: "gm-pad-box" }, canvas, el("span", { class: "gm-pad-hint", text: label })),
    el("div", { class: "gm-row gm-pad-buttons", role: "group", "aria-label": "drawing" }, undo, clear, choose, invert, chooser),
    el("label", { class: "gm-row gm-pad-brush" }, el("span", { class: "gm-muted", text: "Brush" }), brush), palette,
    el("div", { class: "gm-pad-given" }, small, el("p", { class: "gm-muted" })), message);
  const told = () => {
    const side = Math.min(width, height);
    node.querySelector(".gm-pad-given p").textContent = box
      ? `What the model gets: centred by mass and scaled into ${Math.round(box * side)} × ${Math.round(box * side)} of ${width} × ${height} pixels, like the data. Pictures: upload, drop or paste.`
      : `What the model gets: ${width} × ${height} pixels, as drawn. Pictures: upload, drop or paste.`;
    node.classList.toggle("gm-pad-paper", colours.length > 0);
    broad(); inks();
  };
  node.ondragover = (event) => { event.preventDefault(); node.classList.add("gm-pad-over"); };
  node.ondragleave = () => node.classList.remove("gm-pad-over");
  node.ondrop = (event) => { event.preventDefault(); node.classList.remove("gm-pad-over"); bring(pictureIn(event.dataTransfer)); };
  const paste = (event) => {
    if (!node.isConnected) return document.removeEventListener("paste", paste);
    const file = pictureIn(event.clipboardData);
    if (file && node.offsetParent) { event.preventDefault(); bring(file); }
  };
  document.addEventListener("paste", paste);

  told();
  sent = value();
  paint();
  return (gm.pads[name] = {
    node, state, listeners,
    value: () => sent,
    on: (listener) => (listeners.add(listener), () => listeners.delete(listener)),
    clear: () => { if (!clear.disabled) clear.click(); },
    set: (next) => { [height, width] = next.size ?? [height, width]; box = next.box ?? box; colours = next.colours ?? colours; entry = next.entry ?? entry; told(); changed(); },
  });
};
window.gm.pad = (element, props, server, trigger, watch) => {
  const pad = window.gm.drawing({
    name: props.name, size: window.gm.plain(props.size), box: props.box, colours: window.gm.plain(props.colours) ?? [], entry: props.entry, label: props.label ?? "Draw here",
    read: server.picture,
    onchange: (value) => { props.value = value; trigger("input"); },
  });
  element.replaceChildren(pad.node);
  watch(["entry", "size", "box", "colours"], () => pad.set({
    entry: props.entry, size: window.gm.plain(props.size), box: props.box, colours: window.gm.plain(props.colours) ?? [] }));
};
