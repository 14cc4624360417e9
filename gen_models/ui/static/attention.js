/* Attention: what each symbol of a text looked at while it was written, for every layer and head.

   entry, lines, form and writing (the id of the Write form) come from Python; server.look({entry, text}) -> {text, whole,
   layers, heads, weights} (panels/attention.py). Row i of a map writes symbol i; column 0 is the start, column j symbol
   j - 1. A head is a number, or "mean" over all heads of its layer. gm.attentions[form] outlives a change of tab. */
(() => {
  const gm = window.gm, el = gm.el, TOP = 8, EDGE = 24, LEGIBLE = 9;
  gm.attentions = {};

  /** Lower triangles of bytes -> a function (layer, head) -> Float32Array of rows, T * T, each asked for once. */
  const opened = ({ text, layers, heads, weights }) => {
    const symbols = Array.from(text), t = symbols.length + 1, size = (t * (t + 1)) / 2, known = new Map();
    const bytes = Uint8Array.from(atob(weights), (c) => c.charCodeAt(0));
    const one = (layer, head) => {
      const map = new Float32Array(t * t), base = (layer * heads + head) * size;
      for (let i = 0; i < t; i++) for (let j = 0; j <= i; j++) map[i * t + j] = (bytes[base + (i * (i + 1)) / 2 + j] / 255) ** 2;
      return map;
    };
    const mean = (layer) => {
      const map = new Float32Array(t * t);
      for (let head = 0; head < heads; head++) at(layer, head).forEach((w, k) => { map[k] += w / heads; });
      return map;
    };
    const at = (layer, head) => {
      const name = `${layer} ${head}`;
      if (!known.has(name)) known.set(name, head === "mean" ? mean(layer) : one(layer, head));
      return known.get(name);
    };
    return { symbols, t, layers, heads, at };
  };
  const rgb = (hex) => [1, 3, 5].map((k) => parseInt(hex.slice(k, k + 2), 16));
  /** A map as a picture of t * t pixels: the deeper, the more it looks there. */
  const picture = (map, t) => {
    const canvas = el("canvas", { width: t, height: t }), pen = canvas.getContext("2d"), image = pen.createImageData(t, t);
    const from = rgb(gm.color("card")), to = rgb(gm.color("latent")), soft = rgb(gm.color("soft"));
    for (let i = 0; i < t; i++) for (let j = 0; j < t; j++) {
      const k = 4 * (i * t + j), share = Math.sqrt(map[i * t + j]);
      for (let c = 0; c < 3; c++) image.data[k + c] = j > i ? soft[c] : from[c] + (to[c] - from[c]) * share;
      image.data[k + 3] = 255;
    }
    pen.putImageData(image, 0, 0);
    return canvas;
  };

  gm.attention = (element, props, server, trigger, watch) => {
    const id = props.form, memory = (gm.attentions[id] ??= { layer: 0, head: 0, at: null });
    let found = null, hover = null, spans = [], thumbs = [], entry = null, sent = null;
    const form = () => gm.forms[id];
    const place = () => Math.min(hover ?? memory.at ?? found.t - 1, found.t - 1);
    const map = () => found.at(memory.layer, memory.head);
    const headName = (head) => (head === "mean" ? "mean of all heads" : `head ${head + 1}`);
    const spoken = (symbol) => { const { mark, name } = gm.seen(symbol, props.lines); return name === mark ? `“${name}”` : name; };
    const named = (j) => (j === 0 ? "the start" : spoken(found.symbols[j - 1]));
    const writes = (i) => (i < found.symbols.length ? spoken(found.symbols[i]) : props.lines ? "the end or the next symbol" : "the next symbol");

    /* ---- asking ---- */
    const fail = (text) => { wrong.textContent = text; wrong.hidden = !text; };
    const pump = gm.pump(server.look, (value, asked) => {
      if (asked.entry !== props.entry) return;
      fail("");
      found = opened(value);
      memory.layer = Math.min(memory.layer, found.layers - 1);
      if (memory.head !== "mean") memory.head = Math.min(memory.head, found.heads - 1);
      if (memory.at !== null && memory.at >= found.t) memory.at = null;
      const n = found.symbols.length;
      told.textContent = value.whole > n ? `the last ${n} of ${value.whole} symbols, read as if they were all` : value.whole ? `${n} symbol${n === 1 ? "" : "s"}` : "what the model writes of seed 0";
      build();
      draw();
    }, fail, 1);
    const ask = () => { if (props.entry && element.isConnected) pump.put({ entry: props.entry, text: sent = form()?.value().text ?? "" }); };

    /* ---- parts ---- */
    const told = el("span", { class: "gm-muted" }), wrong = el("p", { class: "gm-wrong", role: "alert", hidden: true });
    const take = el("button", { type: "button", class: "gm-button", id: `${id}-take`, text: "From Write", onclick: () => { const text = written(); if (text) form().fill({ text }); } });
    const written = () => { const store = gm.writings?.[props.writing]?.[props.entry]; return store?.rows[store.at]?.symbols.join("").replace(/\n$/, props.lines ? "" : "\n") ?? ""; };
    const allow = () => { const none = !written(); take.disabled = none; take.title = none ? "nothing was written with this entry yet: go to Write" : "the text that stands in Write"; };
    const text = el("div", { class: "gm-att-text", id: `${id}-shown`, role: "slider", tabindex: 0, "aria-label": "place in the text: arrow keys move", "aria-valuemin": 0 });
    const head = el("b", { id: `${id}-head` }), canvas = el("canvas", { class: "gm-att-map", role: "img", id: `${id}-map` });
    const grid = el("div", { class: "gm-att-thumbs", role: "radiogroup", "aria-label": "layer and head" });
    const said = el("p", { class: "gm-att-said", role: "status", id: `${id}-said` });
    const bars = Array.from({ length: TOP }, () => {
      const name = el("span"), bar = el("i"), share = el("span", { class: "gm-muted" });
      return { name, bar, share, node: el("div", { class: "gm-att-bar" }, name, el("span", {}, bar), share) };
    });
    const body = [
      el("div", { class: "gm-bar gm-att-head" }, el("b", { text: "the text" }), told, el("span", { class: "gm-space" }), take), wrong, text,
      el("div", { class: "gm-att-both" }, el("figure", {}, el("figcaption", {}, el("b", { text: "layers and heads" }), el("span", { class: "gm-muted", text: "press one" })), grid),
        el("figure", {}, el("figcaption", {}, head, el("span", { class: "gm-muted gm-att-ramp" }, "0 ", el("i"), " 1")), canvas, el("p", { class: "gm-muted", text: "rows: what is written; columns: what it looks at" })),
        el("figure", { class: "gm-att-side" }, said, ...bars.map((b) => b.node)))];

    const build = () => {
      spans = [el("span", { class: "gm-att-start", text: "start" }), ...found.symbols.map((symbol) => el("span", {}, ...(symbol === "\n" ? [el("i", { class: "gm-break", text: gm.seen(symbol, props.lines).mark }), props.lines ? "" : "\n"] : [symbol]))), el("span", { class: "gm-att-next", text: "\u00a0" })];
      spans.forEach((span, k) => { span.place = k - 1; });
      text.replaceChildren(...spans);
      text.setAttribute("aria-valuemax", found.t - 1);
      const columns = [...Array(found.heads).keys(), "mean"];
      grid.style.gridTemplateColumns = `auto repeat(${columns.length}, minmax(0, 57px))`;
      thumbs = [];
      grid.replaceChildren(el("span"), ...columns.map((h) => el("span", { class: "gm-muted", text: h === "mean" ? "mean" : `head ${h + 1}` })),
        ...Array.from({ length: found.layers }, (_, layer) => [el("span", { class: "gm-muted", text: `layer ${layer + 1}` }), ...columns.map((h) => {
          const button = el("button", { type: "button", class: "gm-att-thumb", role: "radio", "aria-label": `layer ${layer + 1}, ${headName(h)}`, onclick: () => pick(layer, h) });
          thumbs.push({ button, layer, head: h });
          return button;
        })]).flat());
      small();
    };
    const small = () => thumbs.forEach((thumb) => thumb.button.replaceChildren(picture(found.at(thumb.layer, thumb.head), found.t)));
    const pick = (layer, h) => { Object.assign(memory, { layer, head: h }); draw(); };
    grid.addEventListener("keydown", (event) => {
      const wide = found.heads + 1, by = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: wide, ArrowUp: -wide }[event.key];
      if (!by) return;
      event.preventDefault(); event.stopPropagation();
      const now = thumbs.findIndex((thumb) => thumb.layer === memory.layer && thumb.head === memory.head), to = thumbs[now + by];
      if (to) { pick(to.layer, to.head); to.button.focus(); }
    });

    /* ---- drawing ---- */
    const large = (weights) => {
      const { t } = found, sharp = devicePixelRatio || 1, side = canvas.clientWidth, cell = (side - EDGE) / t, at = place();
      if (!side) return;
      canvas.width = canvas.height = side * sharp;
      const pen = canvas.getContext("2d");
      pen.scale(sharp, sharp);
      pen.imageSmoothingEnabled = false;
      pen.drawImage(picture(weights, t), EDGE, EDGE, side - EDGE, side - EDGE);
      pen.strokeStyle = gm.color("ink"); pen.lineWidth = 1.5;
      pen.strokeRect(EDGE + 0.5, EDGE + at * cell, (at + 1) * cell, Math.max(3, cell));
      pen.font = `${Math.min(14, Math.max(9, cell))}px ${getComputedStyle(text).fontFamily}`;
      pen.textAlign = "center"; pen.textBaseline = "middle";
      const mark = (k) => (k < 0 ? "▸" : k < found.symbols.length ? gm.seen(found.symbols[k], props.lines).mark : "…");
      for (let k = 0; k < t; k++) {
        const strong = k === at;
        if (cell < LEGIBLE && !strong) continue;
        pen.fillStyle = gm.color(strong ? "ink" : "muted");
        pen.fillText(mark(k), EDGE / 2, EDGE + (k + 0.5) * cell);
        if (cell >= LEGIBLE) { pen.fillStyle = gm.color(k <= at ? "ink" : "muted"); pen.fillText(mark(k - 1), EDGE + (k + 0.5) * cell, EDGE / 2); }
      }
      canvas.setAttribute("aria-label", `${props.entry}, layer ${memory.layer + 1}, ${headName(memory.head)}: ${said.textContent}`);
    };
    const draw = () => {
      allow();
      if (!found) return;
      const { t } = found, at = place(), weights = map(), row = Array.from(weights.subarray(at * t, at * t + at + 1));
      head.textContent = `layer ${memory.layer + 1}, ${headName(memory.head)}`;
      spans.forEach((span, k) => {
        const alpha = k <= at ? 50 * Math.sqrt(row[k]) : 0; // column k is symbol k - 1: the span before its place
        span.style.background = alpha >= 1 ? `color-mix(in srgb, var(--gm-latent) ${alpha.toFixed(0)}%, transparent)` : "";
        span.classList.toggle("gm-att-at", k - 1 === at);
        span.classList.toggle("gm-att-after", k - 1 > at);
        span.dataset.weight = k <= at ? row[k].toFixed(4) : "";
      });
      const order = Array.from(row.keys()).sort((a, b) => row[b] - row[a]).slice(0, TOP);
      said.textContent = `To write ${writes(at)}, it looks most at ${named(order[0])}${order[0] ? `, ${at - order[0] === 0 ? "just before" : `${at - order[0] + 1} places back`}` : ""}: ${gm.percent(row[order[0]])}.`;
      bars.forEach((bar, k) => {
        const j = order[k];
        bar.node.classList.toggle("gm-blank", j === undefined);
        if (j === undefined) return;
        bar.name.textContent = j === 0 ? "▸ start" : `${gm.seen(found.symbols[j - 1], props.lines).mark}  −${at - j + 1}`;
        bar.bar.style.width = `${100 * row[j]}%`;
        bar.share.textContent = gm.percent(row[j]);
      });
      text.setAttribute("aria-valuenow", at); text.setAttribute("aria-valuetext", said.textContent);
      thumbs.forEach((thumb) => { const on = thumb.layer === memory.layer && thumb.head === memory.head; thumb.button.setAttribute("aria-checked", String(on)); thumb.button.tabIndex = on ? 0 : -1; });
      element.dataset.at = at; element.dataset.map = `${memory.layer + 1} ${memory.head === "mean" ? "mean" : memory.head + 1}`;
      large(weights);
    };

    /* ---- pointing ---- */
    const under = (event) => { const span = event.target.closest?.(".gm-att-text > span"); return span && span.place >= 0 ? span.place : null; };
    const point = (k) => { if (k !== hover) { hover = k; draw(); } };
    const pin = (k) => { hover = null; memory.at = Math.max(0, Math.min(found.t - 1, k)); draw(); };
    text.addEventListener("pointermove", (event) => { if (found && event.pointerType === "mouse") point(under(event)); });
    text.addEventListener("pointerleave", () => { if (found) point(null); });
    text.addEventListener("click", (event) => { const k = under(event); if (k !== null) pin(k); });
    text.addEventListener("keydown", (event) => {
      if (!found) return;
      const to = { ArrowRight: place() + 1, ArrowDown: place() + 1, ArrowLeft: place() - 1, ArrowUp: place() - 1, Home: 0, End: found.t - 1 }[event.key];
      if (to === undefined) return;
      event.preventDefault(); event.stopPropagation();
      pin(to);
      spans[place() + 1].scrollIntoView({ block: "nearest" });
    });
    const rowOf = (event) => { const box = canvas.getBoundingClientRect(), k = Math.floor(((event.clientY - box.top - EDGE) / (box.height - EDGE)) * found.t); return k >= 0 && k < found.t ? k : null; };
    canvas.addEventListener("pointermove", (event) => { if (found && event.pointerType === "mouse") point(rowOf(event)); });
    canvas.addEventListener("pointerleave", () => { if (found) point(null); });
    canvas.addEventListener("click", (event) => { const k = found && rowOf(event); if (k !== null) pin(k); });

    /* ---- all of it ---- */
    const open = () => {
      element.classList.add("gm-attention"); element.classList.toggle("gm-lines", props.lines);
      if (entry === props.entry) return;
      entry = props.entry; found = null; hover = null; memory.at = null;
      if (!entry) return element.replaceChildren(el("div", { class: "gm-nothing", text: "This entry attends to no text, or has no checkpoint yet. Choose another one." }));
      element.replaceChildren(...body);
      draw();
      ask();
    };
    const listen = async () => {
      const now = await gm.until(() => form()?.element.isConnected && form());
      if (!now || !element.isConnected) return;
      const unsubscribe = now.on(() => { if (!element.isConnected) unsubscribe(); else ask(); });
      if (sent !== (now.value().text ?? "")) ask();
    };
    const again = () => {
      if (!element.isConnected) return watcher.disconnect(), document.removeEventListener("gm:theme", again);
      if (found) small();
      draw();
    };
    let wide = 0;
    const watcher = new ResizeObserver(() => { if (canvas.clientWidth !== wide) { wide = canvas.clientWidth; again(); } });
    watcher.observe(canvas);
    document.addEventListener("gm:theme", again);
    open();
    listen();
    watch(["entry"], open);
  };
})();
