/* The rows of a timeline (timeline.js): a strip of thumbnails per track on one axis of steps, and where each one forks.

   gm.timelineRows({go(key, step), remove(key), undo(), saves: [[title, id], ..]}) -> {node, draw, mark, clear, fail} */
window.gm.timelineRows = ({ go, remove, undo, saves }) => {
  const gm = window.gm, el = gm.el, THUMB = 48, SMALL = 36;
  const lines = el("svg", { class: "gm-forks", "aria-hidden": "true" }), list = el("div", { class: "gm-ways" });
  const count = el("b"), wrong = el("p", { class: "gm-wrong", role: "alert", hidden: true });
  const back = el("button", { type: "button", class: "gm-button gm-undo", text: "Undo remove", onclick: undo });
  const files = saves.map(([title, id]) => gm.saveButton(title, id));
  files[0].title = "all tracks as one picture, the common past once"; files[1].title = "a GIF of each track, in one zip";
  const head = el("div", { class: "gm-ways-head" }, count, el("span", { class: "gm-space" }), back, ...files);
  const node = el("div", { class: "gm-rows" }, head, wrong, el("div", { class: "gm-ways-box" }, lines, list));
  let strips = [], shape = "", drawn = 0, span = [0, 1], slots = 2, shown = null;

  const share = (step) => (step - span[0]) / (span[1] - span[0] || 1);
  const place = (step) => `calc(${share(step).toFixed(5)} * (100% - ${THUMB}px) + ${THUMB / 2}px)`;
  const nearest = (steps, step) => steps.reduce((best, s, k) => (Math.abs(s - step) < Math.abs(steps[best] - step) ? k : best), 0);
  const numbers = (one) => (one.running ? [one.start, one.total] : [one.steps[0], one.steps[one.steps.length - 1]]);

  /* ---- building ---- */
  const strip = (one, single) => {
    const [first, last] = numbers(one), gap = (span[1] - span[0]) / Math.max(1, slots - 1);
    const found = [];
    for (let j = 0; j < slots; j++) {
      const wanted = span[0] + j * gap, step = one.running ? Math.min(last, Math.max(first, Math.round(wanted))) : one.steps[nearest(one.steps, wanted)];
      if (Math.abs(step - wanted) > gap / 2 + 1e-6 || found.some((slot) => slot.step === step)) continue;
      const canvas = el("canvas", { width: 1, height: 1 });
      const button = el("button", { type: "button", class: "gm-slot", tabindex: -1, style: `left: ${place(wanted)}`,
        "aria-label": `go to step ${step}${single ? "" : ` of ${one.name}`}`, onclick: () => go(one.key, step) }, canvas);
      found.push({ step, button, canvas });
    }
    const name = el("button", { type: "button", class: "gm-way-name", text: one.name, title: `show ${one.name}`, onclick: () => go(one.key, last) });
    const told = el("span", { class: "gm-muted" });
    const away = el("button", { type: "button", class: "gm-reset gm-way-remove", text: "Remove", "aria-label": `remove ${one.name}`, onclick: () => remove(one.key) });
    const bar = el("div", { class: "gm-way-strip" }, ...found.map((slot) => slot.button));
    const line = el("div", { class: "gm-way", "data-track": one.key }, single ? null : el("div", { class: "gm-way-head" }, name, told, away), bar);
    return { key: one.key, one, line, bar, name, told, slots: found };
  };
  const build = (tree) => {
    const single = tree.tracks.length === 1;
    strips = tree.tracks.map((one) => strip(one, single));
    node.classList.toggle("gm-way-alone", single);
    list.replaceChildren(...strips.map((one) => one.line));
  };
  const forks = () => {
    if (!node.isConnected) return;
    const box = list.getBoundingClientRect(), run = box.width - THUMB, x = (step) => THUMB / 2 + share(step) * run, parts = [];
    lines.setAttribute("width", box.width); lines.setAttribute("height", box.height);
    for (const { one, bar } of strips) {
      const from = strips.find((other) => other.key === one.parent);
      if (!from) continue;
      const before = from.one.steps.filter((step) => step <= one.start), since = one.back ? before.filter((step) => step < one.start).pop() : before.pop();
      const top = from.bar.getBoundingClientRect().bottom - box.top, down = bar.getBoundingClientRect().top - box.top + SMALL / 2;
      parts.push(el("path", { d: `M${x(since ?? one.start)} ${top}V${down}H${x(one.start)}`, class: "gm-fork" }));
    }
    lines.replaceChildren(...parts);
  };

  /* ---- drawing ---- */
  const draw = (tree, films, cell, live, chosen, at) => {
    span = tree.span; shown = tree;
    slots = Math.max(2, Math.min(Math.floor((node.clientWidth + 4) / ((tree.tracks.length > 1 ? SMALL : THUMB) + 4)), span[1] - span[0] + 1));
    const now = JSON.stringify([tree.id, span, slots, tree.tracks.map((one) => [one.edition, one.parent, one.name, one.running ? one.total : one.steps])]);
    if (now !== shape) { shape = now; build(tree); }
    head.hidden = tree.tracks.length < 2 && !tree.undo;
    count.textContent = tree.tracks.length > 1 ? `${tree.tracks.length} tracks` : "";
    back.hidden = !tree.undo;
    for (const file of files) file.hidden = tree.tracks.length < 2;
    const mine = ++drawn;
    for (const row of strips) {
      row.one = tree.tracks.find((one) => one.key === row.key);
      const { running, calls, t } = row.one, film = running && live?.track === row.key ? live : films.get(row.one.edition);
      row.told.textContent = `${running ? "running, " : ""}${calls} network calls · t = ${gm.digits(t[0])} to ${gm.digits(t[t.length - 1])}`;
      if (film) gm.frames.open(film.tracks[0]).then((media) => {
        if (mine !== drawn) return;
        const only = film.live ? nearest(row.slots.map((slot) => slot.step), film.steps[0]) : -1;
        row.slots.forEach((slot, j) => {
          if (film.live && j !== only) return;
          const frame = media.frame(film.live ? 0 : nearest(film.steps, slot.step));
          if (!frame) return;
          gm.frames.mini(slot.canvas, frame, film.tracks[0], cell);
          slot.button.classList.add("gm-filled");
        });
      }).catch(() => {});
    }
    mark(chosen, at);
    forks();
  };
  const mark = (chosen, at) => {
    if (!strips.length) return;
    let owner = strips.find((row) => row.key === chosen);
    while (owner && at < owner.one.start && strips.some((row) => row.key === owner.one.parent)) owner = strips.find((row) => row.key === owner.one.parent);
    for (const row of strips) {
      const to = row === owner && span[1] > span[0] ? nearest(row.slots.map((slot) => slot.step), at) : -1;
      row.slots.forEach((slot, j) => slot.button.setAttribute("aria-current", String(j === to)));
      row.name.setAttribute("aria-pressed", String(row.key === chosen));
      row.line.classList.toggle("gm-way-chosen", row.key === chosen);
    }
  };
  const clear = () => { strips = []; shape = ""; shown = null; drawn++; list.replaceChildren(); lines.replaceChildren(); head.hidden = true; fail(""); };
  const fail = (message) => { wrong.textContent = message; wrong.hidden = !message; };
  clear();
  return { node, draw, mark, clear, fail };
};
