/* Likelihood: what a picture costs a model, where that lies among test pictures, and which simpler pictures cost less.

   value (panels/likelihood.py: _parts, all of them), entry, unit, exact, title, labels, pad, form come from Python. */
(() => {
  const gm = window.gm, el = gm.el;
  const QUICK = 0.25, CALM = 400; // seconds a picture may cost for the rest to follow by itself; milliseconds after a stroke
  const HEIGHT = 176, BASE = 136, HIGH = 100, BINS = 28;

  /** Test pictures as a histogram with a tick for each, the picture at hand as a line, simpler ones as marks below. */
  const strip = (svg, { values, wanted, cost, marks, write }) => {
    const width = svg.clientWidth;
    if (!width) return;
    const sorted = [...values].sort((a, b) => a - b), parts = [], edge = 14;
    if (!sorted.length) return svg.replaceChildren(el("text", { class: "gm-axis-text", x: width / 2, y: HEIGHT / 2, "text-anchor": "middle", text: wanted ? "measuring test pictures …" : "no test pictures to compare with" }));
    const span = Math.max(1e-6, sorted.at(-1) - sorted[0]), near = (v) => v > sorted[0] - 3 * span && v < sorted.at(-1) + span / 2;
    const seen = [...sorted, ...[cost, ...marks.map((m) => m.cost)].filter((v) => v !== undefined && near(v))];
    const [low, high] = [Math.min(...seen) - 0.04 * span, Math.max(...seen) + 0.04 * span];
    const at = (v) => edge + Math.max(0, Math.min(1, (v - low) / (high - low))) * (width - 2 * edge);
    const counts = Array(BINS).fill(0), bin = (v) => Math.min(BINS - 1, Math.floor(((v - sorted[0]) / span) * BINS));
    for (const v of sorted) counts[bin(v)]++;
    const most = Math.max(...counts), step = (at(sorted.at(-1)) - at(sorted[0])) / BINS;
    counts.forEach((count, k) => count && parts.push(el("rect", { class: "gm-like-bin", x: at(sorted[0]) + k * step, y: BASE - 8 - (HIGH * count) / most, width: Math.max(1, step - 1), height: (HIGH * count) / most })));
    for (const v of sorted) parts.push(el("line", { class: "gm-like-tick", x1: at(v), x2: at(v), y1: BASE - 6, y2: BASE }));
    parts.push(el("line", { class: "gm-axis", x1: edge, x2: width - edge, y1: BASE, y2: BASE }));
    for (const v of gm.ticks(low, high, false)) parts.push(el("text", { class: "gm-axis-text", x: at(v), y: BASE + 16, "text-anchor": "middle", text: gm.digits(+v.toPrecision(6)) }));
    let free = -Infinity;
    for (const mark of marks.filter((m) => near(m.cost)).sort((a, b) => a.cost - b.cost)) {
      const x = at(mark.cost), words = el("text", { class: "gm-like-mark", x, y: BASE + 34, "text-anchor": x < 60 ? "start" : x > width - 60 ? "end" : "middle", text: mark.name });
      parts.push(el("path", { class: "gm-like-arrow", d: `M${x} ${BASE + 2}l4 7h-8z` }));
      if (x - mark.name.length * 3.6 > free) { parts.push(words); free = x + mark.name.length * 3.6; }
    }
    if (cost !== undefined) {
      const x = at(cost), out = cost < low || cost > high, end = x > width - 130 ? "end" : "start";
      parts.push(el("line", { class: "gm-like-this", x1: x, x2: x, y1: 4, y2: BASE + 6 }),
        el("text", { class: "gm-like-name", x: x + (end === "end" ? -6 : 6), y: 14, "text-anchor": end, text: out ? `${write(cost)}, far ${cost > high ? "off →" : "off ←"}` : `this picture ${write(cost)}` }));
    }
    svg.replaceChildren(...parts);
  };

  gm.likelihood = (element, props, server, trigger, watch) => {
    let entry = null, found = {}, spread = { values: [], wanted: 0 }, asking = 0, calm = 0, chosen = null;
    element.classList.add("gm-likelihood");
    const form = () => gm.forms[props.form], settings = () => form()?.value() ?? {};
    const nats = () => props.unit === "nats";
    const short = (v) => { const digits = nats() ? (v >= 1000 ? 0 : 1) : 2; return v.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits }); };
    const write = (v) => `${short(v)} ${props.unit}`;

    /* ---- what is asked ---- */
    const source = () => {
      const drawn = gm.pads[props.pad]?.value() ?? null, { draws, test } = settings();
      return { entry: props.entry, draws, ...(drawn && chosen === null ? { drawn } : { test: chosen ?? test ?? 0 }) };
    };
    const fail = (text) => { parts.message.textContent = text; parts.message.hidden = !text; };
    const looked = (value, asked) => {
      if (asked.entry !== props.entry) return;
      if (value.waiting) { parts.rank.textContent = `Reading ${props.title} …`; return setTimeout(() => look(), 400); }
      fail("");
      found = { ...value, quick: value.seconds < QUICK };
      draw();
      if (found.quick) { clearTimeout(calm); calm = setTimeout(() => more.put(source()), CALM); }
    };
    const pump = gm.pump(server.look, looked, fail, 1);
    const more = gm.pump(server.more, (value, asked) => { if (asked.entry === props.entry && value.name === found.name) { found = { ...value, quick: true }; draw(); } }, fail, 1);
    const look = () => { if (props.entry && element.isConnected) pump.put(source()); };
    const range = async () => {
      const mine = ++asking, now = props.entry;
      spread = { values: [], wanted: props.title ? 200 : 0 };
      while (props.entry === now && mine === asking && element.isConnected) {
        const shown = element.offsetParent !== null && !document.hidden;
        const answer = shown ? await gm.ask(server.spread, { entry: now, draws: settings().draws }) : { busy: true };
        if (mine !== asking || !element.isConnected) return;
        if (answer.error) { spread = { values: [], wanted: 0 }; parts.count.textContent = "not at hand"; parts.count.title = answer.error; return draw(); }
        if (answer.value?.values) { spread = gm.plain(answer.value); draw(); if (spread.values.length >= spread.wanted) return; }
        await new Promise((done) => setTimeout(done, 500));
      }
    };

    /* ---- what is seen ---- */
    const image = el("img", { class: "gm-sharp-large", alt: "nothing yet", id: `${props.form}-picture`, hidden: true }), name = el("span", { class: "gm-muted" });
    const value = el("b", { class: "gm-like-value", id: `${props.form}-value`, text: "—" });
    const parts = {
      rank: el("p", { class: "gm-like-rank", role: "status", id: `${props.form}-rank` }), how: el("p", { class: "gm-muted gm-like-how" }), message: el("p", { class: "gm-wrong", role: "alert", hidden: true }),
      svg: el("svg", { class: "gm-like-strip", height: HEIGHT, role: "img", id: `${props.form}-strip` }), count: el("p", { class: "gm-muted gm-like-count" }),
      classes: el("div", { class: "gm-like-classes", id: `${props.form}-classes` }), near: el("div", { class: "gm-like-tiles", id: `${props.form}-near` }), simpler: el("div", { class: "gm-like-tiles", id: `${props.form}-simpler` }),
      nearHead: el("figcaption"), simplerHead: el("figcaption"),
    };
    const tile = (item, extra, onclick) => el(onclick ? "button" : "div", { class: `gm-like-tile ${extra ? "gm-like-beats" : ""}`, type: onclick ? "button" : null, onclick, title: item.title ?? null, "data-cost": item.cost },
      el("img", { src: item.picture, alt: item.alt }), el("b", { text: short(item.cost) }), el("small", { text: item.words }));
    const blanks = (many) => Array.from({ length: many }, () => el("div", { class: "gm-like-tile gm-like-blank" }, el("span"), el("b", { text: "—" }), el("small", { text: "\u00a0" })));
    const waiting = () => (found.cost === undefined || found.quick ? "" : `Press Measure: about ${Math.max(1, Math.round(found.seconds * 20))} s.`);
    const neighbours = () => {
      parts.nearHead.replaceChildren(el("b", { style: "color: var(--gm-real)", text: "nearest test pictures" }), el("span", { class: "gm-muted", text: found.near ? "pixel by pixel" : found.near === null ? "" : waiting() }));
      if (found.near === null) return parts.near.replaceChildren(el("p", { class: "gm-muted", text: "The test pictures are not at hand." }));
      parts.near.replaceChildren(...(found.near ? found.near.map((item) => tile({ ...item, alt: `test picture ${item.index}`, words: item.label ? `${item.label}  #${item.index}` : `#${item.index}`, title: `mean squared error ${item.error.toPrecision(2)}: look at it` }, false,
        () => { chosen = item.index; look(); })) : blanks(5)));
    };
    const fooling = () => {
      const less = (found.simpler ?? []).filter((item) => item.cost < found.cost).length;
      parts.simplerHead.replaceChildren(el("b", { style: "color: var(--gm-critic)", text: "made from it" }),
        el("span", { class: "gm-muted", text: found.simpler ? `${less || "none"} of ${found.simpler.length} cost${less === 1 ? "s" : ""} less: ${less ? "likely is not the same as good" : "none fools it"}` : waiting() }));
      parts.simpler.replaceChildren(...(found.simpler ?? []).map((item) => tile({ ...item, alt: `${item.name}`, words: item.cost < found.cost ? `${item.name}: likelier` : item.name }, item.cost < found.cost)), ...blanks(6 - (found.simpler?.length ?? 0)));
    };
    const bars = () => {
      parts.classes.hidden = !(props.labels.length && props.exact);
      if (parts.classes.hidden) return;
      const shares = found.classes, best = shares ? shares.indexOf(Math.max(...shares)) : -1;
      parts.classes.replaceChildren(el("div", { class: "gm-like-head" }, el("b", { text: "p(class | x)" }), el("span", { class: "gm-muted", text: shares ? "by Bayes' rule" : waiting() })),
        ...gm.plain(props.labels).map((label, k) => el("div", { class: `gm-like-bar ${k === best ? "gm-like-best" : ""}`, title: shares ? shares[k].toPrecision(3) : "" },
          el("span", { text: label }), el("i", {}, el("i", { style: `width: ${100 * (shares?.[k] ?? 0)}%` })), el("span", { class: "gm-muted", text: shares ? (shares[k] >= 0.995 ? "1.00" : shares[k] < 0.005 ? "" : shares[k].toFixed(2)) : "" }))));
    };
    const draw = () => {
      const { cost } = found, n = spread.values.length, likelier = spread.values.filter((v) => v > cost).length;
      image.hidden = !found.picture;
      if (found.picture) { image.src = found.picture; image.alt = found.name; }
      name.textContent = found.name ?? "";
      value.textContent = cost === undefined ? "—" : `${props.exact ? "" : "≤ "}${write(cost)}`;
      parts.rank.textContent = cost === undefined ? "Draw, upload, or choose a test picture by its number." : n ? `likelier than ${Math.round((100 * likelier) / n)}% of ${n} test pictures` : "";
      parts.how.textContent = found.words ?? "";
      if (n) parts.count.textContent = n < spread.wanted ? `the first ${n} of ${spread.wanted} test pictures so far` : `the first ${n} of ${spread.total.toLocaleString("en")} test pictures`;
      parts.svg.setAttribute("aria-label", n ? `costs of ${n} test pictures, from ${write(Math.min(...spread.values))} to ${write(Math.max(...spread.values))}${cost === undefined ? "" : `; this picture ${write(cost)}`}` : "no test pictures yet");
      strip(parts.svg, { values: spread.values, wanted: spread.wanted, cost, marks: found.simpler ?? [], write });
      bars(); neighbours(); fooling();
      Object.assign(element.dataset, { shown: found.name ?? "", known: n, done: Boolean(found.done) });
    };
    const body = [el("div", { class: "gm-like-top" },
      el("figure", { class: "gm-recon gm-like-picture" }, el("figcaption", {}, el("b", { text: "picture" }), name), el("div", { class: "gm-recon-box" }, image)),
      el("div", { class: "gm-like-middle" }, el("span", { class: "gm-muted", text: "−log p(x): what it costs" }), value, parts.rank, parts.how, parts.message,
        el("div", { class: "gm-like-head" }, el("b", { style: "color: var(--gm-real)", text: "test pictures" }), parts.count), parts.svg, el("div", { class: "gm-like-ends gm-muted" }, el("span", { text: "← likelier" }), el("span", { text: "less likely →" }))),
      parts.classes),
    el("div", { class: "gm-like-rows" }, el("figure", {}, parts.nearHead, parts.near), el("figure", {}, parts.simplerHead, parts.simpler)),
    el("p", { class: "gm-muted gm-like-why", text: "Why a simpler picture can win: the likelihood asks how well every pixel was foreseen, not what the picture shows. Where all is plain, all is foreseen." })];

    const open = () => {
      if (entry === props.entry) return;
      entry = props.entry; found = {}; chosen = null; ++asking;
      if (!entry) return element.replaceChildren(el("div", { class: "gm-nothing", text: "This entry gives pictures no likelihood. Choose another one." }));
      parts.count.textContent = parts.count.title = "";
      fail("");
      element.replaceChildren(...body);
      if (props.value?.cost !== undefined) found = { ...gm.plain(props.value), quick: false };
      draw(); look(); range();
    };
    const listen = () => {
      const pad = gm.pads[props.pad];
      if (!pad || !form()) return element.isConnected && setTimeout(listen, 50);
      const offs = [pad.on(() => { if (element.isConnected) { chosen = null; look(); } else leave(); }),
        form().on((_, changed) => { if (!element.isConnected) return leave(); chosen = null; look(); if (changed === "draws") range(); })];
      const leave = () => offs.forEach((off) => off());
      return look();
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
    watch("value", () => { if (props.value?.cost !== undefined) { found = { ...gm.plain(props.value), quick: false }; draw(); } });
    watch(["entry"], open);
  };
})();
