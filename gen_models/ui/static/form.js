/* A panel's control column: fields from their description, one button that runs and stops. */
window.gm.forms = {};
window.gm.formMemory = {};
window.gm.blocked = {}; // form -> why it cannot be run now, "" when it can
window.gm.dice = () => crypto.getRandomValues(new Uint32Array(1))[0] % (2 ** 32 - 10000);
window.gm.form = (element, props, server, trigger, watch) => {
  const gm = window.gm, el = gm.el, id = props.form;
  const listeners = gm.forms[id]?.listeners ?? new Set();
  const memory = (gm.formMemory[id] ??= { described: JSON.stringify(props.first), set: {} }); // outlives a change of tab

  const put = (name, value) => {
    memory.set[name] = true;
    props.value = { ...props.value, [name]: value };
    for (const listener of listeners) listener(gm.plain(props.value), name);
  };

  /* ---- one field ---- */
  const makers = {
    seed(field, key) {
      const box = el("input", { type: "number", id: key, name: field.name, min: 0, max: 2 ** 32 - 1, step: 1, inputmode: "numeric" });
      const show = (value) => { box.value = value ?? ""; };
      const set = (value) => { show(value); put(field.name, value); };
      box.oninput = () => put(field.name, box.value === "" ? null : Number(box.value));
      const last = el("button", {
        type: "button", class: "gm-button", text: "Reuse last", id: `${id}-last`, disabled: gm.lastSeed[id] === undefined,
        title: gm.lastSeed[id] === undefined ? "nothing has been run yet" : "the seed of the last run",
        onclick: () => set(gm.lastSeed[id]),
      });
      const dice = el("button", { type: "button", class: "gm-button", text: "Dice", id: `${id}-dice`, onclick: () => set(gm.dice()) });
      return { node: el("div", { class: "gm-row" }, box, dice, last), show };
    },
    number(field, key) {
      const box = el("input", { type: "number", id: key, name: field.name, min: field.low, max: field.high, step: field.step });
      box.oninput = () => put(field.name, box.value === "" ? null : Number(box.value));
      return { node: box, show: (value) => { box.value = value ?? ""; } };
    },
    slider(field, key) {
      const to = field.log ? Math.log : (x) => x, from = field.log ? Math.exp : (x) => x;
      const span = to(field.high) - to(field.low);
      const whole = (x) => (field.step === "any" ? +x.toPrecision(3) : +(field.low + Math.round((x - field.low) / field.step) * field.step).toFixed(10));
      const range = el("input", {
        type: "range", min: 0, max: 1000, step: field.log || field.step === "any" ? 1 : (1000 * field.step) / (span || 1),
        "aria-label": `${field.label}, slider`,
      });
      const box = el("input", { type: "number", id: key, name: field.name, min: field.low, max: field.high, step: field.step });
      const reset = el("button", { type: "button", class: "gm-reset", text: "Reset", "aria-label": `reset ${field.label}` });
      const show = (value) => {
        box.value = value ?? "";
        const at = ((to(Number(value)) - to(field.low)) / (span || 1)) * 1000;
        range.value = at;
        range.style.setProperty("--at", `${Math.min(100, Math.max(0, at / 10))}%`);
        range.setAttribute("aria-valuetext", String(value));
        reset.disabled = value === field.default;
        reset.title = reset.disabled ? "unchanged" : `back to ${field.default}`;
      };
      range.oninput = () => { const v = Math.min(field.high, Math.max(field.low, whole(from(to(field.low) + (range.value / 1000) * span)))); show(v); put(field.name, v); };
      box.oninput = () => { const v = box.value === "" ? null : Number(box.value); if (v !== null) { const kept = box.value; show(v); box.value = kept; } put(field.name, v ?? field.default); };
      reset.onclick = () => { show(field.default); put(field.name, field.default); };
      return { node: el("div", { class: "gm-row gm-sliding" }, range, box), aside: reset, show };
    },
    choice(field, key) {
      const list = el("select", { id: key, name: field.name });
      field.choices.forEach((value, k) => list.append(el("option", { value: k, text: field.shown[k] ?? String(value) })));
      list.onchange = () => put(field.name, field.choices[list.value]);
      return { node: list, show: (value) => { list.value = Math.max(0, field.choices.findIndex((other) => other === value)); } };
    },
    several(field, key) {
      const list = el("div", { class: "gm-several", role: "group", id: key, "aria-label": field.label });
      const chips = field.choices.map((choice, k) => el("button", {
        type: "button", class: "gm-chip gm-toggle", "data-choice": choice, text: field.shown[k] ?? String(choice),
        onclick: () => {
          const now = valueOf(field), next = field.choices.filter((other) => now.includes(other) !== (other === choice));
          if (!next.length) return;
          show(next); put(field.name, next);
        },
      }));
      list.append(...chips);
      const show = (value) => chips.forEach((chip, k) => {
        const on = (value ?? []).includes(field.choices[k]);
        chip.setAttribute("aria-pressed", String(on));
        chip.title = on && value.length === 1 ? "at least one is needed" : "";
      });
      return { node: list, show };
    },
    check(field, key) {
      const box = el("input", { type: "checkbox", id: key, name: field.name });
      box.onchange = () => put(field.name, box.checked);
      return { node: box, show: (value) => { box.checked = Boolean(value); }, inline: true };
    },
    text(field, key) {
      const box = el("textarea", { id: key, name: field.name, rows: field.rows ?? 3, maxlength: field.most, spellcheck: "false" });
      box.oninput = () => put(field.name, box.value);
      box.onkeydown = (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); run(); } };
      return { node: box, show: (value) => { box.value = value ?? ""; } };
    },
  };

  /* Another entry's value stands there when the entry was changed while this form was not on screen: that of the first
     one, which Gradio brings back, unless a person has set it since. */
  const alike = (field) => props.first.some((other) => JSON.stringify(other) === JSON.stringify(field));
  const valueOf = (field) => {
    const value = memory.set[field.name] || alike(field) ? props.value?.[field.name] : undefined;
    const known = (one) => field.choices.includes(one);
    const fits = field.kind === "several" ? Array.isArray(value) && value.length > 0 && value.every(known)
      : field.choices ? known(value) : value !== undefined; // bounds: the server says it in words
    return gm.plain(fits ? value : field.default);
  };
  let shows = {};
  const row = (field) => {
    if (field.kind === "hidden") return null;
    const key = `${id}-${field.name}`;
    const made = makers[field.kind](field, key);
    shows[field.name] = made.show;
    made.show(valueOf(field));
    const label = el("label", { for: key, text: field.label });
    const head = made.inline ? el("div", { class: "gm-head" }, made.node, label) : el("div", { class: "gm-head" }, label, made.aside);
    const info = field.info ? el("p", { class: "gm-info", text: field.info }) : null;
    return el("div", { class: `gm-field gm-${field.kind}` }, head, made.inline ? null : made.node, info);
  };

  /* ---- run and stop ---- */
  const run = () => {
    if (gm.running[id] || gm.blocked[id]) return;
    const value = Object.fromEntries(props.fields.map((field) => [field.name, valueOf(field)]));
    if (props.fields.some((field) => field.kind === "seed")) {
      if (value.seed === null || value.seed === undefined) value.seed = gm.dice();
      gm.lastSeed[id] = value.seed;
    }
    gm.running[id] = value.run = crypto.getRandomValues(new Uint32Array(2)).join("-");
    props.value = value;
    draw();
    trigger("run");
  };
  const stop = () => {
    if (!gm.running[id]) return;
    const waiting = document.querySelector(`#${id}-message .progress-text`)?.textContent.includes("queue");
    trigger(waiting ? "leave" : "stop");
    if (waiting) gm.ended(id);
  };
  gm.ended = (form) => { gm.running[form] = null; gm.forms[form]?.draw(); };

  /* ---- drawing ---- */
  const draw = () => {
    const focus = element.contains(document.activeElement) ? document.activeElement.id : null;
    const open = element.querySelector("details")?.open ?? false;
    shows = {};
    const plain = props.fields.filter((field) => !field.more), more = props.fields.filter((field) => field.more);
    const parts = [];
    if (props.hint) parts.push(el("p", { class: "gm-hint", text: props.hint }));
    parts.push(...plain.map(row).filter(Boolean));
    if (props.run) {
      parts.push(gm.running[id]
        ? el("button", { type: "button", class: "gm-primary gm-stop", id: `${id}-stop`, onclick: stop }, "Stop ", el("kbd", { text: "Esc" }))
        : el("button", { type: "button", class: "gm-primary gm-run", id: `${id}-run`, onclick: run, disabled: Boolean(gm.blocked[id]), title: gm.blocked[id] || null }, `${props.run} `, el("kbd", { text: "Ctrl ↵" })));
      if (gm.blocked[id]) parts.push(el("p", { class: "gm-info", text: gm.blocked[id] }));
    }
    if (more.length) {
      parts.push(el("details", { class: "gm-more", open }, el("summary", { text: `More options: ${more.map((field) => field.label.toLowerCase()).join(", ")}` }), ...more.map(row)));
    }
    element.classList.add("gm-form");
    element.replaceChildren(...parts);
    if (focus) document.getElementById(focus)?.focus({ preventScroll: true });
  };
  const describe = () => {
    const now = JSON.stringify(props.fields);
    if (now === memory.described) return;
    const before = JSON.parse(memory.described);
    memory.described = now;
    const same = (field) => before.some((other) => JSON.stringify(other) === JSON.stringify(field));
    const old = props.value ?? {};
    for (const field of props.fields) if (!same(field)) delete memory.set[field.name];
    props.value = Object.fromEntries(props.fields.map((field) => [
      field.name, field.name in old && same(field) ? old[field.name] : field.default]));
    draw();
    for (const listener of listeners) listener(gm.plain(props.value), null);
  };
  gm.forms[id] = {
    listeners, draw, element, ready: false,
    value: () => gm.plain(props.value),
    entry: () => props.entry,
    on: (listener) => (listeners.add(listener), () => listeners.delete(listener)),
    fill: (values) => {
      for (const field of props.fields) if (field.name in values) { put(field.name, values[field.name]); }
      draw();
    },
    block: (why) => { if (gm.blocked[id] !== why) { gm.blocked[id] = why; draw(); } },
    run,
  };
  draw(); // props must not be set here: Gradio puts its own values in once more after this script
  setTimeout(() => { describe(); gm.forms[id].ready = true; }, 60); // another entry may have been picked while this form was not on screen
  watch("fields", describe);
  watch("value", () => { for (const field of props.fields) shows[field.name]?.(valueOf(field)); });
};
