/* The Arena's stage: models in training side by side, steered while they train, then a film of the training to scrub.

   value (from Python): the run's update; every one is a frame of the film. What was seen lives in gm.arenaMemory while
   the page is open, so that leaving the tab loses nothing. */
window.gm.arenaMemory = {
  run: null, film: null, frozen: null, hidden: null, over: null, speed: 1, sort: null, real: null, title: "",
  show: { samples: true, density: true, critic: true, paths: true },
};
(() => {
  const gm = window.gm, el = gm.el, memory = gm.arenaMemory, LIMIT = 4.5, BEAT = 120;
  const WORDS = { training: "training", paused: "paused", measuring: "measuring", done: "done", stopped: "stopped", failed: "ended early" };

  const amount = (x, unit, total) => (unit === "s" ? x.toFixed(total < 100 ? 1 : 0) : Math.round(x).toLocaleString("en"));
  /** "6.4 s of 10 s", "step 120 of 500". */
  const placed = (frame) => (frame.unit === "s" ? `${amount(frame.at, "s", frame.total)} s of ${gm.digits(frame.total)} s`
    : `step ${amount(frame.at, frame.unit)} of ${amount(frame.total, frame.unit)}`);
  /** Semantic colours, each asked for once. */
  const palette = () => { const known = {}; return (name) => (known[name] ??= gm.color(name)); };
  const save = (blob, name) => {
    const url = URL.createObjectURL(blob);
    el("a", { href: url, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10000);
  };
  const steer = async (server, asked) => {
    let answer = await gm.ask(server.control, asked);
    for (let tries = 0; answer.busy && tries < 20; tries++) {
      await new Promise((done) => setTimeout(done, 60));
      answer = await gm.ask(server.control, asked);
    }
    if (answer.error) gm.tell?.(answer.error);
  };
  const timeBar = (onslide) => {
    const range = el("input", { type: "range", class: "gm-range", id: "arena-time", min: 0, max: 0, step: 1, "aria-label": "training time" });
    const floor = el("span", { class: "gm-muted gm-arena-floor" });
    range.oninput = () => onslide(Number(range.value));
    const show = (k, count, text) => {
      range.max = Math.max(0, count - 1);
      range.value = k;
      range.disabled = count < 2;
      range.title = count < 2 ? "frames gather here while models train" : "";
      range.style.setProperty("--at", `${count > 1 ? (100 * k) / (count - 1) : 0}%`);
      range.setAttribute("aria-valuetext", text);
    };
    return { node: el("div", { class: "gm-arena-time" }, el("label", { for: "arena-time", text: "training time" }), range, floor), show, floor };
  };

  gm.arena = (element, props, server, trigger, watch) => {
    const id = props.form, grid = gm.arenaGrid(), result = el("div");
    let timer = null, tabled = "";

    /* ---- where it stands ---- */
    const value = () => (props.value && props.value.run !== memory.hidden ? props.value : null);
    const busy = () => Boolean(gm.running[id]);
    const phase = () => { const v = value(); return v?.phase === "training" && v.at >= v.total ? "measuring" : v?.phase; };
    const told = () => busy() && value() && value().run !== memory.over;
    const live = () => told() && ["training", "paused"].includes(phase());
    const frames = () => memory.film?.frames ?? [];
    const here = () => (memory.frozen && frames().length ? memory.film.place(memory.frozen) : frames().length - 1);
    const frame = () => frames()[here()] ?? null;
    const table = () => (frames().length ? value()?.table ?? null : null);

    /* ---- the film, once the run is over ---- */
    const pause = () => { clearInterval(timer); timer = null; };
    const go = (k) => { const all = frames(), to = Math.max(0, Math.min(all.length - 1, k)); memory.frozen = to === all.length - 1 ? null : all[to]; draw(); };
    const play = () => {
      if (timer || frames().length < 2) return;
      if (here() === frames().length - 1) memory.frozen = frames()[0];
      timer = setInterval(() => {
        if (!element.isConnected || here() >= frames().length - 1) { pause(); return draw(); }
        return go(here() + 1);
      }, BEAT / memory.speed);
      draw();
    };
    const control = (act, more = {}) => { memory.frozen = null; pause(); draw(); return steer(server, { act, run: value().run, ...more }); };

    /* ---- what the buttons do ---- */
    const begin = async (values) => {
      if (busy()) { document.getElementById(`${id}-stop`)?.click(); await gm.until(() => !busy(), 15000); }
      gm.forms[id].fill(values);
      gm.forms[id].run();
    };
    const acts = {
      play: () => (live() ? control("play") : play()),
      pause: () => { if (live()) return control("pause"); pause(); return draw(); },
      step: () => { if (live()) return control("step"); pause(); return go(here() + 1); },
      reset: () => {
        pause();
        if (busy()) return document.getElementById(`${id}-stop`)?.click();
        Object.assign(memory, { hidden: props.value?.run ?? null, film: null, frozen: null });
        return draw();
      },
      speed: (speed) => { memory.speed = speed; if (live()) steer(server, { act: "speed", speed, run: value().run }); if (timer) { pause(); play(); } },
      lesson: (key) => begin({ lesson: key }),
      csv: () => save(new Blob([gm.arenaCsv(gm.plain(table()), memory.sort)], { type: "text/csv" }), `gen_models-arena-${value().data.key}.csv`),
      picture: async () => save(await gm.arenaPicture({ frame: frame(), real: memory.film.real, value: gm.plain(value()), last: !memory.frozen, show: memory.show, placed: placed(frame()) }), `gen_models-arena-${value().data.key}.png`),
    };
    const bar = gm.arenaBar(acts, gm.plain(props.lessons), memory.speed);
    const layers = gm.arenaLayers(memory.show, () => draw());
    const banner = gm.arenaBanner((lesson) => begin({ lesson: lesson.fixed ? lesson.key : `${lesson.key}:fixed` }));
    const time = timeBar((k) => { pause(); go(k); });

    /* ---- drawing ---- */
    const chosen = () => {
      const picked = Object.values(gm.forms[id]?.value() ?? {}).find(Array.isArray);
      return gm.plain(props.contenders).filter((one) => !picked || picked.includes(one.key));
    };
    const reasons = () => {
      const none = live() ? "" : busy() ? (told() ? "the figures are being measured" : "the first picture is on its way") : frames().length < 2 ? "press Train all first" : "";
      const last = here() >= frames().length - 1, unsaved = table() ? "" : "there is a table once the models are trained and measured", saves = { csv: unsaved, picture: unsaved };
      if (live()) return { play: phase() === "training" && !memory.frozen ? "it is training" : "", pause: phase() === "paused" ? "it is paused" : "", step: "", reset: "", ...saves };
      return { play: none || (timer ? "it is playing" : ""), pause: none || (timer ? "" : "it is not playing"), step: none || (last ? "this is the last frame" : ""),
        reset: busy() || frames().length ? "" : "there is nothing to clear", ...saves };
    };
    const toolbar = (now) => {
      const starting = busy() && !told(), state = memory.frozen ? (timer ? "the film plays" : "an earlier frame") : WORDS[phase()] ?? "";
      bar.update({
        why: reasons(), status: starting ? "starting …" : now ? placed(now) : "not trained yet", said: now && !starting ? state : "",
        words: { step: live() ? "one slice of training for each" : "the next frame", reset: busy() ? "stops the training" : "clears what is shown", play: live() ? "go on" : "plays the training again" },
      });
      layers.tell(now ? `${value().data.title} · seed ${value().seed}` : "");
    };
    const results = () => {
      const found = gm.plain(table()), now = JSON.stringify([found, memory.sort]);
      if (now === tabled) return;
      tabled = now;
      const sorted = (key) => {
        memory.sort = gm.arenaTurned(found, memory.sort, key);
        results();
        result.querySelector(`th[data-key="${key}"] button`)?.focus();
      };
      result.replaceChildren(...(found ? [gm.arenaTable(found, memory.sort, sorted)] : []));
    };
    const layout = () => {
      const top = grid.node.getBoundingClientRect().top + scrollY;
      grid.layout(Math.max(400, innerHeight - top - time.node.offsetHeight - 24));
    };
    const draw = () => {
      const now = frame(), v = value(), all = frames();
      const context = { real: now ? memory.film.real : memory.real, show: memory.show, limit: v?.limit ?? LIMIT, color: palette() };
      const moved = banner.show(now ? gm.plain(v.lesson) : null);
      const fresh = grid.show(now ? now.cells : chosen(), context, busy() ? "starting …" : "press Train all");
      if (fresh || moved) layout();
      toolbar(now);
      time.show(Math.max(0, here()), all.length, now ? placed(now) : "");
      const { floor } = v?.data ?? {}, count = v?.table?.n;
      time.floor.textContent = now ? [typeof floor === "number" ? `entropy floor ${floor.toFixed(3)} nats` : "entropy floor not known", count ? `n = ${count.toLocaleString("en")}` : ""].filter(Boolean).join(" · ") : "";
      results();
      Object.assign(element.dataset, { phase: (now && phase()) || "", tick: now ? v.tick : "", frames: all.length, at: now?.at ?? "", shown: now?.tick ?? "" });
    };

    /* ---- news ---- */
    const news = () => {
      const v = gm.plain(props.value);
      if (!v || v.run === memory.hidden) return draw();
      if (v.run !== memory.run) {
        pause();
        Object.assign(memory, { run: v.run, film: gm.arenaFilm(), frozen: null });
        if (memory.speed !== v.speed && v.run === gm.running[id]) steer(server, { act: "speed", speed: memory.speed, run: v.run });
      }
      const { real, ...rest } = gm.arenaOpened(v);
      memory.film.real = real ?? memory.film.real;
      if (v.cells.length) memory.film.add({ at: rest.at, total: rest.total, unit: rest.unit, tick: rest.tick, cells: rest.cells });
      return draw();
    };
    /** When the form starts a run or ends one: its button is replaced. */
    const follow = async () => {
      const form = await gm.until(() => gm.forms[id]?.element.isConnected && gm.forms[id]);
      if (!form || !element.isConnected) return;
      let was = busy();
      const settle = () => {
        if (!element.isConnected) return watcher.disconnect();
        if (was && !busy()) { memory.over = props.value?.run ?? null; if (form.value().lesson) form.fill({ lesson: "" }); }
        was = busy();
        return draw();
      };
      const watcher = new MutationObserver(settle);
      watcher.observe(form.element, { childList: true });
      const off = form.on((now, name) => { if (!element.isConnected) off(); else if (!frames().length || name === null) draw(); });
      if (!busy()) memory.over = props.value?.run ?? null;
      draw();
    };

    /* ---- the parts ---- */
    element.classList.add("gm-arena", "gm-player");
    element.replaceChildren(bar.node, layers.node, banner.node, grid.node, time.node, result);
    element.addEventListener("gm:key", ({ detail }) => {
      const running = { play: () => (phase() === "paused" || memory.frozen ? acts.play() : acts.pause()) };
      const film = { play: () => (timer ? acts.pause() : play()), next: () => { pause(); go(here() + 1); }, previous: () => { pause(); go(here() - 1); }, first: () => { pause(); go(0); }, last: () => { pause(); go(1e9); } };
      ((live() && running[detail]) || film[detail])?.();
    });
    const again = () => {
      if (!element.isConnected) { removeEventListener("resize", again); for (const name of ["gm:theme", "gm:arena-data"]) document.removeEventListener(name, again); sizes.disconnect(); return; }
      layout();
      draw();
    };
    let wide = 0;
    const sizes = new ResizeObserver(() => { if (element.clientWidth !== wide) { wide = element.clientWidth; again(); } });
    sizes.observe(element);
    addEventListener("resize", again);
    for (const name of ["gm:theme", "gm:arena-data"]) document.addEventListener(name, again);
    follow();
    news();
    watch("value", news);
  };
})();
