/* Samples: a grid of crisp pictures, each of which can be taken, or a cloud of points over the real ones. */
window.gm.samples = (element, props, server, trigger, watch) => {
  const gm = window.gm, el = gm.el;
  let tiles = [], at = 0, drawn = 0, shape = "";
  element.classList.add("gm-samples");
  const kind = (v, k) => { const name = v.names[v.labels[k]]; return /^\d$/.test(name) ? `digit ${name}` : name; };
  const about = (v, k) => {
    const step = v.step ? `, step ${v.step[0]} of ${v.step[1]}` : "";
    return `${v.entry}, seed ${v.seed + k}${v.labels ? `, ${kind(v, k)}` : ""}${step}`;
  };
  const item = (v, k) => ({
    entry: v.entry, seed: v.seed + k, label: v.labels ? v.labels[k] : null, options: gm.plain(v.options),
    picture: tiles[k].canvas.toDataURL("image/png"),
  });
  const taken = () => gm.takenOf[props.family]?.items() ?? [];
  const same = (v, k) => taken().some((other) => gm.sameSample(other, {
    entry: v.entry, seed: v.seed + k, label: v.labels ? v.labels[k] : null, options: gm.plain(v.options) }));

  /* ---- pictures ---- */
  const room = () => {
    const top = element.getBoundingClientRect().top + scrollY;
    return [element.clientWidth, Math.max(320, Math.min(innerHeight - top - 44, 1000))];
  };
  const fit = (count, [w, h], [width, height], gap) => {
    let best = { score: 0, columns: 1, cell: 32 };
    for (let columns = 1; columns <= count; columns++) {
      const rows = Math.ceil(count / columns);
      const cell = Math.floor(Math.min((width + gap) / columns - gap, ((height + gap) / rows - gap) * (w / h)));
      const score = cell * (count % columns ? 0.78 : 1);
      if (score > best.score) best = { score, columns, cell };
    }
    return best;
  };
  const layout = () => {
    const v = props.value;
    if (!element.isConnected || v?.kind !== "image") return;
    const [width, height] = room(), gap = v.count > 30 ? 4 : 6, narrow = width < 560;
    const best = fit(v.count, v.size, [width, height], gap);
    const columns = Math.min(v.count, narrow ? (v.count > 16 ? 6 : 4) : best.columns);
    const cell = narrow ? Math.floor((width + gap) / columns - gap) : best.cell;
    element.querySelector(".gm-grid").style.cssText = `grid-template-columns: repeat(${columns}, ${cell}px); gap: ${gap}px`;
    const spare = width - columns * (cell + gap) - 20;
    const detail = element.querySelector(".gm-detail");
    detail.hidden = spare < 200 || v.count === 1;
    detail.style.width = `${Math.min(spare, 340)}px`;
    element.closest(".gm-stage")?.classList.toggle("gm-tight", detail.hidden);
  };
  const mark = () => {
    const v = props.value;
    tiles.forEach((tile, k) => tile.button.setAttribute("aria-pressed", String(same(v, k))));
    const button = element.querySelector(".gm-detail button");
    if (button) button.textContent = same(v, at) ? "Taken: put it back" : "Take it";
  };
  const point = (k) => {
    const v = props.value;
    if (!tiles[k]) return;
    at = k;
    tiles.forEach((tile, other) => { tile.button.tabIndex = other === k ? 0 : -1; });
    const big = element.querySelector(".gm-detail canvas");
    big.width = tiles[k].canvas.width; big.height = tiles[k].canvas.height;
    big.getContext("2d").drawImage(tiles[k].canvas, 0, 0);
    big.setAttribute("aria-label", about(v, k));
    element.querySelector(".gm-detail p").textContent = `seed ${v.seed + k}${v.labels ? ` · ${kind(v, k)}` : ""}`;
    mark();
  };
  const toggle = (k) => { point(k); if (props.takes) gm.takenOf[props.family]?.toggle(item(props.value, k)); };
  const build = (v) => {
    element.classList.toggle("gm-fine", Math.min(...v.size) > 64); // these are shrunk rather than enlarged
    const grid = el("div", { class: "gm-grid", role: "group", "aria-label": `${v.count} samples of ${v.entry}` });
    tiles = Array.from({ length: v.count }, (_, k) => {
      const canvas = el("canvas", { width: v.size[0], height: v.size[1] });
      const button = el("button", {
        type: "button", class: "gm-tile", "aria-pressed": "false", tabindex: k ? -1 : 0, style: `aspect-ratio:${v.size[0]}/${v.size[1]}`,
        onclick: () => toggle(k), onpointerenter: () => point(k), onfocus: () => point(k),
      }, canvas);
      grid.append(button);
      return { button, canvas };
    });
    grid.addEventListener("keydown", (event) => {
      const across = getComputedStyle(grid).gridTemplateColumns.split(" ").length;
      const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: across, ArrowUp: -across }[event.key];
      if (!step) return;
      event.preventDefault(); event.stopPropagation();
      tiles[Math.min(v.count - 1, Math.max(0, at + step))].button.focus();
    });
    element.replaceChildren(grid, el("figure", { class: "gm-detail" }, el("canvas", { role: "img" }), el("p"),
      props.takes ? el("button", { type: "button", class: "gm-button", onclick: () => toggle(at) }) : null,
      props.takes ? el("p", { class: "gm-info", text: "Click a sample to take it to Latent and Interpolate." }) : null));
    at = 0;
  };
  const pictures = (v) => {
    const now = [v.count, ...v.size].join();
    if (now !== shape) { shape = now; build(v); layout(); }
    const mine = ++drawn, sheet = new Image();
    sheet.onload = () => {
      if (mine !== drawn) return;
      const [w, h] = v.size;
      tiles.forEach((tile, k) => {
        const x = (k % v.columns) * (w + v.gap), y = Math.floor(k / v.columns) * (h + v.gap), pen = tile.canvas.getContext("2d");
        pen.clearRect(0, 0, w, h);
        pen.drawImage(sheet, x, y, w, h, 0, 0, w, h);
        tile.button.setAttribute("aria-label", `${about(v, k)}${props.takes ? ": take it" : ""}`);
        tile.button.title = about(v, k);
      });
      element.dataset.step = v.step ? v.step.join("/") : "";
      point(Math.min(at, v.count - 1));
    };
    sheet.src = v.picture;
  };

  /* ---- points ---- */
  const cloud = (v) => {
    shape = "";
    const [width, height] = room(), side = Math.floor(Math.min(width, Math.max(300, height))), sharp = devicePixelRatio || 1;
    const canvas = el("canvas", {
      class: "gm-cloud", width: side * sharp, height: side * sharp, style: `width:${side}px;height:${side}px`, role: "img",
      "aria-label": `${v.count} points of ${v.entry}, seed ${v.seed}${v.step ? `, step ${v.step[0]} of ${v.step[1]}` : ""}, over real ones`,
    });
    const pen = canvas.getContext("2d"), limit = 4.5, to = (x) => ((x / limit + 1) / 2) * side * sharp;
    const dots = (points, color, alpha, radius) => {
      pen.fillStyle = color; pen.globalAlpha = alpha;
      for (const [x, y] of points) { pen.beginPath(); pen.arc(to(x), to(-y), radius * sharp, 0, 7); pen.fill(); }
      pen.globalAlpha = 1;
    };
    const radius = Math.max(1.5, side / 260);
    dots(props.real ?? [], gm.color("real"), 0.45, radius);
    if (v.points) dots(v.points, gm.color("generated"), 0.7, radius);
    else if (v.picture) { const mine = ++drawn, image = new Image(); image.onload = () => mine === drawn && pen.drawImage(image, 0, 0, side * sharp, side * sharp); image.src = v.picture; }
    if (v.points) drawn++;
    element.dataset.step = v.step ? v.step.join("/") : "";
    const key = (name, text) => el("span", { class: "gm-key", style: `--dot: var(--gm-${name})`, text });
    element.closest(".gm-stage")?.classList.toggle("gm-tight", width - side < 140);
    element.replaceChildren(el("div", { class: "gm-plot" }, canvas,
      el("div", { class: "gm-legend" }, props.real?.length ? key("real", "real") : null, key("generated", "generated"))));
  };

  const draw = () => {
    const v = props.value;
    if (!v) {
      shape = "";
      element.closest(".gm-stage")?.classList.add("gm-tight");
      return element.replaceChildren(el("div", { class: "gm-nothing", text: props.empty }));
    }
    if (v.kind === "image") pictures(v); else cloud(v);
  };
  const repaint = () => { if (!element.isConnected) return stop(); if (props.value?.kind === "points") draw(); else layout(); };
  const stops = [gm.takenOf[props.family]?.on(() => { if (tiles.length && props.value?.kind === "image") mark(); })];
  addEventListener("resize", repaint);
  document.addEventListener("gm:theme", repaint);
  const stop = () => { removeEventListener("resize", repaint); document.removeEventListener("gm:theme", repaint); stops.forEach((f) => f?.()); };
  draw();
  watch(["value", "real", "empty"], draw);
};
