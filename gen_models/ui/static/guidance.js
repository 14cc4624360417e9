/* A sweep over guidance: a row of samples for each value with its figures, and accuracy and coverage as curves over it.

   Python: panels/steer_guidance.py. value: {rows: [{guidance, done, picture, cells: {accuracy: {value, low, high, text}}}],
   shown, aspect, n, measures, judged, held, real, why, over}; why: the reason where the entry has no guidance. */
window.gm.guidance = (element, props, server, trigger, watch) => {
  const gm = window.gm, el = gm.el, HEIGHT = 190, EDGE = { left: 46, top: 14, bottom: 40 };
  const WORDS = {
    accuracy: ["accuracy", "seen as the class that was asked for, by the second judge; with its 95 % interval", "critic"],
    coverage: ["coverage", "held-out pictures with a sample nearby, in the first judge's features; with its 95 % interval", "generated"],
    density: ["density", "samples near each held-out picture: not bounded by 1; ± its standard error", "generated"],
  };
  const curves = () => ["accuracy", "coverage"].filter((name) => props.value?.measures.includes(name));
  element.classList.add("gm-guidance");

  /* ---- the rows ---- */
  const split = (text) => { const at = text.search(/ [±(]/); return at < 0 ? [text, ""] : [text.slice(0, at), text.slice(at + 1)]; };
  const cell = (name, found, n) => {
    const [value, error] = split(found?.text ?? "–");
    return el("td", { class: "gm-guidance-figure", title: found ? `${name} ${found.text}` : `${WORDS[name][0]}: of all ${n} samples alone`, "data-measure": name },
      el("span", { class: "gm-guidance-name", text: name }), el("b", { text: value }), el("small", { text: error.replace(/^\((.*) to (.*)\)$/, "$1–$2") }));
  };
  const row = (v, r) => el("tr", { "data-guidance": r.guidance, "data-done": r.done },
    el("th", { scope: "row" }, el("b", { text: gm.digits(r.guidance) }), el("small", { text: r.done && r.done < v.n ? `${r.done} of ${v.n}` : r.guidance === 1 ? "none" : "" })),
    el("td", { class: "gm-guidance-strip", style: `--aspect:${v.aspect};--most:${v.shown}` }, r.picture
      ? el("img", { src: r.picture, alt: `${v.shown} samples of ${v.entry} from seed ${v.seed} on at guidance ${gm.digits(r.guidance)}` })
      : el("div", { class: "gm-guidance-wait", role: "img", "aria-label": "not drawn yet" })),
    ...(v.judged ? ["accuracy", "coverage", "density"].map((name) => cell(name, r.cells?.[name], v.n)) : []));
  const table = (v) => {
    const names = v.judged ? ["accuracy", "coverage", "density"] : [];
    const head = el("tr", {}, el("th", { scope: "col", text: "guidance" }), el("th", { scope: "col", class: "gm-guidance-seeds", text: `seeds ${v.seed} to ${v.seed + v.shown - 1}` }),
      ...names.map((name) => el("th", { scope: "col", title: WORDS[name][1], text: name })));
    const real = v.real ? el("tr", { class: "gm-guidance-real" }, el("th", { scope: "row", colspan: 2, text: `real pictures, ${v.real.accuracy.n} held out of training` }),
      ...names.map((name) => cell(name, v.real[name], v.n))) : null;
    return el("table", { class: "gm-guidance-table" }, el("thead", {}, head), el("tbody", {}, ...v.rows.map((r) => row(v, r)), real));
  };

  /* ---- the curves ---- */
  const plot = el("svg", { class: "gm-guidance-plot", height: HEIGHT, role: "img" });
  const tip = (text) => { const t = document.createElementNS("http://www.w3.org/2000/svg", "title"); t.textContent = text; return t; };
  const draw = () => {
    const v = props.value, width = plot.clientWidth;
    if (!v || !width) return;
    const names = curves(), drawn = v.rows.filter((r) => names.some((name) => r.cells?.[name]));
    const all = drawn.flatMap((r) => names.flatMap((name) => (r.cells[name] ? [r.cells[name].low, r.cells[name].high] : [])));
    const bars = names.flatMap((name) => (v.real?.[name] ? [{ name, y: v.real[name].value }] : []));
    const low = Math.max(0, Math.floor(Math.min(0.9, ...all, ...bars.map((bar) => bar.y)) * 10 - 0.3) / 10), high = 1.005;
    const values = v.rows.map((r) => r.guidance), a = Math.min(...values), b = Math.max(...values), right = width < 560 ? 108 : 130;
    const X = (g) => EDGE.left + 8 + (b > a ? (g - a) / (b - a) : 0.5) * (width - EDGE.left - right - 16), bottom = HEIGHT - EDGE.bottom;
    const Y = (y) => bottom - ((y - low) / (high - low)) * (bottom - EDGE.top), parts = [];
    for (const y of gm.ticks(low, 1, false)) {
      parts.push(el("line", { class: "gm-axis-grid", x1: EDGE.left, x2: width - right, y1: Y(y), y2: Y(y) }),
        el("text", { class: "gm-axis-text", x: EDGE.left - 8, y: Y(y) + 4, "text-anchor": "end", text: gm.digits(+y.toPrecision(3)) }));
    }
    let free = -Infinity;
    for (const g of [...values].sort((p, q) => p - q)) {
      if (X(g) < free) continue;
      free = X(g) + 34;
      parts.push(el("text", { class: "gm-axis-text", x: X(g), y: bottom + 18, "text-anchor": "middle", text: gm.digits(g) }));
    }
    parts.push(el("path", { class: "gm-axis", d: `M${EDGE.left} ${EDGE.top}V${bottom}H${width - right}` }),
      el("text", { class: "gm-axis-text", x: (EDGE.left + width - right) / 2, y: HEIGHT - 4, "text-anchor": "middle", text: "guidance" }));
    const ends = [];
    for (const { name, y } of bars) {
      parts.push(el("line", { class: "gm-guidance-bar", x1: EDGE.left, x2: width - right, y1: Y(y), y2: Y(y) }, tip(`${name} of real pictures ${v.real[name].text}`)));
      ends.push({ y: Y(y), text: `real, ${name}`, color: "real" });
    }
    for (const name of names) {
      const color = WORDS[name][2], points = drawn.filter((r) => r.cells[name]).map((r) => ({ g: r.guidance, ...r.cells[name] })).sort((p, q) => p.g - q.g);
      const aside = names.length > 1 ? (name === names[0] ? -3 : 3) : 0; // intervals of both stay apart
      parts.push(el("path", { class: "gm-guidance-line", style: `--color: var(--gm-${color})`, d: `M${points.map((p) => `${X(p.g) + aside} ${Y(p.value)}`).join("L")}` }));
      for (const p of points) {
        parts.push(el("g", { class: "gm-guidance-point", style: `--color: var(--gm-${color})`, "data-measure": name, "data-guidance": p.g }, tip(`${name} at guidance ${gm.digits(p.g)}: ${p.text}`),
          el("line", { x1: X(p.g) + aside, x2: X(p.g) + aside, y1: Y(p.low), y2: Y(Math.min(1, p.high)) }), el("circle", { cx: X(p.g) + aside, cy: Y(p.value), r: 4 })));
      }
      if (points.length) ends.push({ y: Y(points.at(-1).value), text: name, color });
    }
    ends.sort((p, q) => p.y - q.y).forEach((end, k) => { if (k) end.y = Math.max(end.y, ends[k - 1].y + 16); });
    for (let k = ends.length - 1; k >= 0; k--) ends[k].y = Math.min(ends[k].y, (ends[k + 1]?.y ?? bottom + 14) - 16);
    parts.push(...ends.map((end) => el("text", { class: "gm-guidance-end", style: `--color: var(--gm-${end.color})`, x: width - right + 8, y: end.y + 4, text: end.text })));
    plot.setAttribute("aria-label", names.length ? `${names.join(" and ")} over guidance; the table has every figure` : "nothing measured yet");
    plot.replaceChildren(...parts);
  };

  /* ---- all of it ---- */
  const watcher = new ResizeObserver(() => { if (!element.isConnected) watcher.disconnect(); else draw(); });
  const settle = async () => {
    const form = await gm.until(() => gm.forms[props.form]?.ready && gm.forms[props.form]);
    form?.block(props.why);
  };
  const show = () => {
    const v = props.value;
    element.dataset.rows = v ? v.rows.filter((r) => r.done).length : 0;
    element.dataset.over = v?.over ? "yes" : "";
    if (!v) return element.replaceChildren(el("div", { class: "gm-nothing", text: props.why || props.empty }));
    const curved = v.judged && (curves().length > 0 || !v.over);
    element.replaceChildren(...[table(v), v.why ? el("p", { class: "gm-info gm-guidance-why", text: v.why }) : null, curved ? plot : null].filter(Boolean));
    if (v.held) element.append(el("p", { class: "gm-info", text: `Coverage and density against ${v.held} held-out pictures: they depend on how many there are, so compare rows of this table alone.` }));
    if (curved) { watcher.observe(plot); draw(); }
  };
  settle();
  show();
  watch("value", show);
  watch(["why", "entry"], () => { settle(); show(); });
};
