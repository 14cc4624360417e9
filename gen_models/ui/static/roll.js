/* The piano roll: time to the right, pitch upwards, a colour for each voice; a play head that runs with the sound.

   const roll = gm.roll({id, onseek}): roll.node into the page; roll.legend too, where there is room for it.
     roll.set({notes: [[start, length, pitch, voice], ..], steps, given, by}): sixteenths and MIDI numbers (ui/pieces.py);
       by: semitones up. roll.head(step | null, playing): where the sound is. onseek(step): a place was pressed.
   gm.miniRoll(canvas, data): the same notes, small. gm.noteName(60) is "C4". */
(() => {
  const gm = window.gm, el = gm.el;
  const VOICES = ["soprano", "alto", "tenor", "bass"], BAR = 16, LOW = 36, HIGH = 84, TOP = 18, LEFT = 34, LEAST = 3.5;
  const NAMES = ["C", "D♭", "D", "E♭", "E", "F", "F♯", "G", "A♭", "A", "B♭", "B"];
  gm.noteName = (pitch) => `${NAMES[pitch % 12]}${Math.floor(pitch / 12) - 1}`;
  gm.placeName = (step) => `bar ${Math.floor(step / BAR) + 1}, beat ${Math.floor((step % BAR) / 4) + 1}${["", "¼", "½", "¾"][step % 4]}`;
  const lasts = (length) => (length % 4 === 0 ? `${length / 4} beat${length === 4 ? "" : "s"}` : `${length / 4} beats`);
  const colours = () => VOICES.map((_, k) => gm.color(`voice-${k}`));

  /** Notes with how many voices lie beneath them on the same pitch: those are drawn thinner, within the others. */
  const layered = (notes) => {
    const taken = new Map();
    return [...notes].sort((a, b) => b[3] - a[3] || a[0] - b[0]).map(([start, length, pitch, voice]) => {
      let depth = 0;
      for (let t = start; t < start + length; t++) depth = Math.max(depth, taken.get(t * 128 + pitch) ?? 0);
      for (let t = start; t < start + length; t++) taken.set(t * 128 + pitch, depth + 1);
      return { start, length, pitch, voice, depth: Math.min(depth, 3) };
    });
  };
  const bars = (pen, notes, { x, y, step, row, only = null, paint = colours() }) => {
    for (const note of notes) {
      const inset = (row * note.depth) / 8, gap = Math.min(1, step / 3);
      pen.globalAlpha = only === null || only === note.voice ? 1 : 0.16;
      pen.fillStyle = paint[note.voice];
      pen.fillRect(x(note.start), y(note.pitch) + inset, Math.max(1, note.length * step - gap), Math.max(1.5, row - 2 * inset - 0.5));
    }
    pen.globalAlpha = 1;
  };

  gm.miniRoll = (canvas, data) => {
    const sharp = devicePixelRatio || 1, width = canvas.clientWidth, height = canvas.clientHeight;
    if (!width || !data) return;
    canvas.width = width * sharp; canvas.height = height * sharp;
    const pen = canvas.getContext("2d"), low = Math.min(data.low, 40), high = Math.max(data.high, 80);
    const step = width / Math.max(1, data.steps), row = height / (high - low + 1);
    pen.scale(sharp, sharp);
    if (data.given) { pen.fillStyle = gm.color("soft"); pen.fillRect(0, 0, data.given * step, height); }
    pen.fillStyle = gm.color("line");
    for (let t = BAR; t < data.steps && BAR * step >= 8; t += BAR) pen.fillRect(Math.round(t * step), 0, 1, height);
    bars(pen, layered(gm.plain(data.notes)), { x: (t) => t * step, y: (p) => (high - p) * row, step, row });
  };

  gm.roll = ({ id, onseek = () => {} }) => {
    let data = { notes: [], steps: 16 * BAR, given: 0 }, notes = [], low = LOW, high = HIGH, step = LEAST, row = 8, at = null, only = null, sounding = "", shape = "";
    const main = el("canvas", { class: "gm-roll-main" }), over = el("canvas", { class: "gm-roll-over" });
    const names = el("canvas", { class: "gm-roll-names" }), head = el("div", { class: "gm-roll-head", hidden: true }), tip = el("div", { class: "gm-roll-tip", role: "status", hidden: true });
    const inner = el("div", { class: "gm-roll-inner" }, main, over, head), scroll = el("div", { class: "gm-roll-scroll" }, inner);
    const node = el("div", { class: "gm-roll", id, role: "slider", tabindex: 0, "aria-label": "piano roll: arrow keys move the play head", "aria-valuemin": 0, "aria-valuemax": 0, "aria-valuenow": 0 }, scroll, names, tip);

    const y = (pitch) => TOP + (high - pitch) * row, x = (t) => t * step;
    const fit = () => {
      const wide = node.clientWidth - LEFT, tall = node.clientHeight - TOP - 8;
      if (wide < 10) return false;
      step = Math.max(LEAST, wide / data.steps);
      row = tall / (high - low + 1);
      return true;
    };
    const sized = (canvas, width, height) => {
      const sharp = Math.min(devicePixelRatio || 1, 16000 / width);
      if (canvas.width !== Math.round(width * sharp) || canvas.height !== Math.round(height * sharp)) {
        canvas.width = Math.round(width * sharp); canvas.height = Math.round(height * sharp);
        canvas.style.width = `${width}px`; canvas.style.height = `${height}px`;
      }
      const pen = canvas.getContext("2d");
      pen.setTransform(canvas.width / width, 0, 0, canvas.height / height, 0, 0);
      pen.clearRect(0, 0, width, height);
      return pen;
    };
    const draw = () => {
      if (!node.isConnected || !fit()) return;
      const width = Math.round(data.steps * step), height = node.clientHeight - 8, pen = sized(main, width, height), small = `11px ${getComputedStyle(node).fontFamily}`;
      inner.style.width = `${width}px`; inner.style.height = `${height}px`;
      if (data.given) {
        pen.fillStyle = gm.color("soft"); pen.fillRect(0, TOP, x(data.given), height - TOP);
        pen.fillStyle = gm.color("muted"); pen.font = small; pen.textBaseline = "alphabetic";
        pen.fillText("given", 5, height - 6);
      }
      pen.fillStyle = gm.color("line");
      for (let p = Math.ceil(low / 12) * 12; p <= high; p += 12) pen.fillRect(0, Math.round(y(p) + row), width, 1);
      const count = data.steps / BAR, every = 2 ** Math.max(0, Math.ceil(Math.log2(26 / (BAR * step))));
      for (let bar = 0; bar <= count; bar++) pen.fillRect(Math.min(width - 1, Math.round(x(bar * BAR))), bar % every ? TOP : 4, 1, height);
      pen.fillStyle = gm.color("muted"); pen.font = small; pen.textBaseline = "middle"; pen.textAlign = "left";
      for (let bar = 0; bar < count; bar += every) pen.fillText(String(bar + 1), x(bar * BAR) + 5, TOP / 2);
      bars(pen, notes, { x, y, step, row, only });
      const left = sized(names, LEFT, height);
      left.fillStyle = gm.color("card"); left.fillRect(0, 0, LEFT, height);
      left.font = small; left.textAlign = "right"; left.textBaseline = "middle"; left.fillStyle = gm.color("muted");
      for (let p = Math.ceil(low / 12) * 12; p <= high; p += 12) left.fillText(gm.noteName(p), LEFT - 6, y(p) + row / 2);
      left.fillStyle = gm.color("line"); left.fillRect(LEFT - 1, 0, 1, height);
      sounding = "";
      place();
    };
    /** The play head, and the notes that sound under it. */
    const place = () => {
      head.hidden = at === null;
      const now = at === null ? [] : notes.filter((note) => note.start <= at && at < note.start + note.length);
      const key = now.map((note) => `${note.start} ${note.pitch} ${note.voice}`).join();
      if (at !== null) head.style.transform = `translateX(${x(at)}px)`;
      if (key === sounding) return;
      sounding = key;
      const pen = sized(over, Math.round(data.steps * step), node.clientHeight - 8);
      pen.strokeStyle = gm.color("ink"); pen.lineWidth = 1.5;
      for (const note of now) pen.strokeRect(x(note.start) + 0.5, y(note.pitch), Math.max(2, note.length * step - 1.5), Math.max(3, row - 1));
      const spoken = VOICES.map((voice, k) => now.filter((note) => note.voice === k).map((note) => `${voice} ${gm.noteName(note.pitch)}`)).flat();
      node.setAttribute("aria-valuenow", Math.floor(at ?? 0));
      node.setAttribute("aria-valuetext", `${gm.placeName(Math.floor(at ?? 0))}: ${spoken.join(", ") || "silence"}`);
    };
    const follow = () => {
      if (at === null || scroll.scrollWidth <= scroll.clientWidth) return;
      const where = x(at) - scroll.scrollLeft;
      if (where < 0 || where > scroll.clientWidth * 0.85) scroll.scrollLeft = Math.max(0, x(at) - scroll.clientWidth * 0.15);
    };

    /* ---- pointing ---- */
    const under = (event) => {
      const box = inner.getBoundingClientRect(), t = (event.clientX - box.left) / step, p = high - (event.clientY - box.top - TOP) / row + 1;
      const near = event.pointerType === "touch" ? 1.2 : 0.5;
      const hit = notes.filter((note) => note.start <= t && t < note.start + note.length && Math.abs(note.pitch + 0.5 - p) <= near);
      return { t, note: hit.sort((a, b) => Math.abs(a.pitch + 0.5 - p) - Math.abs(b.pitch + 0.5 - p) || b.depth - a.depth)[0] };
    };
    const tell = (note) => {
      tip.hidden = !note;
      if (!note) return;
      tip.textContent = `${VOICES[note.voice]} ${gm.noteName(note.pitch)} · ${gm.placeName(note.start)} · ${lasts(note.length)}`;
      const left = LEFT + x(note.start) - scroll.scrollLeft;
      tip.style.left = `${Math.max(4, Math.min(left, node.clientWidth - tip.offsetWidth - 4))}px`;
      tip.style.top = `${Math.max(2, y(note.pitch) - tip.offsetHeight - 4)}px`;
    };
    scroll.addEventListener("pointermove", (event) => tell(under(event).note));
    scroll.addEventListener("pointerleave", () => tell(null));
    scroll.addEventListener("click", (event) => { const { t, note } = under(event); if (t >= 0 && t < data.steps) { tell(note); onseek(t); } });
    node.addEventListener("keydown", (event) => {
      const here = at ?? 0, quarter = (by) => Math.max(0, Math.min(data.steps - 1, (Math.floor(here / 4 + (by < 0 && here % 4 ? 1 : 0)) + by) * 4));
      const to = { ArrowRight: quarter(1), ArrowLeft: quarter(-1), PageDown: Math.min(data.steps - 1, here + BAR), PageUp: Math.max(0, here - BAR), Home: 0, End: data.steps - 4 }[event.key];
      if (to === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault(); event.stopPropagation();
      onseek(to);
      tell(notes.findLast((note) => note.start <= to && to < note.start + note.length && (only === null || note.voice === only)));
    });
    node.addEventListener("blur", () => tell(null));

    const chips = VOICES.map((voice, k) => el("button", { type: "button", class: "gm-roll-voice", style: `--dot: var(--gm-voice-${k})`, "aria-pressed": "false", text: voice, title: "show this voice alone, or all again",
      onclick: () => { only = only === k ? null : k; chips.forEach((chip, j) => chip.setAttribute("aria-pressed", String(only === j))); draw(); } }));
    const legend = el("div", { class: "gm-roll-legend", role: "group", "aria-label": "voices" }, ...chips);
    const again = () => { if (!node.isConnected) return void (seen && stop()); seen = true; shape = ""; draw(); };
    let seen = false;
    const watcher = new ResizeObserver(() => { const now = `${node.clientWidth} ${node.clientHeight}`; if (now !== shape) { shape = now; draw(); } });
    const stop = () => { watcher.disconnect(); document.removeEventListener("gm:theme", again); };
    watcher.observe(node);
    document.addEventListener("gm:theme", again);
    return {
      node, legend,
      set: (next) => {
        data = gm.plain(next);
        const by = data.by ?? 0, moved = data.notes.map(([start, length, pitch, voice]) => [start, length, pitch + by, voice]), all = moved.map((note) => note[2]);
        notes = layered(moved);
        low = Math.min(LOW, ...all.map((p) => p - 1)); high = Math.max(HIGH, ...all.map((p) => p + 1));
        node.setAttribute("aria-valuemax", data.steps - 1);
        node.dataset.notes = notes.length; node.dataset.by = by; node.dataset.given = data.given ?? 0;
        draw();
      },
      head: (step, playing = false) => { at = step; node.dataset.at = step === null ? "" : step.toFixed(2); place(); if (playing) follow(); },
      draw,
    };
  };
})();
