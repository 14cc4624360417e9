/* The Compare tab seed by seed: a row for each seed, a column for each entry, beside the noise that they begin with. */
(() => {
  const gm = window.gm, el = gm.el, SEEDS = 16;
  const cut = (canvas, image, [w, h], columns, gap, k) => {
    canvas.width = w; canvas.height = h;
    canvas.getContext("2d").drawImage(image, (k % columns) * (w + gap), Math.floor(k / columns) * (h + gap), w, h, 0, 0, w, h);
    canvas.dataset.drawn = "true";
  };
  const filled = (cells, url, size, columns, gap) => {
    const image = new Image();
    image.onload = () => cells.forEach((cell, k) => cut(cell, image, size, columns, gap, k));
    image.src = url;
  };
  /** Columns in groups: [{names, noise}], those who begin with the very same numbers side by side. */
  const grouped = (entries, groups, drawn) => {
    const known = new Set(entries.map((entry) => entry.entry));
    const found = (groups ?? []).map((names) => names.filter((name) => known.has(name))).filter((names) => names.length);
    const placed = new Set(found.flat());
    const rest = entries.map((entry) => entry.entry).filter((name) => !placed.has(name)).map((name) => [name]);
    return [...found, ...rest].map((names) => ({ names, noise: drawn[names[0]]?.noise ?? null, told: names[0] in drawn }));
  };
  const words = ({ names, noise, told }) => {
    if (!told) return "";
    if (!noise) return "begins without noise";
    return names.length > 1 ? `the very same ${noise.count} numbers` : `${noise.count} numbers of its own`;
  };
  /** shown: what the server told of the data set; drawn: entry -> samples; groups: of names; seed: of the last draw. */
  gm.seedRows = (shown, drawn, groups, seed, select) => {
    const entries = Object.fromEntries(shown.entries.map((entry) => [entry.entry, entry]));
    const parts = grouped(shown.entries, groups, drawn), first = seed ?? 0;
    const labels = shown.entries.find((entry) => entry.labels.length)?.labels ?? [];
    const tops = [el("td", { class: "gm-rows-seed" })], heads = [el("th", { class: "gm-rows-seed", scope: "col", text: "seed" })], columns = [];
    const column = (name, kind, make) => columns.push({ name, kind, make, cells: [] });
    for (const part of parts) {
      const wide = part.names.length + (part.noise ? 1 : 0);
      tops.push(el("th", { class: `gm-rows-group${part.names.length > 1 ? " gm-rows-shared" : ""}`, scope: "colgroup", colspan: wide, text: words(part) }));
      if (part.noise) {
        heads.push(el("th", { class: "gm-rows-noise", scope: "col", text: "noise" }));
        column(`noise of ${part.names.join(", ")}`, "noise", (cells) => filled(cells, part.noise.picture, part.noise.size, part.noise.columns, 0));
      }
      for (const name of part.names) {
        const entry = entries[name], made = drawn[name];
        heads.push(el("th", { scope: "col" }, el("button", { type: "button", class: "gm-link", text: name, title: "mark it in the plots and the table", onclick: () => select(name) })));
        column(name, "sample", (cells) => {
          if (made?.picture) filled(cells, made.picture, entry.size, made.columns, 0);
          else if (!made && entry.picture && seed === null) filled(cells, entry.picture, entry.size, 4, 2);
        });
      }
    }
    const rows = Array.from({ length: SEEDS }, (_, k) => {
      const named = labels.length ? ` · ${labels[k % labels.length]}` : "";
      const cells = columns.map((one) => {
        const canvas = el("canvas", { width: 1, height: 1, role: "img", "aria-label": `${one.name}, seed ${first + k}` });
        one.cells.push(canvas);
        return el("td", { class: `gm-rows-${one.kind}`, "data-entry": one.name }, canvas);
      });
      return el("tr", { "data-seed": first + k }, el("th", { class: "gm-rows-seed", scope: "row", text: `${first + k}` }, el("small", { class: "gm-muted", text: named })), ...cells);
    });
    for (const one of columns) one.make(one.cells);
    const table = el("table", { class: "gm-rows" }, el("thead", {}, el("tr", {}, ...tops), el("tr", {}, ...heads)), el("tbody", {}, ...rows));
    const hint = seed === null ? "Seeds 0 to 15 as they were saved. Press Draw to see the noise that each begins with." : "";
    return el("div", { class: "gm-rows-box", tabindex: 0, role: "region", "aria-label": "one row for each seed" }, table, hint ? el("p", { class: "gm-muted", text: hint }) : null);
  };
})();
