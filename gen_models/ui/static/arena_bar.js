/* The Arena's toolbar, the chips that say which layers are drawn, the menu of lessons and the banner of the one that runs. */
(() => {
  const gm = window.gm, el = gm.el;
  const SPEEDS = [[1, "1×"], [0.5, "½"], [0.25, "¼"], [0.1, "1/10"]];
  const LAYERS = [["samples", "points drawn by each model"], ["density", "where a model's likelihood is high, in bands; components of a mixture as ellipses"],
    ["critic", "what a critic takes for real, and where it pulls the samples"], ["paths", "the way of some samples from noise"]];
  const button = (text, id, onclick, more = {}) => el("button", { type: "button", class: "gm-button", text, id, onclick, ...more });
  const dot = (name, text) => el("span", { class: "gm-key", style: `--dot: var(--gm-${name})`, text });

  /* ---- lessons ---- */
  const menu = (lessons, onlesson) => {
    const items = lessons.map((lesson) => el("button", { type: "button", role: "menuitem", class: "gm-arena-item", "data-lesson": lesson.key,
      onclick: () => { node.open = false; onlesson(lesson.key); } }, el("b", { text: lesson.title }), el("span", { text: lesson.words })));
    const node = el("details", { class: "gm-arena-menu", id: "arena-lessons" },
      el("summary", { class: "gm-button", title: "failures worth seeing, each with its fix" }, "Break it ▾"),
      el("div", { role: "menu", "aria-label": "Failures worth seeing" }, ...items));
    const away = (event) => {
      if (!node.isConnected) return document.removeEventListener("pointerdown", away);
      if (!node.contains(event.target)) node.open = false;
      return undefined;
    };
    node.addEventListener("keydown", (event) => {
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key], at = items.indexOf(document.activeElement);
      if (event.key === "Escape" && node.open) { node.open = false; node.firstChild.focus(); event.stopPropagation(); }
      if (step && node.open) { event.preventDefault(); items[(at + step + items.length) % items.length].focus(); }
    });
    document.addEventListener("pointerdown", away);
    return node;
  };
  /** Says what the lesson shows; its fix is the next button. */
  gm.arenaBanner = (onfix) => {
    const node = el("div", { class: "gm-arena-lesson", role: "status", hidden: true });
    let now = "";
    const show = (lesson) => {
      if (JSON.stringify(lesson ?? null) === now) return false;
      now = JSON.stringify(lesson ?? null);
      node.hidden = !lesson;
      node.dataset.lesson = lesson?.key ?? "";
      node.replaceChildren(...(lesson ? [
        el("p", {}, el("b", { text: lesson.fixed ? `${lesson.title}, fixed: ` : `${lesson.title}. ` }), lesson.fixed ? lesson.fix : lesson.words),
        button(lesson.fixed ? "Break it again" : `Fix it: ${lesson.fix}`, lesson.fixed ? "arena-break" : "arena-fix", () => onfix(lesson)),
      ] : []));
      return true;
    };
    return { node, show };
  };

  /* ---- layers ---- */
  gm.arenaLayers = (show, onchange) => {
    const chips = LAYERS.map(([key, words]) => el("button", { type: "button", class: "gm-chip gm-toggle", "aria-pressed": String(show[key]), "data-layer": key, title: words, text: key,
      onclick: (event) => { show[key] = !show[key]; event.currentTarget.setAttribute("aria-pressed", String(show[key])); onchange(); } }));
    const said = el("span"), note = el("span", { class: "gm-muted gm-arena-note" }, said, el("span", { class: "gm-arena-same", text: " · the same points and the same budget for all" }));
    const node = el("div", { class: "gm-arena-show" }, el("span", { class: "gm-muted", text: "show" }), ...chips,
      el("span", { class: "gm-arena-legend" }, dot("real", "real"), dot("generated", "generated"), dot("critic", "critic's pull")), el("span", { class: "gm-space" }), note);
    return { node, tell: (text) => { said.textContent = text; note.hidden = !text; } };
  };

  /* ---- toolbar ---- */
  /** acts: play, pause, step, reset, speed(x), lesson(key), csv, picture. */
  gm.arenaBar = (acts, lessons, speed) => {
    const buttons = Object.fromEntries(["Play", "Pause", "Step", "Reset"].map((text) => [text.toLowerCase(), button(text, `arena-${text.toLowerCase()}`, () => acts[text.toLowerCase()]())]));
    const saves = { csv: button("CSV", "arena-csv", () => acts.csv()), picture: button("Picture", "arena-picture", () => acts.picture()) };
    const list = el("select", { class: "gm-input", id: "arena-speed", "aria-label": "Speed", title: "Speed: slow motion for talks" }, ...SPEEDS.map(([value, text]) => el("option", { value, text })));
    list.value = speed;
    list.onchange = () => acts.speed(Number(list.value));
    const place = el("b", { id: "arena-status" }), phase = el("span", { class: "gm-muted" });
    const node = el("div", { class: "gm-arena-bar" }, ...Object.values(buttons), list,
      el("span", { class: "gm-arena-told" }, place, phase),
      menu(lessons, acts.lesson), saves.csv, saves.picture);
    const off = (one, why, words) => { one.disabled = Boolean(why); one.title = why || words || ""; };
    /** why: for each button the reason that it cannot be pressed, "" when it can. */
    const update = ({ why, words = {}, status, said }) => {
      for (const [name, one] of Object.entries({ ...buttons, ...saves })) off(one, why[name], words[name]);
      place.textContent = status;
      phase.textContent = said;
    };
    return { node, update };
  };
})();
