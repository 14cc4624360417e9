/* Timeline: a run and its branches. The chosen track is shown in a player, all of them as rows below its slider.

   Python: panels/steps.py. The value is a film (player.js) of one track's own moments, with `track` (its key) and
     tree: {id, version, chosen, cell, why, undo, most, span: [0, steps],
            tracks: [{key, edition, name, parent, start, total, steps, t, kept, calls, note, running, settings, plot}, ..]}
   Films of other tracks are fetched once (server.track) and kept here while the page is open. The path of a track is
   its own moments after those of its parent that lie before its start. */
window.gm.timelines = {}; // form -> {tree, films, chosen, at, cell, listeners, here()}: survives the change of tabs
window.gm.timeline = (element, props, server, trigger, watch) => {
  const gm = window.gm, el = gm.el;
  const own = (gm.timelines[props.form] ??= { tree: null, films: new Map(), chosen: null, at: 0, cell: 0, listeners: new Set() });
  let reload = () => {}, live = null, looked = false, following = 0, strips = null;
  const { Tree, GIFs, ...saves } = props.saves;
  const inner = el("div");
  const rows = gm.timelineRows({
    go: (key, step) => { looked = Boolean(live); choose(key, step); },
    remove: (key) => change(server.remove, { track: key }),
    undo: () => change(server.undo, {}),
    saves: [["Tree", Tree], ["GIFs", GIFs]],
  });
  const branch = el("button", { type: "button", class: "gm-button gm-branch-here", text: "Branch here", onclick: () => gm.branchings[props.form]?.open() });
  const inside = {
    inner: true, value: null, empty: props.empty, saves, extra: branch,
    rows: { node: rows.node, draw: () => rows.mark(own.chosen, own.at) },
    moved: (at, film) => { own.at = film.steps[at]; tell(); },
    chose: (cell) => { const other = own.cell !== cell; own.cell = cell; if (own.tree) { paint(); if (other) ask(server.choose, { cell }); tell(); } },
  };

  /* ---- what stands where ---- */
  const track = (key) => own.tree?.tracks.find((one) => one.key === key);
  const chain = (key) => {
    const found = [];
    for (let one = track(key), until = Infinity; one; until = one.start, one = track(one.parent)) {
      found.unshift({ one, film: own.films.get(one.edition), count: one.steps.filter((step) => step < until).length });
    }
    return found;
  };
  const composed = (key) => {
    const parts = chain(key), one = track(key), last = parts[parts.length - 1].film;
    const tracks = last.tracks.map((base, i) => {
      let from = 0;
      const of = parts.map(({ film, count }) => { const part = { track: film.tracks[i], from, count, first: 0 }; from += count; return part; });
      const { sheet, points, frames, gaps, notes, ...rest } = base;
      const cloud = of.some((part) => part.track.points);
      return { ...rest, cells: last.tracks[0].cells, points: cloud || undefined, parts: of, notes: parts.flatMap(({ film, count }) => film.tracks[i].notes.slice(0, count)) };
    });
    return {
      ...last, tracks, id: `${own.tree.id} ${key}`, live: false, total: one.total, span: own.tree.span, rows: own.tree.tracks.length, note: one.note,
      about: one.parent === null ? last.about : `${last.about}, ${one.name}`, upto: one.plot.upto, plot: one.plot.curves,
      steps: parts.flatMap(({ one, count }) => one.steps.slice(0, count)),
    };
  };
  /** Where the player stands: the track, the step, its time, and why nothing can branch from there ("" where it can). */
  own.here = () => {
    const one = track(own.chosen);
    if (!one) return { why: "nothing to branch from yet: press Denoise" };
    for (const { one: part, count } of chain(own.chosen)) {
      const k = part.steps.slice(0, count).indexOf(own.at);
      if (k >= 0) return { track: one, step: own.at, t: part.t[k], cell: own.cell,
        why: own.tree.why || (live ? "still running: press Stop, or wait" : own.tree.tracks.length >= own.tree.most ? `${own.tree.most} tracks are the most: remove one` : part.kept[k] ? "" : "this step is kept as a picture only") };
    }
    return { track: one, why: "still running: press Stop, or wait" };
  };
  const tell = () => {
    const { why } = own.here();
    branch.disabled = Boolean(why); branch.title = why;
    for (const listener of own.listeners) listener();
  };

  /* ---- showing ---- */
  const fetched = async (one) => {
    if (own.films.has(one.edition) || one.running) return;
    const answer = await ask(server.track, { track: one.key });
    if (answer) own.films.set(one.edition, gm.plain(answer));
  };
  const ask = async (serve, asked) => {
    let answer;
    do {
      answer = await gm.ask(serve, asked);
      if (answer.busy) await new Promise((done) => setTimeout(done, 80));
    } while (answer.busy && element.isConnected);
    rows.fail(answer.error ?? "");
    return answer.value;
  };
  const paint = () => { if (own.tree) rows.draw(own.tree, own.films, own.cell, live, own.chosen, own.at); };
  const settle = async () => {
    const mine = ++following;
    await Promise.all(own.tree.tracks.map(fetched));
    if (mine !== following || !element.isConnected) return;
    if (!track(own.chosen)) own.chosen = own.tree.chosen;
    if (chain(own.chosen).some((part) => !part.film && part.count)) return paint();
    if (!live || looked) { inside.value = composed(own.chosen); reload(); }
    paint();
    tell();
  };
  const choose = (key, step) => {
    const one = track(key);
    if (!one || one.running) return;
    own.chosen = key;
    const steps = chain(key).flatMap((part) => part.one.steps.slice(0, part.count));
    const at = steps.reduce((best, s, k) => (Math.abs(s - step) < Math.abs(steps[best] - step) ? k : best), 0);
    gm.films[`${own.tree.id} ${key}`] = { at, cell: own.cell };
    settle();
    ask(server.choose, { track: key });
  };
  const change = async (serve, asked) => {
    const told = gm.plain(await ask(serve, asked));
    if (!told) return;
    const was = own.chosen;
    own.tree = told;
    if (serve === server.undo || !track(was)) own.chosen = told.chosen;
    if (live && !track(live.track)) live = null;
    settle();
  };

  /* ---- a new value ---- */
  const load = () => {
    const value = gm.plain(props.value);
    if (!value?.tree) {
      live = null; own.tree = null; own.chosen = null;
      following++; rows.clear();
      inside.value = value; reload();
      return tell();
    }
    value.rows = value.tree.tracks.length;
    if (own.tree?.id !== value.tree.id) own.films = new Map();
    const older = own.tree?.id === value.tree.id && own.tree.version > value.tree.version;
    if (value.live) {
      if (older && !own.tree.tracks.some((one) => one.key === value.track)) return; // removed meanwhile
      if (!live) looked = false;
      live = value; own.tree = value.tree;
      if (!looked) { own.chosen = value.track; inside.value = value; reload(); }
      paint();
      return tell();
    }
    const mine = value.tree.tracks.find((one) => one.key === value.track);
    own.films.set(mine.edition, value);
    live = null;
    if (!older) { own.tree = value.tree; own.chosen = value.tree.chosen; own.cell = value.tree.cell; }
    settle();
  };

  element.replaceChildren(inner);
  gm.player(inner, inside, null, trigger, (_, loaded) => { reload = loaded; });
  const again = () => {
    if (!element.isConnected) return watcher.disconnect(), document.removeEventListener("gm:theme", again);
    paint();
  };
  const watcher = new ResizeObserver(again);
  watcher.observe(element);
  document.addEventListener("gm:theme", again);
  load();
  watch("value", load);
};
