/* Latent sliders and, for a two-dimensional latent, a plane: the picture follows the hand, the newest position wins. */
window.gm.latentState = {}; // family -> what must survive a change of tab
window.gm.latent = (element, props, server, trigger, watch) => {
  const gm = window.gm, el = gm.el, family = props.family;
  const blank = () => ({ entry: "", seed: 0, scale: 1, label: null, z0: null, c: [], from: "" });
  let state = gm.latentState[family] ?? (gm.latentState[family] = blank());
  let space = null, plane = null, parts = {};

  const z = () => state.z0.map((value, d) => Math.max(-20, Math.min(20, value + state.c.reduce((sum, c, k) => sum + c * space.axes[k][d], 0))));
  const told = (message, bad) => { parts.message?.replaceChildren(...(message ? [el("p", { class: bad ? "gm-wrong" : "gm-note", role: bad ? "alert" : "status", text: message })] : [])); };
  const fail = (message) => told(message, true);
  const where = () => state.c.map((c, k) => (c ? `${c > 0 ? "+" : "−"}${Math.abs(c).toFixed(2)} ${space.names[k]}` : "")).filter(Boolean).join("  ");
  const pump = gm.pump(server.decode, (url) => {
    parts.picture.src = url;
    parts.picture.alt = `${props.entry}, ${state.from || `seed ${state.seed}`}${state.label === null ? "" : `, class ${props.labels[state.label]}`}, moved by ${where() || "nothing"}`;
  }, fail);
  const tellWhere = (code) => { parts.where.textContent = space.dim === 2 ? `z = (${code.map((v) => v.toFixed(2)).join(", ")})` : where() || "the start itself"; };
  const redraw = () => {
    if (!state.z0 || !space) return;
    const code = z();
    pump.put({ entry: props.entry, z: code, label: state.label });
    tellWhere(code);
    pin(code);
  };

  /* ---- the start ---- */
  const settled = async (answer, from) => {
    if (!answer.value) return fail(answer.error ?? "The server is busy: try again.");
    told("");
    state.from = from;
    state.z0 = answer.value.z;
    state.c = state.c.map(() => 0);
    sliders(); chips(); redraw();
    parts.seed.value = state.seed;
    parts.start.textContent = `start: ${from || `seed ${state.seed}`}`;
    if (parts.label && state.label !== null) parts.label.value = state.label;
    origin();
  };
  const origin = async () => {
    const entry = props.entry, first = await gm.ask(server.decode, { entry, z: state.z0, label: state.label });
    if (!first.value || entry !== props.entry) return;
    parts.first.src = first.value;
    parts.first.alt = `the start, ${state.from || `seed ${state.seed}`}`;
  };
  const begin = async (asked, from) => {
    Object.assign(state, asked);
    settled(await gm.ask(server.start, { entry: props.entry, seed: state.seed, scale: state.scale }), from);
  };
  const drawn = gm.pump(server.encode, (value, asked) => {
    if (asked.entry === props.entry) settled({ value }, asked.drawn.kind === "file" ? asked.drawn.name : "your drawing");
  }, fail, 1);
  const chips = () => {
    const items = (gm.takenOf[family]?.items() ?? []).filter((item) => item.entry === props.entry);
    parts.taken?.replaceChildren(...items.map((item) => el("button", {
      type: "button", class: "gm-chip", onclick: () => begin({
        seed: item.seed, label: item.label, scale: item.options.temperature ?? item.options.truncation ?? 1 }, `taken, seed ${item.seed}`),
    }, el("img", { src: item.picture, alt: "" }), `seed ${item.seed}`)));
  };

  /* ---- sliders ---- */
  const snap = (value) => (Math.abs(value) < 0.08 ? 0 : Math.round(value * 100) / 100);
  const fill = (range, value) => { // from the middle, which is the start, to the value
    const at = Math.min(100, Math.max(0, ((value + 3) / 6) * 100));
    range.style.setProperty("--low", `${Math.min(50, at)}%`);
    range.style.setProperty("--high", `${Math.max(50, at)}%`);
  };
  /* A direction's name is changed in place: the pencil, then Enter; Escape leaves it as it was. */
  const LONGEST = 24;
  const called = (given) => { space.given = given; space.names = space.plain.map((plain, k) => given[k] || plain); };
  const pencil = () => el("svg", { viewBox: "0 0 16 16", width: 13, height: 13, "aria-hidden": "true" },
    el("path", { d: "M2.5 13.5l.8-3.3 7.6-7.6a1.2 1.2 0 0 1 1.7 0l.8.8a1.2 1.2 0 0 1 0 1.7l-7.6 7.6zM9.8 3.7l2.5 2.5" }));
  const rename = async (k, name) => {
    const entry = props.entry, answer = await gm.ask(server.rename, { entry, index: k, name });
    if (entry !== props.entry || !element.isConnected || !space) return;
    if (!answer.value) return fail(answer.error ?? "The server is busy: try again.");
    called(answer.value.given);
    told(answer.value.words);
    parts.sliders.querySelectorAll(".gm-axis").forEach((node, at) => node.named?.(space.names[at]));
    tellWhere(z());
  };
  const editing = (k, head, pen) => {
    const box = el("input", { type: "text", class: "gm-input gm-axis-box", maxlength: LONGEST, value: space.given[k] ?? "", placeholder: space.plain[k], "aria-label": `new name of ${space.names[k]}`, id: `${family}-latent-name-${k}` });
    let over = false;
    const end = (keep) => {
      if (over) return;
      over = true;
      const held = document.activeElement === box, name = box.value.trim();
      box.remove();
      head.classList.remove("gm-renaming");
      if (held) pen.focus();
      if (keep && name !== (space?.given[k] ?? "")) rename(k, name);
    };
    box.onkeydown = (event) => { if (event.key === "Enter" || event.key === "Escape") { event.preventDefault(); event.stopPropagation(); end(event.key === "Enter"); } };
    box.onblur = () => end(element.isConnected);
    head.classList.add("gm-renaming");
    head.prepend(box);
    box.focus(); box.select();
  };
  const sliders = () => {
    if (!space) return;
    parts.sliders.replaceChildren(...space.axes.map((_, k) => {
      const key = `${family}-latent-${k}`;
      const range = el("input", { type: "range", class: "gm-range", min: -3, max: 3, step: 0.01, "data-axis": k });
      const box = el("input", { type: "number", class: "gm-input", id: key, min: -3, max: 3, step: 0.1 });
      const reset = el("button", { type: "button", class: "gm-reset", text: "Reset" });
      const name = el("span", { class: "gm-axis-name" });
      const pen = el("button", { type: "button", class: "gm-pencil", id: `${family}-latent-rename-${k}`, onclick: () => editing(k, head, pen) }, pencil());
      const head = el("div", { class: "gm-head" }, el("label", { for: key }, name, el("small", { text: space.facts[k] })), pen, reset);
      const show = () => {
        const value = state.c[k];
        range.value = value;
        if (document.activeElement !== box) box.value = value.toFixed(2);
        fill(range, value);
        reset.disabled = value === 0;
        reset.title = value ? "back to the start" : "unchanged";
      };
      const set = (value) => { state.c[k] = value; show(); redraw(); };
      range.oninput = () => set(snap(Number(range.value)));
      box.oninput = () => { const value = Number(box.value); if (box.value !== "" && Math.abs(value) <= 3) set(value); };
      box.onchange = show;
      reset.onclick = () => { set(0); range.focus(); };
      show();
      const node = el("div", { class: "gm-field gm-axis" }, head, el("div", { class: "gm-row gm-sliding" }, range, box));
      node.named = (text) => {
        name.textContent = name.title = text;
        range.setAttribute("aria-label", `${text}, slider`);
        reset.setAttribute("aria-label", `reset ${text}`);
        pen.setAttribute("aria-label", pen.title = `rename ${text}`);
      };
      node.named(space.names[k]);
      return node;
    }));
  };

  /* ---- the plane ---- */
  const pin = (code) => {
    if (!plane) return;
    const place = (v) => `${(v / (2 * plane.edge) + 0.5) * 100}%`;
    parts.pin.style.left = place(code[0]);
    parts.pin.style.top = place(-code[1]);
    parts.plane.setAttribute("aria-valuetext", `z = (${code.map((v) => v.toFixed(2)).join(", ")})`);
  };
  const move = (code) => {
    const shift = code.map((v, d) => v - state.z0[d]);
    state.c = space.axes.map((axis) => axis.reduce((sum, a, d) => sum + a * shift[d], 0));
    for (const [k, node] of parts.sliders.querySelectorAll(".gm-axis").entries()) {
      const range = node.querySelector("[type=range]"), box = node.querySelector("[type=number]");
      range.value = state.c[k]; box.value = state.c[k].toFixed(2);
      fill(range, state.c[k]);
      node.querySelector(".gm-reset").disabled = state.c[k] === 0;
    }
    redraw();
  };
  const drag = (event) => {
    const box = parts.plane.getBoundingClientRect(), clip = (v) => Math.max(-plane.edge, Math.min(plane.edge, v));
    move([clip(((event.clientX - box.left) / box.width - 0.5) * 2 * plane.edge), clip((0.5 - (event.clientY - box.top) / box.height) * 2 * plane.edge)]);
  };
  const openPlane = async () => {
    const answer = await gm.ask(server.plane, { entry: props.entry, label: state.label });
    if (!answer.value) return fail(answer.error ?? "The server is busy: choose the entry again.");
    plane = { ...answer.value, edge: answer.value.reach * (answer.value.cells / (answer.value.cells - 1)) };
    parts.atlas.src = plane.picture;
    redraw();
  };

  /* ---- drawing the panel ---- */
  const build = () => {
    parts = {};
    element.className = "gm-latent gm-columns";
    if (!props.entry) return element.replaceChildren(el("div", { class: "gm-nothing", text: "This entry has no latent space of pictures. Choose another one." }));
    const seed = (parts.seed = el("input", { type: "number", class: "gm-input", id: `${family}-latent-seed`, min: 0, max: 2 ** 32 - 1, step: 1, value: state.seed }));
    seed.onchange = () => begin({ seed: seed.value === "" ? gm.dice() : Number(seed.value), scale: 1 }, "");
    const dice = el("button", { type: "button", class: "gm-button", text: "Dice", id: `${family}-latent-dice`, onclick: () => begin({ seed: gm.dice(), scale: 1 }, "") });
    const zero = el("button", { type: "button", class: "gm-button", text: "Reset all", onclick: () => { state.c = state.c.map(() => 0); sliders(); redraw(); } });
    const side = el("div", { class: "gm-side gm-form" },
      el("p", { class: "gm-hint", text: "Drag a slider: the picture follows. 0 is the start, 1 is one standard deviation." }),
      el("div", { class: "gm-field" }, el("label", { for: seed.id, text: "Start from a seed" }), el("div", { class: "gm-row" }, seed, dice, zero)),
      (parts.taken = el("div", { class: "gm-chips" })));
    if (props.encodes) {
      const pad = gm.drawing({
        name: `${family}-latent-pad`, size: props.size, box: props.box, entry: props.entry, label: "Draw the start here", read: server.picture,
        onchange: (value) => { if (value) drawn.put({ entry: props.entry, drawn: value, label: state.label }); },
      });
      side.append(el("details", { class: "gm-more", open: state.drawing, ontoggle: (event) => { state.drawing = event.target.open; } },
        el("summary", { text: "Start from a drawing or a picture" }), pad.node));
    }
    if (props.labels.length) {
      if (state.label === null) state.label = 0;
      const list = (parts.label = el("select", { class: "gm-input", id: `${family}-latent-label` }, ...props.labels.map((name, k) => el("option", { value: k, text: name }))));
      list.value = state.label;
      list.onchange = () => { state.label = Number(list.value); if (plane) openPlane(); else redraw(); };
      side.append(el("div", { class: "gm-field" }, el("label", { for: list.id, text: /^\d$/.test(props.labels[0]) ? "Digit" : "Class" }), list));
    } else state.label = null;
    side.append((parts.sliders = el("div", { class: "gm-sliders" }, el("p", { class: "gm-note", text: "Measuring which directions matter …" }))), (parts.message = el("div", { class: "gm-message" })));
    parts.picture = el("img", { class: "gm-sharp", alt: "the decoded picture", width: props.size[1], height: props.size[0], id: `${family}-latent-picture` });
    parts.first = el("img", { class: "gm-sharp gm-first", alt: "the start", width: props.size[1], height: props.size[0] });
    parts.where = el("p", { class: "gm-where" });
    parts.start = el("p", { class: "gm-muted", text: `start: ${state.from || `seed ${state.seed}`}` });
    parts.atlas = el("img", { class: "gm-sharp", alt: "", draggable: "false" });
    parts.pin = el("span", { class: "gm-pin" });
    parts.plane = el("div", { class: "gm-plane", tabindex: 0, role: "slider", "aria-label": "latent plane: click, drag, or use the arrow keys", "aria-valuenow": 0, id: `${family}-latent-plane`, hidden: true }, parts.atlas, parts.pin);
    parts.plane.onpointerdown = (event) => { if (!plane) return; parts.plane.setPointerCapture(event.pointerId); parts.plane.onpointermove = drag; drag(event); };
    parts.plane.onpointerup = parts.plane.onpointercancel = () => { parts.plane.onpointermove = null; };
    parts.plane.onkeydown = (event) => {
      const step = { ArrowRight: [0.1, 0], ArrowLeft: [-0.1, 0], ArrowUp: [0, 0.1], ArrowDown: [0, -0.1] }[event.key];
      if (!step || !plane) return;
      event.preventDefault();
      move(z().map((v, d) => Math.max(-plane.edge, Math.min(plane.edge, v + step[d]))));
    };
    element.replaceChildren(side, el("div", { class: "gm-stage gm-hand" }, parts.plane,
      el("figure", { class: "gm-decoded" }, parts.picture, parts.where), el("figure", { class: "gm-origin" }, parts.first, parts.start)));
  };
  const open = async () => {
    if (!props.entry) { space = plane = null; return build(); }
    if (state.entry !== props.entry) state = gm.latentState[family] = { ...blank(), entry: props.entry };
    space = plane = null;
    build(); chips();
    const entry = props.entry, answer = await gm.ask(server.open, { entry, seed: state.seed, scale: state.scale });
    if (entry !== props.entry || !element.isConnected) return;
    if (!answer.value) return answer.busy ? setTimeout(open, 300) : fail(answer.error);
    space = { ...answer.value, dim: answer.value.z.length, plain: answer.value.names };
    called(answer.value.given);
    state.z0 ??= answer.value.z;
    if (state.c.length !== space.axes.length) state.c = space.axes.map(() => 0);
    element.classList.toggle("gm-flat", space.dim === 2);
    sliders();
    if (space.dim === 2) { parts.plane.hidden = false; await openPlane(); } else redraw();
    origin();
  };
  const off = gm.takenOf[family]?.on(() => { if (!element.isConnected) off?.(); else chips(); });
  open();
  watch(["entry"], open);
};
