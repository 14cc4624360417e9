/* What comes next: a model's log-probabilities, changed by temperature, top-k and top-p, as bars to choose from. */
(() => {
  const gm = window.gm, el = gm.el, ROWS = 12, COLDEST = 1e-6;
  const NAMED = { " ": ["␣", "space"], "\n": ["↵", "line break"], "\t": ["⇥", "tab"], "\u00a0": ["⍽", "no-break space"] };

  /** A symbol as a person can see it: {mark, name}. In lines the line break is their end. */
  gm.seen = (symbol, lines = false) => {
    if (symbol === "\n" && lines) return { mark: "■", name: "end" };
    if (NAMED[symbol]) return { mark: NAMED[symbol][0], name: NAMED[symbol][1] };
    const code = `U+${symbol.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`;
    return /[\p{L}\p{N}\p{P}\p{S}]/u.test(symbol) ? { mark: symbol, name: symbol } : { mark: code, name: code };
  };
  gm.percent = (p) => (p >= 0.9995 ? "100 %" : p >= 0.1 ? `${(100 * p).toFixed(0)} %` : p >= 0.001 ? `${(100 * p).toFixed(1)} %` : p > 0 ? "< 0.1 %" : "0 %");

  /**
   * Log-probabilities -> {p: what is drawn from, why: what cut each symbol ("" where it stays), order: most probable
   * first}. The same steps as gen_models/nn/choosing.py: temperature, top-k, top-p.
   */
  gm.kept = (log, temperature, topK, topP) => {
    const order = Array.from(log.keys()).sort((a, b) => log[b] - log[a] || a - b), best = log[order[0]];
    const p = new Float64Array(log.length), why = Array(log.length).fill("");
    if (temperature < COLDEST) {
      order.forEach((k, place) => { p[k] = place ? 0 : 1; why[k] = place ? "temperature 0" : ""; });
      return { p, why, order };
    }
    const normed = () => { const sum = p.reduce((a, b) => a + b, 0); for (const k of p.keys()) p[k] /= sum; };
    order.forEach((k, place) => { if (topK > 0 && place >= topK) why[k] = "top-k"; else p[k] = Math.exp((log[k] - best) / temperature); });
    normed();
    let before = 0;
    order.forEach((k, place) => {
      const here = p[k];
      if (topP < 1 && !why[k] && place && before >= topP) { why[k] = "top-p"; p[k] = 0; }
      before += here;
    });
    normed();
    return { p, why, order };
  };
  const entropy = (p) => -p.reduce((sum, x) => (x > 0 ? sum + x * Math.log(x) : sum), 0) + 0;

  /**
   * const next = gm.nextSymbol({id, onpick}); next.node goes into the page;
   * next.draw({log, alphabet, lines, written: index or -1, chosen, title, temperature, top_k, top_p}) or next.draw(null, why).
   */
  gm.nextSymbol = ({ id, onpick }) => {
    let shown = [];
    const title = el("b", { id: `${id}-next-title` }), fact = el("p", { class: "gm-next-fact", role: "status", id: `${id}-next-fact` });
    const stages = ["log-probabilities", "temperature", "top-k", "top-p", "drawn from"].map((name) => {
      const value = el("b", { text: "–" });
      return { value, node: el("li", {}, el("span", { text: name }), value) };
    });
    const rows = Array.from({ length: ROWS }, (_, row) => {
      const mark = el("b"), name = el("span", { class: "gm-muted" }), note = el("span", { class: "gm-next-note" });
      const raw = el("i", { class: "gm-next-raw" }), bar = el("i", { class: "gm-next-bar" }), share = el("span", { class: "gm-next-share" });
      const button = el("button", { type: "button", class: "gm-next-row", tabindex: row ? -1 : 0, onclick: () => { if (shown[row] !== undefined) onpick(shown[row]); } },
        el("span", { class: "gm-next-mark" }, mark, name), el("span", { class: "gm-next-track" }, raw, bar), share, note);
      return { button, mark, name, note, raw, bar, share };
    });
    const list = el("div", { class: "gm-next-rows", role: "group", "aria-label": "the likeliest symbols: press one to write it here" }, ...rows.map((r) => r.button));
    list.addEventListener("keydown", (event) => {
      const by = { ArrowDown: 1, ArrowUp: -1 }[event.key], at = rows.findIndex((r) => r.button === document.activeElement);
      if (!by || at < 0) return;
      event.preventDefault(); event.stopPropagation();
      const to = rows[Math.min(shown.length - 1, Math.max(0, at + by))];
      for (const r of rows) r.button.tabIndex = r === to ? 0 : -1;
      to.button.focus();
    });
    const empty = el("p", { class: "gm-void" });
    const node = el("section", { class: "gm-next", id: `${id}-next`, "aria-label": "next symbol" },
      el("div", { class: "gm-next-head" }, title), fact, el("ol", { class: "gm-next-stages" }, ...stages.map((s) => s.node)), list,
      el("p", { class: "gm-muted gm-next-key" }, el("i", { class: "gm-next-raw" }), el("span", { text: "what the model says" }), el("i", { class: "gm-next-bar" }), el("span", { text: "what is drawn from" })), empty);

    const draw = (v, why = "") => {
      node.classList.toggle("gm-next-none", !v);
      empty.textContent = why; empty.hidden = Boolean(v);
      shown = [];
      if (!v) { title.textContent = "Next symbol"; fact.textContent = ""; return; }
      const { p, why: cut, order } = gm.kept(v.log, v.temperature, v.top_k, v.top_p), n = v.alphabet.length;
      const raw = Float64Array.from(v.log, Math.exp), stays = cut.filter((reason) => !reason).length, byK = cut.filter((reason) => reason === "top-k").length;
      const rank = v.written < 0 ? -1 : order.indexOf(v.written);
      shown = order.slice(0, Math.min(ROWS, n));
      if (rank >= ROWS) shown[ROWS - 1] = v.written;
      const top = Math.max(...shown.map((k) => Math.max(raw[k], p[k])));
      title.textContent = v.title;
      const seen = rank < 0 ? null : gm.seen(v.alphabet[v.written], v.lines);
      fact.textContent = rank < 0 ? `Nothing is written here yet: press a symbol to write it. Entropy ${entropy(raw).toFixed(2)} nats.`
        : `${v.chosen ? "You chose" : "Written"}: ${seen.name}, ${gm.percent(raw[v.written])}, rank ${rank + 1} of ${n}. Entropy ${entropy(raw).toFixed(2)} nats.`;
      const cold = v.temperature < COLDEST;
      [`${n} symbols`, cold ? "0: the likeliest" : `÷ ${v.temperature}`, cold ? "–" : v.top_k > 0 ? `${v.top_k}: ${n - byK} stay` : "all",
        cold ? "–" : v.top_p < 1 ? `${v.top_p}: ${stays} stay` : "all", `${stays} of ${n}, ${entropy(p).toFixed(2)} nats`].forEach((text, k) => { stages[k].value.textContent = text; });
      rows.forEach((row, r) => {
        const k = shown[r];
        row.button.classList.toggle("gm-blank", k === undefined);
        row.button.disabled = k === undefined;
        if (k === undefined) return;
        const { mark, name } = gm.seen(v.alphabet[k], v.lines), here = k === v.written;
        row.mark.textContent = mark; row.name.textContent = name === mark ? "" : name;
        row.raw.style.width = `${(100 * raw[k]) / top}%`; row.bar.style.width = `${(100 * p[k]) / top}%`;
        row.share.textContent = gm.percent(p[k]);
        row.note.textContent = here ? `${v.chosen ? "chosen" : "written"}${cut[k] ? ", cut" : ""}` : cut[k] ? `cut by ${cut[k]}` : "";
        row.button.classList.toggle("gm-cut", Boolean(cut[k]));
        row.button.classList.toggle("gm-here", here);
        row.button.dataset.symbol = v.alphabet[k]; row.button.dataset.p = p[k]; row.button.dataset.raw = raw[k]; row.button.dataset.cut = cut[k];
        row.button.setAttribute("aria-label", `${name}: the model says ${gm.percent(raw[k])}, drawn with ${gm.percent(p[k])}${cut[k] ? `, cut by ${cut[k]}` : ""}${here ? ", written here" : ""}. Press to write it.`);
      });
    };
    draw(null, "");
    return { node, draw };
  };
})();
