/* Which label the sampler is told at each time: two handles on the axis of t, one bar for every step.

   Python: panels/steer_labels.py; the form's fields a, b, begin, end and steps are its state. why: the reason where the
   entry has no labels to mix. */
window.gm.mixer = (element, props, server, trigger, watch) => {
  const gm = window.gm, el = gm.el, HEIGHT = 92, TOP = 22, BOTTOM = 70, SIDE = 24;
  element.classList.add("gm-mixer");
  const svg = el("svg", { class: "gm-mixer-plot", height: HEIGHT, role: "img" });
  const form = () => gm.forms[props.form];
  const values = () => form()?.value() ?? {};
  const share = (t, { begin, end }) => (t <= end ? 1 : t >= begin ? 0 : (begin - t) / (begin - end));
  const kind = (name) => (/^\d$/.test(name) ? `digit ${name}` : name);
  const X = (t) => SIDE + (1 - t) * (svg.clientWidth - 2 * SIDE);
  const tip = (text) => { const t = document.createElementNS("http://www.w3.org/2000/svg", "title"); t.textContent = text; return t; };

  /* ---- handles ---- */
  const set = (name, t) => {
    const v = values(), value = Math.round(100 * Math.min(1, Math.max(0, t))) / 100;
    const other = name === "begin" ? { end: Math.min(v.end, value) } : { begin: Math.max(v.begin, value) };
    form()?.fill({ [name]: value, ...other });
  };
  const handle = (name) => {
    const knob = el("div", { class: "gm-mixer-knob", role: "slider", tabindex: 0, "aria-label": `mixture ${name === "begin" ? "begins" : "ends"} at t`, "aria-valuemin": 0, "aria-valuemax": 1, "data-knob": name });
    knob.onpointerdown = (event) => { knob.setPointerCapture(event.pointerId); knob.focus({ preventScroll: true }); event.preventDefault(); };
    knob.onpointermove = (event) => { if (!knob.hasPointerCapture(event.pointerId)) return; const box = svg.getBoundingClientRect(); set(name, 1 - (event.clientX - box.left - SIDE) / (box.width - 2 * SIDE)); };
    knob.onkeydown = (event) => {
      const by = { ArrowRight: -0.01, ArrowLeft: 0.01, PageDown: -0.1, PageUp: 0.1, Home: 1, End: -1 }[event.key];
      if (!by) return;
      event.preventDefault(); event.stopPropagation();
      set(name, values()[name] + by);
    };
    return knob;
  };
  const knobs = { begin: handle("begin"), end: handle("end") };
  const box = el("div", { class: "gm-mixer-box" }, svg, knobs.begin, knobs.end);

  /* ---- drawing ---- */
  const draw = () => {
    const v = values(), width = svg.clientWidth;
    if (!width || v.steps === undefined || v.begin === undefined) return;
    const steps = Math.max(1, Math.min(400, Number(v.steps) || 1)), wide = (width - 2 * SIDE) / steps, high = BOTTOM - TOP, parts = [], gap = wide > 6 ? 2 : wide > 3 ? 1 : 0;
    for (let k = 0; k < steps; k++) {
      const t = 1 - k / steps, b = share(t, v), x = SIDE + k * wide, text = `step ${k + 1}, t = ${gm.digits(+t.toFixed(3))}: ${Math.round(100 * (1 - b))} % ${kind(v.a)}, ${Math.round(100 * b)} % ${kind(v.b)}`;
      const bar = (from, part, color) => el("rect", { x, y: TOP + from * high, width: Math.max(0.5, wide - gap), height: part * high, fill: `var(--gm-${color})`, "fill-opacity": 0.75 }, tip(text));
      if (b < 1) parts.push(bar(0, 1 - b, "latent"));
      if (b > 0) parts.push(bar(1 - b, b, "generated"));
    }
    const label = (x, y, anchor, text, color) => el("text", { x, y, "text-anchor": anchor, text, style: `fill: var(--gm-${color})` });
    parts.push(label(SIDE, 14, "start", kind(v.a), "latent"), label(width - SIDE, 14, "end", kind(v.b), "generated"),
      label(SIDE, HEIGHT - 5, "start", "noise", "muted"), label(width - SIDE, HEIGHT - 5, "end", "data", "muted"));
    const [p, q] = [X(v.begin), X(v.end)], near = q - p < 60;
    const at = (x, t, anchor) => { if (x > SIDE + 66 && x < width - SIDE - 66) parts.push(label(x, HEIGHT - 5, anchor, `t = ${gm.digits(t)}`, "ink")); };
    if (v.begin === v.end) at(p, v.begin, "middle"); else { at(near ? p - 3 : p, v.begin, near ? "end" : "middle"); at(near ? q + 3 : q, v.end, near ? "start" : "middle"); }
    svg.replaceChildren(...parts);
    svg.setAttribute("aria-label", `${kind(v.a)} until t = ${gm.digits(v.begin)}, ${kind(v.b)} from t = ${gm.digits(v.end)} on, ${steps} steps`);
    for (const [name, knob] of Object.entries(knobs)) {
      knob.style.left = `${X(v[name])}px`;
      knob.setAttribute("aria-valuenow", v[name]);
      knob.setAttribute("aria-valuetext", `t = ${v[name]}`);
    }
    element.dataset.begin = v.begin; element.dataset.end = v.end;
  };
  const settle = async () => {
    const now = await gm.until(() => form()?.ready && form());
    if (!now || !element.isConnected) return;
    now.block(props.why);
    element.hidden = Boolean(props.why);
    if (!props.why) draw();
  };
  const listen = async () => {
    const now = await gm.until(() => form()?.ready && form());
    const off = now?.on(() => { if (!element.isConnected) return off(); draw(); });
  };
  const watcher = new ResizeObserver(() => { if (!element.isConnected) watcher.disconnect(); else draw(); });
  watcher.observe(svg);
  element.replaceChildren(box);
  settle();
  listen();
  watch(["why", "entry"], settle);
};
