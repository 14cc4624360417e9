/* The left column of a panel with a timeline: a new run, or a branch of the one that is there, with something to paint.

   Python: panels/steps.py. props: run and form (the two forms), entry, why (it cannot branch), unpainted (why there is
   nothing to paint), colour. The place to branch from is the timeline's; it goes into the form when that is run. */
window.gm.branchings = {}; // the run's form -> {open()}
window.gm.branch = (element, props, server, trigger, watch) => {
  const gm = window.gm, el = gm.el, ONTO = [["nothing", "nothing", ""], ["x_t", "x", "t"], ["x0", "x̂", "0"]];
  let onto = "nothing", filled = "", asked = "";
  const side = () => element.closest(".gm-side");
  const timeline = () => gm.timelines[props.run];
  const mode = (text, name) => el("button", { type: "button", class: "gm-button", text, id: `${props.form}-mode-${name}`, onclick: () => show(name) });
  const modes = [mode("New run", "run"), mode("Branch", "branch")];
  const where = el("p", { class: "gm-hint gm-branch-place" }), wrong = el("p", { class: "gm-wrong", role: "alert", hidden: true });
  const brush = gm.brush({ name: `${props.form}-brush`, colour: props.colour });
  const pills = ONTO.map(([value, text, sub]) => el("button", { type: "button", class: "gm-button", id: `${props.form}-onto-${value}`, title: value === "x0" ? "what changes on the clean guess moves x by α times as much" : null, onclick: () => { onto = value; draw(); } }, text, sub ? el("sub", { text: sub }) : ""));
  const told = el("p", { class: "gm-info" });
  const painting = el("div", { class: "gm-field" }, el("div", { class: "gm-head" }, el("label", { text: "Paint on" })), el("div", { class: "gm-onto", role: "group", "aria-label": "paint on" }, ...pills), brush.node, told, wrong);
  const never = el("p", { class: "gm-info", hidden: true });
  const body = el("div", { class: "gm-switch" }, where, painting);
  element.classList.add("gm-switch");
  element.replaceChildren(el("div", { class: "gm-modes", role: "group", "aria-label": "what to run" }, ...modes), never, body);

  const fail = (message) => { wrong.textContent = message; wrong.hidden = !message; };
  const pump = gm.pump(server.look, (value) => { fail(""); brush.set(gm.plain(value)); }, fail, 1);
  const here = () => timeline()?.here() ?? { why: "nothing to branch from yet: press Denoise" };
  const show = (name) => {
    if (!side()) return;
    side().dataset.mode = name;
    modes.forEach((button, k) => button.setAttribute("aria-pressed", String((k === 1) === (name === "branch"))));
    body.hidden = name !== "branch";
    draw();
  };
  const draw = () => {
    const { track, step, t, cell, why } = here(), branching = side()?.dataset.mode === "branch";
    const reason = props.why || (track ? "" : "nothing to branch from yet: press Denoise");
    modes[1].disabled = Boolean(reason); modes[1].title = reason;
    never.textContent = props.why; never.hidden = !props.why;
    if (reason && branching) return show("run");
    gm.forms[props.form]?.block(props.why || why || "");
    if (!track) return;
    where.textContent = step === undefined ? `${track.name} is running` : `Step ${step}, t = ${gm.digits(t)}, of “${track.name}”: change something, then branch.`;
    if (!branching) return;
    refill(track);
    const points = Boolean(props.unpainted);
    if (points) onto = "nothing";
    pills.forEach((pill, k) => { pill.setAttribute("aria-pressed", String(onto === ONTO[k][0])); pill.disabled = points && k > 0; if (points && k) pill.title = props.unpainted; });
    brush.node.hidden = onto === "nothing";
    told.textContent = points ? props.unpainted : onto === "nothing" ? "" : `Sample ${cell + 1}; click another one to change it.`;
    told.hidden = !told.textContent;
    if (onto === "nothing") return fail("");
    const now = JSON.stringify([timeline().tree.id, track.key, step, onto, cell]);
    if (now === asked || why) return;
    asked = now;
    pump.put({ track: track.key, step, onto, sample: cell });
  };
  /** The track's own settings stand in the form when another track is chosen, and nothing is painted any more. */
  const refill = (track) => {
    const form = gm.forms[props.form], now = `${timeline().tree.id} ${track.key}`;
    if (now === filled || track.running || !form?.ready || form.entry() !== props.entry) return;
    filled = now;
    const { steps, ...settings } = track.settings[track.settings.length - 1][1];
    form.fill({ ...settings, back: 0, left: 0, onto: "nothing", paint: "" });
    onto = "nothing"; brush.clear();
  };
  /** What the form does not show, put in before it runs. */
  const place = (event) => {
    if (!event.target.closest?.(`#${props.form}-run`)) return;
    const { track, step, cell } = here();
    if (track) gm.forms[props.form].fill({ track: track.key, step, sample: cell, onto, paint: onto === "nothing" ? "" : brush.value() });
  };
  const attach = () => {
    if (!element.isConnected) return setTimeout(attach, 50);
    const column = side();
    if (column.gmPlace) column.removeEventListener("click", column.gmPlace, true);
    column.gmPlace = place;
    column.addEventListener("click", place, true);
    show(column.dataset.mode ?? "run");
    const listen = () => {
      if (!element.isConnected) return;
      if (!timeline()) return setTimeout(listen, 50);
      const heard = () => { if (element.isConnected) draw(); else timeline().listeners.delete(heard); };
      timeline().listeners.add(heard);
      draw();
    };
    listen();
  };
  gm.branchings[props.run] = { open: () => { show("branch"); if (innerWidth < 760) side().scrollIntoView({ behavior: "smooth", block: "start" }); } };
  attach();
  watch(["entry", "why", "unpainted", "colour"], () => { onto = "nothing"; asked = ""; filled = ""; brush.colours(props.colour); brush.clear(); draw(); });
};
