/* Translate: a picture, its translation and what comes back, live; noise in between; held-out examples below.

   value (panels/translate.py: _looked), entry, domains, title, pad, form come from Python. What is chosen (to, example,
   noise, seed, page) lives in the form's hidden fields, so that a saved picture's recipe restores it. */
(() => {
  const gm = window.gm, el = gm.el;
  const HEIGHT = 160, EDGE = { left: 40, right: 14, top: 12, bottom: 38 }, MOST = 0.5, HARDLY = 0.05;
  const CITE = "CycleGAN, a Master of Steganography (Chu, Zhmoginov and Sandler, 2017), arXiv 1712.02950";

  /** The cycle error over the noise, what the noise itself changed, and what a true twin gives; `at` is on screen. */
  const plot = (svg, { curve, fromTwin, at, error }) => {
    const width = svg.clientWidth;
    if (!width) return;
    const low = HEIGHT - EDGE.bottom, right = width - EDGE.right;
    const x = (v) => EDGE.left + (v / MOST) * (right - EDGE.left);
    const parts = [el("path", { class: "gm-axis", d: `M${EDGE.left} ${EDGE.top}V${low}H${right}` })];
    for (const v of [0, 0.1, 0.2, 0.3, 0.4, 0.5]) parts.push(el("text", { class: "gm-axis-text", x: x(v), y: low + 15, "text-anchor": "middle", text: gm.digits(v) }));
    parts.push(el("text", { class: "gm-axis-text", x: (EDGE.left + right) / 2, y: HEIGHT - 4, "text-anchor": "middle", text: "noise added, σ of pixels 0 to 1" }));
    if (!curve) return svg.replaceChildren(...parts);
    const top = Math.max(0.02, ...curve.map((p) => p[1])) * 1.25, y = (v) => low - (v / top) * (low - EDGE.top);
    for (const v of gm.ticks(0, top, false)) parts.push(el("line", { class: "gm-axis-grid", x1: EDGE.left, x2: right, y1: y(v), y2: y(v) }), el("text", { class: "gm-axis-text", x: EDGE.left - 5, y: y(v) + 4, "text-anchor": "end", text: gm.digits(+v.toPrecision(3)) }));
    if (fromTwin !== null && fromTwin !== undefined) {
      const far = fromTwin > top, at = far ? EDGE.top : y(fromTwin), above = at > EDGE.top + 20;
      if (!far) parts.push(el("line", { class: "gm-trans-twin", x1: EDGE.left, x2: right, y1: at, y2: at }));
      parts.push(el("text", { class: "gm-trans-twin-name", x: right, y: at + (far ? -2 : above ? -5 : 14), "text-anchor": "end", text: far ? `from the true twin ${fromTwin.toFixed(2)} ↑` : "from the true twin" }));
    }
    const zero = curve[0][1], line = (f) => {
      const points = curve.map((p) => [p[0], f(p)]), out = points.findIndex((p) => p[1] > top), kept = out < 0 ? points : points.slice(0, out);
      if (out > 0) { const [p, q] = points.slice(out - 1, out + 1); kept.push([p[0] + ((top - p[1]) / (q[1] - p[1])) * (q[0] - p[0]), top]); }
      return `M${kept.map((p) => `${x(p[0]).toFixed(1)} ${y(p[1]).toFixed(1)}`).join("L")}`;
    };
    parts.push(el("path", { class: "gm-trans-added", d: line((p) => zero + p[2]) }), el("path", { class: "gm-trans-curve", d: line((p) => p[1]) }),
      el("line", { class: "gm-trans-at", x1: x(at), x2: x(at), y1: EDGE.top, y2: low }), el("circle", { class: "gm-trans-dot", cx: x(at), cy: y(error), r: 5 }));
    svg.replaceChildren(...parts);
  };

  gm.translate = (element, props, server, trigger, watch) => {
    const id = props.form;
    let entry = null, found = null, examples = null, known = "", chosen = null, total = 0, waiting = 0;
    element.classList.add("gm-translate");
    const form = () => gm.forms[id], settings = () => ({ to: "B", example: 0, noise: 0, seed: 0, page: 0, ...(form()?.value() ?? {}) });
    const put = (values) => form()?.fill(values);
    const names = (to = settings().to) => { const [a, b] = gm.plain(props.domains); return to === "B" ? [a, b] : [b, a]; };
    const drawing = () => (chosen === null ? gm.pads[props.pad]?.value() ?? null : null);

    /* ---- what is asked ---- */
    const source = () => {
      const { to, example } = settings(), drawn = drawing();
      return { entry: props.entry, to, ...(drawn ? { drawn } : { example: total ? Math.min(example, total - 1) : example }) };
    };
    const fail = (text) => { parts.message.textContent = text; parts.message.hidden = !text; };
    const later = (again) => { clearTimeout(waiting); waiting = setTimeout(() => element.isConnected && again(), 300); };
    const pump = gm.pump(server.look, (value, asked) => {
      if (asked.entry !== props.entry) return;
      if (value.waiting) { parts.name.textContent = `Reading ${props.title} …`; return later(look); }
      fail("");
      if (!value.source && asked.key !== known) return; // of a picture that is no longer there
      if (value.source && !value.curve) { known = ""; return look(); } // it went and came back before the answer did
      found = value.source ? value : { ...found, ...value };
      if (value.curve) known = asked.key;
      draw();
    }, fail);
    const look = () => {
      if (!props.entry || !element.isConnected) return;
      const asked = source(), key = JSON.stringify(asked);
      pump.put({ ...asked, noise: settings().noise, curve: key !== known, key, at: performance.now() });
    };
    const pages = gm.pump(server.examples, (value, asked) => {
      if (asked.entry !== props.entry) return;
      if (value.waiting) { parts.said.textContent = `Reading ${props.title} …`; parts.said.hidden = false; return setTimeout(() => element.isConnected && turn(), 300); }
      parts.said.hidden = true;
      examples = gm.plain(value);
      total = examples.total;
      index.max = total - 1;
      grid();
    }, (text) => { parts.said.textContent = `${text}${parts.message.hidden ? " Drawing and uploading work all the same." : ""}`; parts.said.hidden = false; }, 1);
    const turn = () => { if (props.entry) { const { to, seed, page } = settings(); pages.put({ entry: props.entry, to, seed: seed ?? 0, page }); } };

    /* ---- the pictures ---- */
    const figure = (key, color) => {
      const image = el("img", { class: "gm-sharp-large", alt: "", id: `${id}-${key}`, hidden: true }), title = el("b", { style: `color: var(--gm-${color})` }), aside = el("span", { class: "gm-muted" }), none = el("span", { class: "gm-muted gm-trans-none" });
      return { image, title, aside, none, node: el("figure", { class: "gm-recon" }, el("figcaption", {}, title, aside), el("div", { class: "gm-recon-box" }, image, none)) };
    };
    const seen = { source: figure("source", "real"), translation: figure("translation", "generated"), back: figure("back", "generated"), map: figure("map", "ink"),
      twin: figure("twin", "real"), noisy: figure("noisy", "latent"), again: figure("again", "generated"), again_map: figure("again-map", "ink") };
    const parts = {
      message: el("p", { class: "gm-wrong", role: "alert", hidden: true, id: `${id}-wrong` }), name: el("span", { class: "gm-muted", id: `${id}-name`, role: "status" }),
      numbers: el("p", { class: "gm-recon-numbers", id: `${id}-numbers` }), words: el("p", { class: "gm-trans-words", id: `${id}-words`, role: "status" }),
      svg: el("svg", { class: "gm-trans-plot", height: HEIGHT, role: "img", id: `${id}-curve` }), said: el("p", { class: "gm-muted gm-tests-line", role: "status", id: `${id}-said`, hidden: true }),
      items: el("div", { class: "gm-trans-items", role: "group", "aria-label": "held-out examples", id: `${id}-items` }), heads: el("span", { class: "gm-trans-heads" }), place: el("span", { class: "gm-muted", id: `${id}-place` }),
    };
    const short = (v) => v.toFixed(3);
    const show = (key, title, aside, url, alt, none = "") => {
      const part = seen[key];
      part.title.textContent = part.title.title = title; part.aside.textContent = aside;
      part.image.hidden = !url; part.none.textContent = url ? "" : none;
      if (url && part.url !== url) part.image.src = part.url = url;
      part.image.alt = url ? alt : "";
    };
    const draw = () => {
      const f = found, [a, b] = names(), { noise } = settings(), now = f && f.to === settings().to ? f : null, word = now ? `${now.name} of ${a}` : "";
      show("source", a, "", now?.source, now?.name ?? "");
      show("translation", `as ${b}`, "", now?.translation, `${word}, translated to ${b} by ${props.entry}`);
      show("back", `back to ${a}`, "", now?.back, `${word}, to ${b} and back`);
      show("map", "cycle error", now ? short(now.cycle) : "", now?.map, now ? `where what comes back differs: ${short(now.cycle)} on average` : "");
      show("twin", `true ${b}`, "", now?.twin, `the true ${b} of ${word}`, now ? "no twin is known" : "");
      show("noisy", `${b} + noise`, now ? `σ ${gm.digits(now.noise)}` : "", now?.noisy, `the translation with noise of ${now?.noise}`);
      show("again", `back to ${a}`, "", now?.again, `${word}, to ${b} and back through noise of ${now?.noise}`);
      show("again_map", "cycle error", now ? short(now.again_cycle) : "", now?.again_map, now ? `with noise: ${short(now.again_cycle)} on average` : "");
      if (now) parts.name.textContent = drawing() ? now.name : "";
      const like = now?.likeness, fact = (name, value, plain) => el("span", { title: `the untranslated picture: ${short(plain)}` }, el("span", { class: "gm-muted", text: `${name} ` }), el("b", { text: short(value) }), el("span", { class: "gm-muted", text: ` (untranslated ${short(plain)})` }));
      parts.numbers.replaceChildren(...(like ? [el("span", { class: "gm-muted", text: "to the twin:", title: `to the true ${b}` }),
        ...(like.ssim === null ? [] : [fact("SSIM", like.ssim, like.unchanged_ssim)]), fact("L1", like.l1, like.unchanged_l1)] : []));
      noiseBox.value = noise; noiseBar.value = noise; noiseBar.style.setProperty("--at", `${(100 * noise) / MOST}%`); noiseBar.setAttribute("aria-valuetext", `${noise}`);
      reset.disabled = !noise; reset.title = noise ? "back to 0" : "unchanged";
      noiseLabel.textContent = `Noise added to ${b}`;
      plot(parts.svg, { curve: now?.curve, fromTwin: now?.from_twin, at: now?.noise ?? 0, error: now?.again_cycle ?? 0 });
      parts.svg.setAttribute("aria-label", now?.curve ? `cycle error over noise: ${now.curve.map((p) => `${p[0]}: ${short(p[1])}`).join(", ")}` : "cycle error over noise: nothing yet");
      parts.words.replaceChildren(now?.curve ? say(now, b) : el("span", { class: "gm-muted", text: "Choose an example, draw or upload a picture." }));
      for (const button of directions.children) button.setAttribute("aria-checked", String(button.dataset.to === settings().to));
      if (document.activeElement !== index) index.value = settings().example;
      Object.assign(element.dataset, { shown: now ? `${now.entry} ${now.name} to ${now.to} noise ${now.noise}` : "" });
      mark();
    };
    /** In words what to see, at the noise on screen or, while there is none, at one that the eye hardly sees. */
    const say = (f, b) => {
      const [level, error, added] = f.noise ? [f.noise, f.again_cycle, f.added] : f.curve.find((p) => p[0] === HARDLY), more = error - f.cycle;
      const hidden = more > 1.25 * added ? "more than was added. The translation carries details in a pattern too faint to see, and noise wipes them out."
        : more > 0.25 * added ? "no more than what was added, so little is hidden in the translation." : "hardly more. The translation hides nothing that noise could wipe out.";
      return el("span", { title: CITE, text: `There and back, pixels are off by ${short(f.cycle)}. Noise that changes ${b} by ${short(added)} (σ ${gm.digits(level)}) makes it ${short(error)}: ${hidden}` });
    };

    /* ---- controls ---- */
    const directions = el("div", { class: "gm-trans-directions", role: "radiogroup", "aria-label": "direction" });
    const aim = () => {
      const [a, b] = gm.plain(props.domains);
      directions.replaceChildren(...[["B", `${a} → ${b}`], ["A", `${b} → ${a}`]].map(([to, text]) => el("button", {
        type: "button", role: "radio", class: "gm-trans-direction", "data-to": to, "aria-checked": "false", text, id: `${id}-to-${to}`, onclick: () => put({ to, page: 0 }) })));
    };
    directions.addEventListener("keydown", (event) => {
      if (!["ArrowRight", "ArrowLeft", "ArrowUp", "ArrowDown"].includes(event.key)) return;
      event.preventDefault(); event.stopPropagation();
      const to = settings().to === "B" ? "A" : "B";
      put({ to, page: 0 });
      document.getElementById(`${id}-to-${to}`)?.focus();
    });
    const button = (text, suffix, onclick) => el("button", { type: "button", class: "gm-button", text, id: `${id}-${suffix}`, onclick });
    const box = (suffix, label, onset, more) => {
      const made = el("input", { type: "number", class: "gm-input", min: 0, step: 1, id: `${id}-${suffix}`, "aria-label": label, ...more });
      made.onchange = () => onset(Math.max(0, Number(made.value) || 0));
      return made;
    };
    const take = (example) => { chosen = example; put({ example }); };
    const index = box("index", "number of the held-out example", (n) => take(Math.floor(total ? Math.min(n, total - 1) : n)));
    const any = button("Random", "random", () => total && take(Math.floor(Math.random() * total)));
    const noiseLabel = el("label", { for: `${id}-noise-box`, text: "Noise" });
    const noiseBar = el("input", { type: "range", class: "gm-range", min: 0, max: MOST, step: 0.005, value: 0, id: `${id}-noise-bar`, "aria-label": "noise added to the translation" });
    const noiseBox = box("noise-box", "standard deviation of the noise", (n) => put({ noise: Math.min(MOST, n) }), { step: 0.01, max: MOST });
    const reset = el("button", { type: "button", class: "gm-reset", text: "Reset", "aria-label": "reset the noise", id: `${id}-noise-reset`, onclick: () => put({ noise: 0 }) });
    noiseBar.oninput = () => put({ noise: Number(noiseBar.value) });
    const point = (event) => {
      const frame = parts.svg.getBoundingClientRect(), at = (event.clientX - frame.left - EDGE.left) / (frame.width - EDGE.left - EDGE.right);
      put({ noise: Math.round(200 * MOST * Math.max(0, Math.min(1, at))) / 200 });
    };
    parts.svg.onpointerdown = (event) => { parts.svg.setPointerCapture(event.pointerId); point(event); };
    parts.svg.onpointermove = (event) => { if (event.buttons) point(event); };

    /* ---- held-out examples ---- */
    const seedBox = box("seed-box", "seed of the order", (seed) => put({ seed: Math.min(2 ** 32 - 1, Math.floor(seed)), page: 0 }), { max: 2 ** 32 - 1 });
    const step = (by) => { if (examples) put({ page: (settings().page + by + examples.pages) % examples.pages }); };
    const before = button("Previous", "previous", () => step(-1)), after = button("Next", "next", () => step(1));
    const shuffle = button("Shuffle", "shuffle", () => put({ seed: gm.dice(), page: 0 }));
    const mark = () => { for (const tile of parts.items.children) tile.setAttribute("aria-pressed", String(found?.name === `example ${tile.dataset.index}` && examples?.to === found?.to)); };
    const grid = () => {
      const v = examples, [a, b] = names(v.to);
      parts.items.classList.toggle("gm-trans-unpaired", !v.paired);
      parts.heads.replaceChildren(...[["real", a], ["generated", `as ${b}`], ...(v.paired ? [["real", `true ${b}`]] : [])].map(([color, text]) => el("b", { style: `color: var(--gm-${color})`, text })));
      parts.items.replaceChildren(...v.items.map((item) => el("button", {
        type: "button", class: "gm-trans-item", "data-index": item.index, "aria-pressed": "false", "aria-label": `example ${item.index}: take it up`, title: `example ${item.index}`,
        onclick: () => { take(item.index); if (innerWidth <= 760) element.scrollIntoView({ block: "start" }); },
      }, ...[item.source, item.translation, ...(item.twin ? [item.twin] : [])].map((src) => el("img", { src, alt: "" })))));
      parts.place.textContent = `page ${v.page + 1} of ${v.pages}`;
      parts.items.dataset.page = `${v.to} ${settings().seed} ${v.page}`;
      seedBox.value = settings().seed ?? 0;
      before.disabled = after.disabled = v.pages < 2;
      before.title = after.title = v.pages < 2 ? "this is all there is" : "";
      mark();
    };

    const legend = el("div", { class: "gm-recon-bar", role: "img", "aria-label": "legend of the cycle error: blue came back darker by a quarter of the range or more, white is equal, orange came back brighter" },
      el("span", { text: "darker" }), el("i"), el("span", { text: "brighter" }));
    const body = [
      el("div", { class: "gm-row gm-trans-bar" }, directions, el("label", { class: "gm-row" }, el("span", { class: "gm-muted", text: "Example" }), index), any, parts.name),
      parts.message,
      el("div", { class: "gm-trans-both" },
        el("div", { class: "gm-trans-seen" }, el("div", { class: "gm-trans-pictures" }, ...Object.values(seen).map((part) => part.node)), el("div", { class: "gm-recon-under" }, parts.numbers, legend)),
        el("div", { class: "gm-trans-noise" }, el("div", { class: "gm-row" }, noiseLabel, noiseBox, reset), noiseBar,
          el("div", { class: "gm-muted gm-trans-key" }, el("span", { class: "gm-key", style: "--dot: var(--gm-generated)", text: "cycle error" }), el("span", { class: "gm-key", style: "--dot: var(--gm-latent)", text: "were it only the noise" })),
          parts.svg, parts.words)),
      el("section", { class: "gm-tests-card" },
        el("div", { class: "gm-row gm-tests-bar" }, el("b", { text: "Held-out examples" }), parts.heads, parts.place, el("label", { class: "gm-row" }, el("span", { class: "gm-muted", text: "seed" }), seedBox), shuffle, before, after), parts.said, parts.items)];

    /* ---- opening, listening ---- */
    const open = () => {
      if (entry === props.entry) return;
      const first = entry === null;
      entry = props.entry; found = null; examples = null; known = ""; total = 0;
      if (!entry) return element.replaceChildren(el("div", { class: "gm-nothing", text: "This entry does not translate pictures, or has no checkpoint yet. Choose another one, or train it." }));
      if (!first) { chosen = null; put({ example: 0, page: 0 }); }
      fail("");
      aim();
      parts.items.replaceChildren(...Array.from({ length: 8 }, () => el("span", { class: "gm-trans-item" }, ...[1, 2, 3].map(() => el("i")))));
      parts.heads.replaceChildren();
      element.replaceChildren(...body);
      if (props.value?.entry === entry) found = gm.plain(props.value);
      draw(); look(); turn();
    };
    const listen = () => {
      const pad = gm.pads[props.pad];
      if (!pad || !form()) return element.isConnected && setTimeout(listen, 50);
      const offs = [pad.on(() => { if (!element.isConnected) return leave(); chosen = null; look(); }), form().on((_, changed) => {
        if (!element.isConnected) return leave();
        if (changed === "example" && chosen === null) chosen = settings().example; // a recipe was opened
        const other = changed === null; // another entry's fields
        if (other || ["to", "seed", "page"].includes(changed)) turn();
        if (other || ["to", "example", "noise"].includes(changed)) { draw(); look(); }
      })];
      const leave = () => offs.forEach((off) => off());
      draw(); look(); turn();
    };
    const again = () => {
      if (!element.isConnected) return watcher.disconnect(), document.removeEventListener("gm:theme", again);
      if (entry) draw();
    };
    const watcher = new ResizeObserver(again);
    watcher.observe(parts.svg);
    document.addEventListener("gm:theme", again);
    open();
    listen();
    watch("value", () => { if (props.value?.entry === props.entry) { found = gm.plain(props.value); known = ""; draw(); } });
    watch(["entry", "domains"], open);
  };
})();
