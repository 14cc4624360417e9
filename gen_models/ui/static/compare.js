/* The Compare tab: a picker of data sets, and a card of samples from the same seeds for every entry. */
(() => {
  const gm = window.gm, el = gm.el;
  /* What outlives a change of tab. shown: what the server told of the data set, drawn: data set -> entry -> samples. */
  gm.dataSet = { value: null, seed: null, ask: null };
  gm.compared = { shown: null, selected: null, drawn: {}, groups: {}, figures: null, bySeed: false };
  const memory = gm.compared;

  /* ---- the picker --------------------------------------------------------------------------------------------- */
  gm.dataSets = (element, props, server, trigger) => {
    const list = el("select", { class: "gm-input", id: "compare-data-select" });
    const fill = (sets) => {
      list.replaceChildren(...sets.map((set) => el("option", { value: set.key, text: `${set.title} (${set.count})` })));
      list.value = gm.dataSet.value ?? props.value;
    };
    const put = (key) => { gm.dataSet.value = key; if (props.value !== key) { props.value = key; trigger("pick"); } };
    list.onchange = () => {
      put(list.value);
      gm.address({ tab: "compare", entry: list.value, seed: null });
      gm.dataSet.ask?.();
    };
    gm.dataSet.offer = (sets, key) => { put(key); fill(sets); };
    element.replaceChildren(el("div", { class: "gm-field" },
      el("div", { class: "gm-head" }, el("label", { for: list.id, text: "Data set" })), list));
    fill(props.sets);
  };

  /* ---- a card: an entry's samples ------------------------------------------------------------------------------ */
  const tiles = (entry) => Array.from({ length: 16 }, (_, k) => el("canvas", { width: entry.size[0], height: entry.size[1], "data-k": k }));
  const card = (entry, kind, select, real) => {
    const canvas = kind === "points" ? el("canvas", { class: "gm-sample-cloud" }) : null;
    const cells = kind === "image" ? tiles(entry) : [];
    const picture = el("div", { class: `gm-samples-of gm-of-${kind}`, role: "img" }, ...(canvas ? [canvas] : cells));
    const seeds = el("span", { class: "gm-muted gm-seeds" });
    const name = el("button", { type: "button", class: "gm-link", text: entry.entry, title: "mark it in the plots and the table", onclick: () => select(entry.entry) });
    const node = el("article", { class: "gm-versus", "data-entry": entry.entry },
      el("header", {}, name, el("span", { class: "gm-muted", text: entry.yours ? `${entry.title}, yours` : entry.title })),
      picture, el("div", { class: "gm-versus-foot" }, seeds,
        el("button", { type: "button", class: "gm-reset", text: `Open in ${entry.title} tab`, onclick: () => gm.open(entry.family, entry.entry) })));
    let wanted = 0;
    const sheet = (url, columns, gap) => {
      const mine = ++wanted, image = new Image();
      image.onload = () => {
        if (mine !== wanted) return;
        if (canvas) {
          paint(null);
          const pen = canvas.getContext("2d");
          if (document.body.classList.contains("dark")) pen.filter = "brightness(1.7)"; // it was drawn for light ground
          pen.drawImage(image, 0, 0, canvas.width, canvas.height);
        }
        cells.forEach((cell, k) => {
          const [w, h] = entry.size, pen = cell.getContext("2d");
          pen.clearRect(0, 0, w, h);
          pen.drawImage(image, (k % columns) * (w + gap), Math.floor(k / columns) * (h + gap), w, h, 0, 0, w, h);
        });
        node.dataset.seed = picture.dataset.seed;
      };
      image.src = url;
    };
    const paint = (points) => gm.cloud(canvas, [[gm.pointsOf(real), "real", 0.4], ...(points ? [[gm.pointsOf(points), "generated", 0.7]] : [])]);
    const show = (drawn, now) => {
      const seed = drawn?.seed ?? 0, count = kind === "points" ? 1000 : 16;
      const words = `seeds ${seed} to ${seed + count - 1}`;
      node.classList.toggle("gm-old", now !== null && seed !== now);
      picture.setAttribute("aria-label", `${count} samples of ${entry.entry}, ${words}`);
      picture.dataset.seed = seed;
      seeds.textContent = drawn?.error ? "not drawn" : drawn || entry.picture ? words : "no samples to show";
      picture.querySelector(".gm-wrong")?.remove();
      if (drawn?.error) picture.append(el("p", { class: "gm-wrong", role: "alert", text: drawn.error }));
      cells.forEach((cell, k) => { cell.title = `seed ${seed + k}${entry.labels.length ? ` · ${entry.labels[k % entry.labels.length]}` : ""}`; });
      if (drawn?.error) return;
      if (drawn?.points) { wanted++; paint(drawn.points); node.dataset.seed = seed; }
      else if (drawn) sheet(drawn.picture, drawn.columns, 0);
      else if (entry.picture) sheet(entry.picture, 4, 2);
    };
    return { entry: entry.entry, node, show };
  };
  /** As many columns as give the largest pictures on one screen. */
  const fit = (count, width, height, narrow) => {
    if (narrow) return [2, Math.floor((width - 10) / 2)];
    let best = [1, 0];
    for (let columns = 1; columns <= Math.min(count, 6); columns++) {
      const side = Math.min((width - 12 * (columns - 1)) / columns, height / Math.ceil(count / columns) - 82);
      if (side > best[1]) best = [columns, side];
    }
    const full = (width - 12 * (best[0] - 1)) / best[0], side = best[1] > 0.85 * full ? full : Math.max(190, best[1]);
    return [best[0], Math.floor(Math.min(380, full, side))];
  };

  /* ---- the view ------------------------------------------------------------------------------------------------ */
  /** Marks an entry in cards, plots and table, and brings its card into sight where asked. */
  gm.compared.select = (entry, scroll = false) => {
    memory.selected = entry;
    for (const part of document.querySelectorAll(".gm-versus, #compare-figures tbody")) part.classList.toggle("gm-chosen", part.dataset.entry === entry);
    memory.figures?.select(entry);
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    if (scroll) document.querySelector(`.gm-versus[data-entry="${CSS.escape(entry)}"]`)?.scrollIntoView({ block: "nearest", behavior: calm ? "auto" : "smooth" });
  };
  gm.compare = (element, props, server, trigger, watch) => {
    let cards = [];
    element.classList.add("gm-compare");
    const pictures = () => {
      const value = props.value, data = memory.shown?.data;
      if (value?.drawn) {
        memory.drawn[value.data] = { ...memory.drawn[value.data], ...value.drawn };
        memory.groups[value.data] = { seed: value.seed, names: value.groups };
      }
      const drawn = memory.drawn[data] ?? {}, seed = value?.data === data ? value.seed : null;
      for (const one of cards) one.show(drawn[one.entry], seed);
      if (byRow()) rows(drawn, data);
    };
    /* ---- by entry, or by seed ---- */
    const byRow = () => memory.bySeed && memory.shown?.kind === "image";
    const rows = (drawn, data) => {
      const last = memory.groups[data] ?? { seed: null, names: [] };
      const now = Object.fromEntries(Object.entries(drawn).filter(([, one]) => one.seed === last.seed));
      const box = element.querySelector(".gm-rows-box"), left = box?.scrollLeft ?? 0;
      const made = gm.seedRows(memory.shown, now, last.names, last.seed, gm.compared.select);
      if (box) box.replaceWith(made); else element.append(made);
      made.scrollLeft = left;
    };
    const views = () => {
      const button = (text, on) => el("button", { type: "button", class: "gm-button gm-toggle", "aria-pressed": String(byRow() === on), text,
        onclick: () => { memory.bySeed = on; build(); } });
      return el("div", { class: "gm-views", role: "group", "aria-label": "how to compare" }, button("Entry by entry", false), button("Seed by seed: the same noise", true));
    };
    const layout = () => {
      if (!memory.shown?.entries.length) return;
      const width = element.clientWidth, top = element.getBoundingClientRect().top + scrollY;
      const [columns, side] = fit(memory.shown.entries.length, width, Math.max(420, innerHeight - top - 12), width < 560);
      element.style.setProperty("--side", `${side}px`);
      element.style.setProperty("--across", columns);
    };
    const build = () => {
      const { entries, kind, real } = memory.shown;
      cards = entries.map((entry) => card(entry, kind, gm.compared.select, real));
      element.replaceChildren(...(kind === "image" && cards.length ? [views()] : []), ...(byRow() ? [] : cards.map((one) => one.node)));
      layout();
      pictures();
      memory.figures?.draw();
      if (memory.selected) gm.compared.select(memory.selected);
    };
    const show = (value) => {
      const same = cards.length && JSON.stringify(value) === JSON.stringify(memory.shown);
      memory.shown = value;
      gm.dataSet.offer?.(value.sets, value.data);
      if (same) return;
      build();
      if (!cards.length) element.replaceChildren(el("div", { class: "gm-nothing", text: "No entry has a checkpoint yet: train one in its family's tab, then compare." }));
    };
    const fail = (message) => element.replaceChildren(el("p", { class: "gm-wrong", role: "alert", text: message }));
    const pump = gm.pump(server.entries, show, fail, 1);
    const repaint = () => {
      if (!element.isConnected) { removeEventListener("resize", repaint); document.removeEventListener("gm:theme", repaint); return; }
      layout();
      if (memory.shown?.kind === "points") pictures();
    };
    addEventListener("resize", repaint);
    document.addEventListener("gm:theme", repaint);
    gm.dataSet.ask = () => pump.put({ data: gm.dataSet.value });
    if (memory.shown?.data === (gm.dataSet.value ?? memory.shown?.data) && memory.shown?.entries.length) build();
    gm.dataSet.ask(); // again on every return: entries may have been trained or judged meanwhile
    watch("value", () => {
      if (props.value?.data === memory.shown?.data) gm.address({ tab: "compare", entry: props.value.data, seed: props.value.seed });
      pictures();
    });
    if (gm.dataSet.seed !== null) replay(props.form);
  };
  /** Draws the seed that the address names. */
  const replay = async (id) => {
    const seed = Number(gm.dataSet.seed);
    gm.dataSet.seed = null;
    const form = await gm.until(() => gm.forms[id]?.ready && memory.shown && gm.forms[id]);
    if (!form || !Number.isInteger(seed)) return;
    form.fill({ seed });
    if (seed) form.run();
  };
})();
