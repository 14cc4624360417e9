/* The codebook: every code as a small picture, by likeness or by use, and how often each is used.

   const book = gm.codeBook({ id, choose, take }); book.node and book.usage go into the page;
   book.show(found) what server.book gave; book.count(usage) what server.usage gave, or {error}; book.mark(edit) the present
   picture's codes and the one at hand; choose(code) is called for a click on a tile, take(code) for one on a bar. */
window.gm.codeBook = ({ id, choose, take }) => {
  const gm = window.gm, el = gm.el, HEIGHT = 92, BASE = 84, TOP = 6;
  let found = null, usage = null, tiles = [], order = [], ranks = [], edit = null;

  /* ---- tiles ---- */
  const grid = el("div", { class: "gm-code-tiles", role: "group", "aria-label": "codebook", id: `${id}-book` });
  const sorts = ["likeness", "use"].map((sort) => el("button", { type: "button", class: "gm-reset gm-code-sort", id: `${id}-by-${sort}`, "data-sort": sort, text: `by ${sort}`, onclick: () => edit?.set({ sort }) }));
  const told = el("span", { class: "gm-muted" });
  const node = el("figure", { class: "gm-code-book" }, el("figcaption", {}, el("b", { text: "codebook" }), told, el("span", { class: "gm-code-sorts", role: "group", "aria-label": "order of the codebook" }, ...sorts)), grid);
  const about = (code) => `code ${code}${usage?.pictures ? `: ${share(code)} of all cells` : ""}`;
  const share = (code) => { const part = usage.counts[code] / (usage.sum || 1); return part ? `${gm.digits(+(100 * part).toPrecision(2))}%` : "none"; };
  const fit = () => {
    if (!tiles.length || !grid.clientWidth) return;
    const [w, h] = [grid.clientWidth - 8, grid.clientHeight - 8], gap = 2;
    let columns = 6;
    const side = () => Math.floor((w - gap * (columns - 1)) / columns);
    while (side() > 24 && Math.ceil(tiles.length / columns) * (side() + gap) > h) columns++;
    grid.style.setProperty("--gm-tile", `${side()}px`);
    grid.style.setProperty("--gm-across", columns);
    grid.across = columns;
  };
  const place = () => {
    const by = edit?.sort === "use" && usage?.pictures ? ranks : found.order;
    for (const button of sorts) button.setAttribute("aria-pressed", String(button.dataset.sort === (edit?.sort ?? "likeness")));
    sorts[1].disabled = !usage?.pictures;
    sorts[1].title = sorts[1].disabled ? "the use of the codes is not counted yet" : "";
    if (by.join() === order.join()) return;
    order = [...by];
    grid.replaceChildren(...order.map((code) => tiles[code]));
  };
  const show = async (value) => {
    found = value;
    const sheet = new Image(), [w, h] = found.patch.size, across = found.patch.columns;
    sheet.src = found.patch.url;
    await sheet.decode();
    if (found !== value) return;
    tiles = Array.from({ length: found.codes }, (_, code) => {
      const canvas = el("canvas", { width: w, height: h });
      canvas.getContext("2d").drawImage(sheet, (code % across) * w, Math.floor(code / across) * h, w, h, 0, 0, w, h);
      return el("button", { type: "button", class: "gm-code-tile", "data-code": code, "aria-label": `code ${code}`, tabindex: -1, onclick: () => choose(code) }, canvas);
    });
    order = [];
    fit(); place(); mark(edit);
  };
  grid.addEventListener("keydown", (event) => {
    const by = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: grid.across, ArrowUp: -grid.across }[event.key];
    if (!by || !order.length) return;
    event.preventDefault(); event.stopPropagation();
    const at = order.indexOf(Number(document.activeElement.dataset.code));
    tiles[order[Math.min(order.length - 1, Math.max(0, at + by))]].focus();
  });

  /* ---- how often each is used ---- */
  const svg = el("svg", { class: "gm-code-bars", height: HEIGHT, id: `${id}-bars`, role: "slider", tabindex: 0, "aria-label": "codes by use", "aria-valuemin": 1 });
  const figures = el("p", { class: "gm-muted gm-code-figures", role: "status", id: `${id}-figures` }), line = el("span", { class: "gm-muted" });
  const use = el("figure", { class: "gm-code-use" }, el("figcaption", {}, el("b", { style: "color: var(--gm-real)", text: "how often used" }), line), svg, figures);
  const count = (value) => {
    usage = value;
    if (usage.counts) {
      usage.sum = usage.counts.reduce((sum, n) => sum + n, 0);
      ranks = usage.counts.map((_, code) => code).sort((a, b) => usage.counts[b] - usage.counts[a] || a - b);
    }
    if (found) { place(); mark(edit); } else bars();
  };
  const bars = () => {
    const width = svg.clientWidth;
    figures.title = usage?.error ?? "";
    if (usage?.error) { figures.textContent = "Test pictures are not at hand, so nothing is counted."; line.textContent = ""; }
    if (!width || !usage?.pictures) return svg.replaceChildren(el("line", { class: "gm-axis", x1: 0, x2: width, y1: BASE, y2: BASE }));
    const p = usage.counts.map((n) => n / usage.sum), most = Math.max(...p), step = width / p.length, now = new Set(edit?.now()?.codes ?? []);
    const parts = { rest: "", here: "" }, high = (code) => Math.max(0.7, ((BASE - TOP) * p[code]) / most), wide = Math.max(step > 3 ? step - 1 : step * 0.8, 0.6);
    ranks.forEach((code, k) => { if (p[code]) parts[now.has(code) ? "here" : "rest"] += `M${(k * step).toFixed(2)} ${BASE}v${-high(code)}h${wide.toFixed(2)}v${high(code)}z`; });
    const even = BASE - (BASE - TOP) / p.length / most, at = ranks.indexOf(edit?.code ?? -1);
    svg.replaceChildren(el("path", { class: "gm-code-bar", d: parts.rest }), el("path", { class: "gm-code-bar gm-code-here", d: parts.here }),
      el("line", { class: "gm-code-even", x1: 0, x2: width, y1: even, y2: even }), el("text", { class: "gm-axis-text", x: width - 2, y: even - 4, "text-anchor": "end", text: "even use" }),
      el("line", { class: "gm-axis", x1: 0, x2: width, y1: BASE, y2: BASE }));
    if (at >= 0) svg.append(el("path", { class: "gm-code-at", d: `M${at * step + wide / 2} ${BASE + 1}l4 6h-8z` }));
    const alive = p.filter((v) => v > 0).length, entropy = -p.reduce((sum, v) => sum + (v ? v * Math.log(v) : 0), 0);
    line.textContent = `first ${usage.pictures} ${usage.pictures < usage.wanted ? "so far" : "test pictures"}`;
    figures.replaceChildren("perplexity ", el("b", { text: gm.digits(Math.exp(entropy)) }), ` of ${p.length} · `, el("b", { text: `${gm.digits(+((100 * alive) / p.length).toPrecision(3))}%` }), " of the codes alive · ",
      el("span", { class: "gm-code-key", text: `${now.size} in this picture` }));
    svg.setAttribute("aria-valuemax", p.length);
    svg.setAttribute("aria-valuenow", at + 1);
    svg.setAttribute("aria-valuetext", at < 0 ? "no code is at hand" : about(edit.code));
    svg.dataset.pictures = usage.pictures;
  };
  const under = (event) => {
    const box = svg.getBoundingClientRect();
    return ranks[Math.min(ranks.length - 1, Math.max(0, Math.floor(((event.clientX - box.left) / box.width) * ranks.length)))];
  };
  svg.addEventListener("click", (event) => { if (usage?.pictures) take(under(event)); });
  svg.addEventListener("pointermove", (event) => { if (usage?.pictures) line.textContent = about(under(event)); });
  svg.addEventListener("pointerleave", bars);
  svg.addEventListener("keydown", (event) => {
    const by = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
    if (!by || !usage?.pictures) return;
    event.preventDefault(); event.stopPropagation();
    take(ranks[Math.min(ranks.length - 1, Math.max(0, ranks.indexOf(edit?.code ?? -1) + by))]);
  });

  /* ---- what is marked ---- */
  const mark = (now) => {
    edit = now;
    if (!found || !tiles.length || !edit) return bars();
    const here = new Set(edit.now()?.codes ?? []), at = edit.code ?? order[0] ?? 0;
    place();
    tiles.forEach((tile, code) => {
      tile.classList.toggle("gm-code-here", here.has(code));
      tile.setAttribute("aria-pressed", String(code === edit.code));
      tile.tabIndex = code === at ? 0 : -1;
      tile.title = about(code);
    });
    told.textContent = edit.code === null ? `${found.codes} codes` : `code ${edit.code}`;
    bars();
  };
  return { node, use, show, count, mark, fit: () => { fit(); bars(); }, tile: (code) => tiles[code] };
};
