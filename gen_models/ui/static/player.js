/* Player: frames that were computed once, scrubbed and played in the browser without a request.

   Python: live("player", {}, tab.visits, value=film or None, saves={"GIF": "<id of the download button>"}, empty="...")
   (ui/film.py builds films: film.pictures, film.cloud, film.player). A film is plain data:
     id        a text that names this run; the place in the film is remembered under it
     about     "diffusion-mnist, seed 3": begins the alternative texts
     word      "step" | "frame" | ...: the counter reads "step 12 of 20"
     total     20
     steps     [0, 1, ..]: the number of each frame, ascending; as many as there are frames
     span      [0, 20]: both ends of slider, plot and strip; default: first and last of steps
     note      "41 ms each": stands behind the counter
     at        the frame to begin with (an index); default: the last one
     fps       frames per second at speed 1x (default 8);  loop, autoplay: booleans (autoplay obeys reduced motion)
     live      true while frames are still being made: the last one is shown, nothing can be scrubbed
     marks     [1, 20, 40]: numbers that get a tick below the slider
     tracks    what stands side by side, one of:
       {title: "x_t, what the sampler holds", colour: "generated",     a semantic colour; "_t" is set as a subscript
        notes: ["t = 1", ..],        one per frame, at the right of the title (or note: one for all)
        gaps: [0, ..], empty: "no guess before the first step",      frames (indices) that this track has not
        sheet: {url, columns, size: [w, h]}     a sprite sheet of the frames (render.sheet), or
        frames: [url, ..]                       one data URL per frame, or
        points: {data, count, limit}            base64 int16, (frames, count, 2), 32767 = limit
        cells: {count, columns, size: [w, h], gap: 0}}    a frame is a grid of samples: a click chooses one for the strip
     real      {data, count, limit}: points that stand behind those of every track but the ones with real: false
       A track may also be made of others' frames: see parts in frames.js.
   plot      [{name: "α signal", colour: "real", y: [..]}, ..]: curves over the span, y in 0 .. 1, evenly spaced
   rows      2: how many rows stand in place of the strip: the pictures leave room for up to three
   upto      20: the number at which the curves end; default: the end of the span
   server.cell, where given, is told {cell: k} when a sample is chosen.
   From another component (timeline.js), which passes its own props and watch: inner: true (value is taken as it is),
     rows: {node, draw(at)} in place of the strip of thumbnails, extra: a node in the bar, moved(at), chose(cell).
   Keys: Space plays, arrows step, Home and End (page.js sends gm:key). The element gets data-at and data-step.
*/
window.gm.films = {}; // film id -> {at, cell}: survives the change of tabs
{
  const download = window.gm.download; // called when a file is ready, or refused
  window.gm.download = (id) => { document.dispatchEvent(new CustomEvent("gm:saved")); return download(id); };
}
/** A button that presses the hidden download button `id`, and says so until the file is there. */
window.gm.saveButton = (name, id) => {
  const button = window.gm.el("button", { type: "button", class: "gm-button gm-save", text: name, onclick: () => {
    if (!document.getElementById(id)) return;
    button.textContent = `${name} …`;
    button.disabled = true;
    document.addEventListener("gm:saved", () => { button.textContent = name; button.disabled = false; }, { once: true });
    document.getElementById(id).click();
  } });
  return button;
};
window.gm.player = (element, props, server, trigger, watch) => {
  const gm = window.gm, el = gm.el, THUMB = 48, HALF = THUMB / 2, GAP = 16, ROWS = [56, 56, 174, 238]; // pixels that rows get, by their number
  const SPEEDS = [[0.1, "talk 0.1×"], [0.25, "speed 0.25×"], [0.5, "speed 0.5×"], [1, "speed 1×"], [2, "speed 2×"], [4, "speed 4×"]];
  let film = null, media = [], at = 0, cell = 0, playing = false, clock = 0, loads = 0, shape = "", views = [], slots = [], parts = {};
  element.classList.add("gm-player", "gm-film");

  /* ---- numbers ---- */
  const last = () => film.steps.length - 1;
  const span = () => film.span ?? [film.steps[0], film.steps[last()]];
  const share = (step) => { const [a, b] = span(); return b > a ? (step - a) / (b - a) : 0; };
  const nearest = (step) => film.steps.reduce((best, s, k) => (Math.abs(s - step) < Math.abs(film.steps[best] - step) ? k : best), 0);
  const counter = () => `${film.word ?? "step"} ${film.steps[at]} of ${film.total}`;
  const whole = () => (film.live ? film.total + 1 : film.steps.length);
  const speed = () => gm.films.speed ?? 1;

  const has = (i, k) => Boolean(media[i].frame(k));

  /* ---- drawing a frame ---- */
  const grid = (track, [w, h], side) => {
    const cells = track.cells ?? { count: 1, columns: 1, size: [w, h], gap: 0 };
    const columns = Math.min(cells.columns, cells.count), rows = Math.ceil(cells.count / columns), gap = side > 240 ? 6 : 3;
    const wide = (side - gap * (columns - 1)) / columns, high = (side - gap * (rows - 1)) / rows;
    const width = Math.floor(Math.min(wide, (high * cells.size[0]) / cells.size[1]));
    return { ...cells, columns, space: gap, width, height: Math.floor((width * cells.size[1]) / cells.size[0]) };
  };
  const cloud = (pen, i, k, side) => {
    const track = film.tracks[i], radius = Math.max(1.5, side / 260);
    if (film.real && track.real !== false) gm.frames.dots(pen, media.real, "real", 0.4, radius, side);
    gm.frames.dots(pen, media[i].frame(k), track.colour, 0.75, radius, side);
  };
  const paint = (i) => {
    const track = film.tracks[i], view = views[i], sharp = devicePixelRatio || 1, there = has(i, at), side = view.side;
    const note = track.notes?.[at] ?? track.note ?? "", name = view.title.textContent;
    view.note.textContent = note;
    view.empty.hidden = there;
    view.canvas.setAttribute("aria-label", `${film.about ?? ""}, ${name}${note ? `, ${note}` : ""}, ${counter()}`);
    if (view.canvas.width !== side * sharp) view.canvas.width = view.canvas.height = side * sharp;
    const pen = view.canvas.getContext("2d");
    pen.clearRect(0, 0, side * sharp, side * sharp);
    if (!there) return;
    if (track.points) {
      cloud(pen, i, at, side * sharp);
      if (!film.real || track.real === false) return;
      pen.font = `${12.5 * sharp}px ${getComputedStyle(element).fontFamily}`;
      pen.fillStyle = gm.color("real");
      return pen.fillText("real data behind", 12 * sharp, (side - 12) * sharp);
    }
    pen.imageSmoothingEnabled = false;
    const frame = media[i].frame(at), g = grid(track, frame.slice(3), side);
    for (let c = 0; c < g.count; c++) {
      const x = (c % g.columns) * (g.width + g.space), y = Math.floor(c / g.columns) * (g.height + g.space);
      pen.drawImage(...gm.frames.cut(frame, track.cells, c), x * sharp, y * sharp, g.width * sharp, g.height * sharp);
    }
  };

  /* ---- the timeline ---- */
  const curves = () => {
    if (!film.plot?.length) return parts.curves?.getContext("2d").reset();
    const canvas = parts.curves, sharp = devicePixelRatio || 1, width = element.clientWidth - 32, height = 64;
    canvas.width = width * sharp; canvas.height = height * sharp;
    const pen = canvas.getContext("2d"), run = width - THUMB, end = share(film.upto ?? span()[1]) * run, y = (v) => 4 + (1 - v) * (height - 8);
    pen.scale(sharp, sharp);
    pen.font = `12.5px ${getComputedStyle(element).fontFamily}`;
    for (const curve of film.plot) {
      const n = curve.y.length - 1, left = curve.y[0] > curve.y[n];
      pen.strokeStyle = pen.fillStyle = gm.color(curve.colour);
      pen.lineWidth = 2;
      pen.beginPath();
      curve.y.forEach((v, k) => pen.lineTo(HALF + (k / n) * end, y(v)));
      pen.stroke();
      const wide = pen.measureText(curve.name).width + 8, k = Math.min(n, Math.round((wide / (end || 1)) * n));
      const low = Math.max(...(left ? curve.y.slice(0, k + 1) : curve.y.slice(n - k)).map(y));
      pen.fillText(curve.name, left ? HALF + 6 : HALF + end - wide + 2, Math.min(height - 2, low + 15));
    }
    const x = Math.round(HALF + share(film.steps[at]) * run) + 0.5;
    pen.strokeStyle = gm.color("ink");
    pen.lineWidth = 1;
    pen.setLineDash([3, 3]);
    pen.beginPath(); pen.moveTo(x, 0); pen.lineTo(x, height); pen.stroke();
  };
  const slotStep = (j) => { const [a, b] = span(); return slots.length > 1 ? a + (j * (b - a)) / (slots.length - 1) : b; };
  const thumbs = (fresh) => {
    if (props.rows) return;
    const room = Math.max(2, Math.floor((element.clientWidth - 32 + 4) / (THUMB + 4))), n = Math.min(room, whole());
    if (fresh || slots.length !== n) {
      slots = Array.from({ length: n }, (_, j) => {
        const canvas = el("canvas", { width: 1, height: 1 });
        const button = el("button", { type: "button", class: "gm-slot", tabindex: -1, onclick: () => { pause(); go(nearest(slotStep(j))); } }, canvas);
        return { button, canvas, k: -1 };
      });
      parts.thumbs.replaceChildren(...slots.map((slot) => slot.button));
    }
    const live = film.live ? Math.round(share(film.steps[at]) * (n - 1)) : -1;
    slots.forEach((slot, j) => {
      if (film.live && j !== live) return;
      slot.k = film.live ? at : nearest(slotStep(j));
      if (has(0, slot.k)) gm.frames.mini(slot.canvas, media[0].frame(slot.k), film.tracks[0], cell);
      slot.button.setAttribute("aria-label", `go to ${film.word ?? "step"} ${film.steps[slot.k]}`);
      slot.button.classList.add("gm-filled");
    });
    element.classList.toggle("gm-single", n === 1 && !film.live);
  };
  const mark = () => {
    props.rows?.draw(at);
    const here = share(film.steps[at]), to = Math.round(here * (slots.length - 1));
    slots.forEach((slot, j) => slot.button.setAttribute("aria-current", String(j === to && whole() > 1)));
    parts.count.textContent = whole() > 1 ? counter() : "";
    parts.note.textContent = parts.note.title = film.note ?? "";
    parts.range.value = film.steps[at];
    parts.range.style.setProperty("--at", `${100 * here}%`);
    parts.range.setAttribute("aria-valuetext", counter());
    const why = film.live ? "still running: press Stop to look at what there is" : last() < 1 ? "nothing to play yet: press the button on the left" : "";
    const allow = (button, reason) => { button.disabled = Boolean(reason); button.title = reason; };
    allow(parts.play, why || (playing ? "it is playing" : ""));
    allow(parts.pause, why || (playing ? "" : "it is not playing"));
    allow(parts.step, why || (at === last() && !film.loop ? `this is the last ${film.word ?? "step"}` : ""));
    allow(parts.reset, why || (at === 0 ? "this is the start" : ""));
    parts.range.disabled = Boolean(why);
    for (const save of parts.saves) allow(save, why && (film.live ? "still running" : "nothing to save yet: press the button on the left"));
    element.dataset.at = at; element.dataset.step = film.steps[at]; element.dataset.frames = film.live ? 0 : film.steps.length;
  };

  /* ---- moving ---- */
  const go = (k) => {
    at = Math.min(last(), Math.max(0, k));
    if (!film.live) gm.films[film.id] = { at, cell };
    props.moved?.(at, film);
    film.tracks.forEach((_, i) => paint(i));
    curves();
    mark();
  };
  const pause = () => { if (playing) { playing = false; mark(); } };
  const play = () => {
    if (playing || film.live || last() < 1) return;
    playing = true;
    clock = performance.now();
    if (at === last()) go(0); else mark();
    requestAnimationFrame(tick);
  };
  const tick = (now) => {
    if (!element.isConnected) playing = false;
    if (!playing) return;
    const wait = 1000 / ((film.fps ?? 8) * speed()), jump = Math.floor((now - clock) / wait);
    if (jump > 0) {
      clock += jump * wait;
      if (at + jump <= last()) go(at + jump);
      else if (film.loop) go((at + jump) % film.steps.length);
      else { playing = false; go(last()); }
    }
    requestAnimationFrame(tick);
  };
  const step = (by) => { pause(); const n = film.steps.length; go(film.loop ? (at + by + n) % n : at + by); };
  const choose = (c) => {
    cell = c;
    views.forEach((view) => view.cells.forEach((button, k) => { button.setAttribute("aria-checked", String(k === c)); button.tabIndex = k === c ? 0 : -1; }));
    if (film.live) return;
    thumbs(); go(at);
    props.chose?.(c);
    if (server?.cell) gm.ask(server.cell, { cell: c });
  };

  /* ---- building ---- */
  const head = (track) => {
    const title = el("b", { style: `color: var(--gm-${track.colour ?? "ink"})` });
    track.title.split(/_(\w)/).forEach((part, k) => title.append(k % 2 ? el("sub", { text: part }) : part));
    return title;
  };
  const viewed = (track, i) => {
    const canvas = el("canvas", { role: "img" }), title = head(track), note = el("span", { class: "gm-muted" });
    const empty = el("p", { class: "gm-void", text: track.empty ?? "" });
    const count = track.cells?.count > 1 && !track.still ? track.cells.count : 0;
    const cells = Array.from({ length: count }, (_, c) => el("button", {
      type: "button", class: "gm-cell", role: "radio", "aria-label": `sample ${c + 1}: its strip`, title: "show this one in the strip",
      onmousedown: (event) => event.preventDefault(), onclick: () => choose(c) }));
    const over = el("div", { class: "gm-cells", role: "radiogroup", "aria-label": `sample of the strip, ${title.textContent}` }, ...cells);
    over.addEventListener("keydown", (event) => {
      const by = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: track.cells?.columns, ArrowUp: -track.cells?.columns }[event.key];
      if (!by) return;
      event.preventDefault();
      choose(Math.min(count - 1, Math.max(0, cell + by)));
      cells[cell].focus();
    });
    const box = el("div", { class: `gm-view${track.points || track.frames && !track.cells ? " gm-framed" : ""}` }, canvas, count ? over : null, empty);
    return { canvas, title, note, empty, cells, over, box, node: el("figure", { class: "gm-track", "data-track": i }, el("figcaption", {}, title, note), box), side: 0 };
  };
  const build = () => {
    views = film.tracks.map(viewed);
    const button = (text, onclick) => el("button", { type: "button", class: `gm-button gm-to-${text.toLowerCase()}`, text, onclick });
    const list = el("select", { class: "gm-input gm-speed", "aria-label": "Speed", title: "Speed; talk is slow motion" }, ...SPEEDS.map(([value, text]) => el("option", { value, text })));
    list.value = speed();
    list.onchange = () => { gm.films.speed = Number(list.value); clock = performance.now(); };
    const range = el("input", { type: "range", class: "gm-range", "aria-label": film.word ?? "step", step: 1 });
    range.oninput = () => { const wanted = nearest(Number(range.value)); pause(); go(wanted); };
    parts = {
      play: button("Play", play), pause: button("Pause", pause), step: button("Step", () => step(1)), reset: button("Reset", () => { pause(); go(0); }),
      count: el("b", { class: "gm-count" }), note: el("span", { class: "gm-muted gm-film-note" }), range,
      curves: el("canvas", { class: "gm-curves", role: "img", "aria-label": (film.plot ?? []).map((curve) => curve.name).join(", ") + " over the steps" }),
      thumbs: el("div", { class: "gm-thumbs" }), ticks: el("div", { class: "gm-ticks", "aria-hidden": "true" }),
      saves: Object.entries(props.saves ?? {}).map(([name, id]) => gm.saveButton(name, id)),
    };
    element.replaceChildren(
      el("div", { class: "gm-tracks" }, ...views.map((view) => view.node)),
      el("div", { class: "gm-timeline" },
        el("div", { class: "gm-bar" }, parts.play, parts.pause, parts.step, parts.reset, el("span", { class: "gm-told" }, parts.count, parts.note),
          list, props.extra ?? null, ...parts.saves),
        film.plot ? parts.curves : null, el("div", { class: "gm-scrub" }, range, parts.ticks), props.rows?.node ?? parts.thumbs));
  };
  const layout = () => {
    const width = Math.floor(element.getBoundingClientRect().width), n = views.length, narrow = width < 620, top = element.getBoundingClientRect().top + scrollY;
    const rows = props.rows ? ROWS[Math.min(film.rows ?? 1, 3)] - props.rows.node.offsetHeight : 0;
    const high = Math.max(260, innerHeight - top - element.querySelector(".gm-timeline").offsetHeight - rows - 72);
    const wide = Math.floor((width - GAP * (n - 1)) / n), most = Math.floor(Math.min(wide, high));
    views.forEach((view, i) => {
      view.side = !narrow ? most : n === 1 || (i === 0 && n % 2) ? width : Math.floor((width - GAP) / 2);
      view.node.classList.toggle("gm-half", narrow && view.side < width);
      view.node.style.width = view.box.style.width = view.box.style.height = `${view.side}px`;
      const track = film.tracks[i];
      if (!view.cells.length) return;
      const g = grid(track, track.cells.size, view.side);
      view.over.style.cssText = `grid-template-columns: repeat(${g.columns}, ${g.width}px); grid-auto-rows: ${g.height}px; gap: ${g.space}px`;
    });
    if (props.beside) element.closest(".gm-stage")?.style.setProperty("--gm-at", narrow ? "0px" : `${most + 24}px`);
  };

  /* ---- a new film ---- */
  const load = async () => {
    const next = props.inner ? props.value : gm.plain(props.value), mine = ++loads;
    if (!next) { playing = false; film = null; shape = ""; return element.replaceChildren(el("div", { class: "gm-nothing gm-void", text: props.empty ?? "Nothing to show yet." })); }
    let opening;
    try { opening = await Promise.all(next.tracks.map(gm.frames.open)); } catch { return; }
    if (mine !== loads || !element.isConnected) return;
    const before = film, now = JSON.stringify([next.tracks.map((t) => [t.title, t.colour, t.empty, t.cells, t.still, Boolean(t.points)]), Boolean(next.plot), props.saves, Math.min(next.rows ?? 1, 3)]);
    film = next; media = opening; media.real = film.real ? { ...gm.frames.numbers(film.real), from: 0 } : null; playing = false;
    const kept = film.live ? null : gm.films[film.id], fresh = now !== shape || before?.id !== film.id;
    if (now !== shape) { shape = now; build(); layout(); }
    const cells = film.tracks[0].cells?.count ?? 1;
    cell = Math.min(kept?.cell ?? cell, cells - 1);
    at = Math.min(last(), kept?.at ?? film.at ?? last());
    [parts.range.min, parts.range.max] = span();
    const [a, b] = span();
    parts.ticks.replaceChildren(...(film.marks ?? []).map((s) => el("i", { style: `left: ${(100 * (s - a)) / (b - a || 1)}%` })));
    thumbs(fresh);
    choose(cell);
    go(at);
    if (film.autoplay && !kept && !film.live && !matchMedia("(prefers-reduced-motion: reduce)").matches) play();
  };

  const again = () => {
    if (!element.isConnected) return watchers.disconnect(), document.removeEventListener("gm:theme", again), removeEventListener("resize", again);
    if (film) { layout(); thumbs(); go(at); }
  };
  let seen = 0;
  const watchers = new ResizeObserver(() => { if (element.clientWidth !== seen) { seen = element.clientWidth; again(); } });
  watchers.observe(element);
  addEventListener("resize", again);
  document.addEventListener("gm:theme", again);
  element.addEventListener("gm:key", ({ detail }) => {
    if (!film || film.live) return;
    ({ play: () => (playing ? pause() : play()), next: () => step(1), previous: () => step(-1), first: () => { pause(); go(0); }, last: () => { pause(); go(last()); } })[detail]?.();
  });
  load();
  watch("value", load);
};
