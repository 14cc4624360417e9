/* Critic: pictures from the least real to the most, in the eyes of the discriminator, and how well it tells two kinds apart.

   value (panels/critic.py: work), entry, labels, size and form come from Python; server.score({entry, label, own}) ->
   the scores of one's own pictures (own.js). A picture here is {origin, name, score, canvas}. */
(() => {
  const gm = window.gm, el = gm.el;
  const KINDS = { // a mark of its own shape for each, so that colour is not all that tells them apart
    generated: { mark: "■", color: "generated", title: "generated" }, test: { mark: "●", color: "real", title: "test" }, yours: { mark: "▲", color: "accent", title: "yours" },
  };
  const HEIGHT = 150, MIDDLE = 66, HIGH = 52, EDGE = 12, BINS = 30;
  const nth = (k) => `${k}${k % 100 > 10 && k % 100 < 14 ? "th" : ["th", "st", "nd", "rd"][k % 10] ?? "th"}`;

  /** Two histograms over one axis, generated ones up and test pictures down; one's own as marks, the picked one as a line. */
  const strip = (svg, items, picked) => {
    const width = svg.clientWidth;
    if (!width) return;
    if (!items.length) return svg.replaceChildren();
    const all = items.map((item) => item.score), low = Math.min(...all), span = Math.max(1e-6, Math.max(...all) - low);
    const at = (v) => EDGE + ((v - low) / span) * (width - 2 * EDGE), step = (width - 2 * EDGE) / BINS, parts = [];
    const counted = (origin) => {
      const counts = Array(BINS).fill(0);
      for (const item of items) if (item.origin === origin) counts[Math.min(BINS - 1, Math.floor(((item.score - low) / span) * BINS))]++;
      return counts;
    };
    const both = { generated: counted("generated"), test: counted("test") }, most = Math.max(1, ...both.generated, ...both.test);
    for (const [origin, counts] of Object.entries(both)) counts.forEach((count, k) => {
      const h = (HIGH * count) / most;
      if (count) parts.push(el("rect", { class: `gm-critic-bin gm-critic-${origin}`, "data-count": count, x: EDGE + k * step, width: Math.max(1, step - 1), y: origin === "test" ? MIDDLE + 1 : MIDDLE - 1 - h, height: h }));
    });
    parts.push(el("line", { class: "gm-axis", x1: EDGE, x2: width - EDGE, y1: MIDDLE, y2: MIDDLE }));
    for (const item of items) if (item.origin === "yours") parts.push(el("path", { class: "gm-critic-mine", d: `M${at(item.score)} ${MIDDLE - 7}l6 12h-12z` }));
    for (const v of gm.ticks(low, low + span, false)) parts.push(el("text", { class: "gm-axis-text", x: at(v), y: HEIGHT - 6, "text-anchor": "middle", text: gm.digits(+v.toPrecision(6)).replace("-", "−") }));
    if (picked) parts.push(el("line", { class: "gm-critic-line", x1: at(picked.score), x2: at(picked.score), y1: 4, y2: HEIGHT - 22 }));
    svg.replaceChildren(...parts);
  };

  gm.critic = (element, props, server, trigger, watch) => {
    let entry = null, shown = null, groups = [], mine = [], order = [], pinned = null, hover = null;
    element.classList.add("gm-critic");
    const write = (value) => `${value < 0 ? "−" : ""}${Math.abs(value).toFixed(order.length && order.at(-1).score - order[0].score < 1 ? 3 : 2)}`;
    const form = () => gm.forms[props.form], own = () => gm.owned[props.form]?.value() ?? [];

    /* ---- parts ---- */
    const big = el("canvas", { role: "img", id: `${props.form}-picture`, "aria-label": "nothing yet" });
    const name = el("b", { class: "gm-critic-name" }), place = el("p", { class: "gm-muted", role: "status", id: `${props.form}-place` }), score = el("p", { class: "gm-critic-score", id: `${props.form}-score` });
    const number = el("b", { class: "gm-critic-share", id: `${props.form}-share`, text: "—" }), words = el("p", { id: `${props.form}-words` });
    const svg = el("svg", { class: "gm-critic-strip", height: HEIGHT, role: "img", id: `${props.form}-strip` });
    const legend = el("div", { class: "gm-critic-legend", id: `${props.form}-legend` }), wrong = el("p", { class: "gm-wrong", role: "alert", hidden: true });
    const row = el("div", { class: "gm-critic-row", role: "listbox", "aria-label": "pictures, the least real first", "aria-orientation": "horizontal", id: `${props.form}-row` });
    const body = [
      el("div", { class: "gm-critic-top" },
        el("figure", { class: "gm-critic-detail" }, el("div", { class: "gm-critic-box" }, big), name, score, place),
        el("div", { class: "gm-critic-middle" }, el("span", { class: "gm-muted", text: "a test picture scores higher than a generated one" }),
          el("div", { class: "gm-critic-told" }, number, words), wrong, legend, svg, el("div", { class: "gm-critic-ends gm-muted" }, el("span", { text: "← less real" }), el("span", { text: "more real →" })))),
      el("div", { class: "gm-critic-ends gm-critic-head" }, el("b", { text: "least real" }), el("span", { class: "gm-muted", text: "by its score, line by line" }), el("b", { text: "most real" })), row,
      el("p", { class: "gm-muted gm-critic-why", text: "Scores have no unit: only their order means something, within one class and one discriminator. And it has met data and generated pictures alone: what it says of noise or of a blank page means little." })];

    /* ---- tiles ---- */
    const made = (item) => {
      item.node = el("button", { type: "button", class: `gm-critic-tile gm-critic-of-${item.origin}`, role: "option", tabindex: -1, "data-origin": item.origin, "data-score": item.score,
        onpointerenter: (event) => { if (event.pointerType === "mouse") { hover = item; point(); } }, onpointerleave: () => { if (hover === item) { hover = null; point(); } },
        onfocus: () => { pinned = item; point(); }, onclick: () => { pinned = item; point(); } },
      item.canvas, (item.mark = el("span", { class: "gm-critic-mark", style: `color: var(--gm-${KINDS[item.origin].color})`, "aria-hidden": "true", text: KINDS[item.origin].mark })));
      return item;
    };
    const called = (item) => (item.origin === "yours" ? item.name : `${KINDS[item.origin].title}, ${item.name}`);
    const cut = (group) => group.scores.map((value, k) => made({ origin: group.origin, name: group.names[k], score: value, canvas: el("canvas", { width: props.size[1], height: props.size[0] }) }));
    const fill = (group, items) => {
      const sheet = new Image(), [h, w] = gm.plain(props.size);
      sheet.onload = () => {
        items.forEach((item, k) => item.canvas.getContext("2d").drawImage(sheet, (k % group.columns) * w, Math.floor(k / group.columns) * h, w, h, 0, 0, w, h));
        if (element.isConnected) point();
      };
      sheet.src = group.picture;
    };
    const sort = () => {
      order = [...groups.flatMap((group) => group.items), ...mine].sort((a, b) => a.score - b.score);
      const held = order.find((item) => item.node === document.activeElement);
      for (const node of [...row.children]) if (!order.some((item) => item.node === node)) node.remove();
      order.forEach((item, k) => {
        if (row.children[k] !== item.node) row.insertBefore(item.node, row.children[k] ?? null);
        item.node.setAttribute("aria-label", `${nth(k + 1)} of ${order.length} from the least real: ${called(item)}, score ${write(item.score)}`);
      });
      held?.node.focus({ preventScroll: true });
      row.classList.toggle("gm-critic-many", order.length > 72);
      if (pinned && !order.includes(pinned)) pinned = null;
      element.dataset.order = order.map((item) => item.origin[0]).join("");
      point();
    };

    /* ---- what is told ---- */
    const point = () => {
      const item = hover ?? pinned ?? order.at(-1);
      for (const one of order) {
        one.node.setAttribute("aria-selected", String(one === item));
        one.node.tabIndex = one === (pinned ?? order.at(-1)) ? 0 : -1;
        one.mark.textContent = one === item ? write(one.score) : KINDS[one.origin].mark; // at the finger too, where the large one is far
      }
      strip(svg, order, item);
      if (!item) { name.textContent = score.textContent = place.textContent = ""; return; }
      big.width = item.canvas.width; big.height = item.canvas.height;
      big.getContext("2d").drawImage(item.canvas, 0, 0);
      big.setAttribute("aria-label", called(item));
      name.replaceChildren(el("span", { style: `color: var(--gm-${KINDS[item.origin].color})`, text: `${KINDS[item.origin].mark} ` }), called(item));
      score.textContent = `score ${write(item.score)}`;
      place.textContent = `${nth(order.indexOf(item) + 1)} of ${order.length} from the least real`;
    };
    const told = () => {
      const v = shown, part = v?.share;
      number.textContent = typeof part === "number" ? `${Math.round(100 * part)} %` : "—";
      words.textContent = !v ? "" : typeof part === "number" ? `of ${v.pairs.toLocaleString("en")} pairs. At 50 % it cannot tell them apart, at 100 % always.`
        : v.note ? `Generated pictures alone: ${v.note[0].toLowerCase()}${v.note.slice(1)}` : v.done ? "Generated pictures alone: no test pictures were asked for." : "";
      const counts = Object.fromEntries(Object.keys(KINDS).map((origin) => [origin, order.filter((item) => item.origin === origin).length]));
      legend.replaceChildren(...Object.entries(KINDS).filter(([origin]) => counts[origin]).map(([origin, kind]) => el("span", {}, el("span", { style: `color: var(--gm-${kind.color})`, text: `${kind.mark} ` }), `${kind.title} ${counts[origin]}`, el("small", { class: "gm-muted", text: { generated: " above", test: " below" }[origin] ?? "" }))));
      svg.setAttribute("aria-label", order.length ? `scores of ${Object.entries(counts).filter(([, n]) => n).map(([origin, n]) => `${n} ${KINDS[origin].title}`).join(" and ")} pictures, from ${write(order[0].score)} to ${write(order.at(-1).score)}` : "no scores yet");
      Object.assign(element.dataset, { shown: v?.entry ?? "", done: String(Boolean(v?.done)), share: typeof part === "number" ? part : "" });
    };
    const draw = () => { sort(); told(); };

    /* ---- one's own, while they are drawn ---- */
    const fail = (text) => { wrong.textContent = text; wrong.hidden = !text; };
    const pump = gm.pump(server.score, (answer, asked) => {
      if (asked.entry !== props.entry || !element.isConnected) return;
      fail("");
      const before = mine.map((item) => item.pixels), at = mine.indexOf(pinned);
      mine = asked.own.map((one, k) => {
        const item = { origin: "yours", name: one.name, score: answer[k], canvas: el("canvas"), pixels: one.pixels };
        gm.paintPixels(item.canvas, one);
        return made(item);
      });
      const fresh = mine.findLast((item) => !before.includes(item.pixels)); // what was just drawn or brought is looked at
      pinned = fresh ?? (at < 0 ? pinned : mine[Math.min(at, mine.length - 1)] ?? null);
      draw();
    }, fail);
    const judged = () => shown?.label ?? form()?.value().label ?? props.labels[0];
    const ask = () => {
      if (!props.entry || !element.isConnected) return;
      const pictures = own().filter((one) => one.size.join() === gm.plain(props.size).join());
      if (pictures.length) pump.put({ entry: props.entry, label: judged(), own: pictures });
      else if (mine.length) pump.put({ entry: props.entry, label: judged(), own: [] });
    };

    /* ---- all of it ---- */
    row.addEventListener("keydown", (event) => {
      const at = order.findIndex((item) => item.node === document.activeElement), across = Math.max(1, getComputedStyle(row).gridTemplateColumns.split(" ").length);
      const to = { ArrowRight: at + 1, ArrowLeft: at - 1, ArrowDown: at + across, ArrowUp: at - across, Home: 0, End: order.length - 1 }[event.key];
      if (to === undefined || at < 0) return;
      event.preventDefault(); event.stopPropagation();
      order[Math.max(0, Math.min(order.length - 1, to))].node.focus();
    });
    const take = () => {
      const v = gm.plain(props.value);
      if (v?.entry !== props.entry) return;
      const before = shown?.label;
      shown = v;
      groups = v.groups.map((group) => { const items = cut(group); fill(group, items); return { ...group, items }; });
      draw();
      if (before !== v.label) ask();
    };
    const first = async () => { // what stands in the form is judged as soon as the panel is seen
      const now = props.entry, ready = await gm.until(() => form()?.ready && form().element.isConnected && form().entry() === now && form());
      if (ready && element.isConnected && props.entry === now && !shown && !gm.running[props.form]) ready.run();
    };
    const open = () => {
      if (entry === props.entry) return;
      entry = props.entry; shown = null; groups = []; mine = []; pinned = hover = null;
      if (!entry) return element.replaceChildren(el("div", { class: "gm-nothing", text: "This entry has no discriminator of pictures, or no checkpoint yet. Choose another one." }));
      element.replaceChildren(...body);
      fail("");
      draw();
      if (props.value?.entry === entry) take(); else first();
      ask();
    };
    const listen = async () => {
      const there = await gm.until(() => gm.owned[props.form]);
      if (!there || !element.isConnected) return;
      const off = there.on(() => { if (element.isConnected) ask(); else off(); });
      ask();
    };
    const again = () => {
      if (!element.isConnected) return watcher.disconnect(), document.removeEventListener("gm:theme", again);
      if (entry) point();
    };
    const watcher = new ResizeObserver(again);
    watcher.observe(svg);
    document.addEventListener("gm:theme", again);
    open();
    listen();
    watch("value", () => { if (props.value) take(); });
    watch(["entry"], open);
  };
})();
