/* The Hub tab's desk: look at a model, fetch it with progress and Cancel; a list, a token, and pushing in folds.

   props: known (the list), local (folders of this machine may be given), value (Python's report of the download: run,
   address, phase "fetching" | "opening" | "stopped" | "failed" | "done", words, done, total, file, name, family, title).
   What was typed and found outlives a change of tab in gm.desk; the token is nowhere else. */
window.gm.desk = { address: "", token: "", found: null, wrong: "", looks: 0, looking: "", run: null, fold: "known", push: {}, url: null };
window.gm.hub = (element, props, server, trigger, watch) => {
  const gm = window.gm, el = gm.el, desk = gm.desk;
  const FOLDS = { known: "Models to try", token: "With a token", push: "Push" };
  const pause = (ms) => new Promise((done) => setTimeout(done, ms));
  /** Asks until there is an answer; null when `current()` no longer is. */
  const patiently = async (serve, asked, current = () => true) => {
    for (;;) {
      const answer = await gm.ask(serve, asked);
      if (!current()) return null;
      if (!answer.busy && !answer.value?.waiting) return answer;
      await pause(150);
    }
  };
  /** Words whose addresses on the Hub can be clicked. */
  const linked = (words) => words.split(/(https:\/\/huggingface\.co\/[\w./-]*\w)/).map((part, k) => (k % 2
    ? el("a", { href: part, target: "_blank", rel: "noopener noreferrer", text: part }) : part));
  const wrong = (words, id) => el("p", { class: "gm-wrong", role: "alert", id }, ...linked(words));

  /* ---- the box ---- */
  const box = el("input", { class: "gm-input", id: "hub-address", maxlength: 500, spellcheck: "false", autocomplete: "off", autocapitalize: "off",
    placeholder: props.local ? "owner/name, owner/name@revision, or a folder here" : "owner/name or owner/name@revision", value: desk.address });
  box.oninput = () => { desk.address = box.value; };
  const go = el("button", { class: "gm-button", id: "hub-look", text: "Look" });
  const top = el("form", { class: "gm-hub-top", onsubmit: (event) => { event.preventDefault(); look(); } },
    el("label", { for: "hub-address", text: "Model" }), box, go, el("div", { class: "gm-hub-folds" }));

  const busy = () => Boolean(desk.run) && !["done", "failed", "stopped"].includes(report()?.phase);
  const look = async () => {
    const address = box.value.trim(), mine = ++desk.looks;
    if (busy()) return say("A model is being fetched: cancel that first, or wait for it.");
    Object.assign(desk, { found: null, run: null, wrong: "", looking: "" });
    if (!address) { box.focus(); return say("Type an owner/name first, or pick one of the list."); }
    desk.looking = address;
    draw();
    const answer = await patiently(server.look, { address, token: desk.token, look: mine }, () => mine === desk.looks);
    if (!answer) return;
    desk.looking = "";
    if (answer.error) desk.wrong = answer.error; else desk.found = { ...gm.plain(answer.value), address };
    if (desk.found && !desk.found.refused && desk.fold) fold(null);
    draw();
  };
  const say = (words) => { desk.wrong = words; draw(); };

  /* ---- folds ---- */
  const heads = Object.entries(FOLDS).map(([key, text]) => el("button", {
    type: "button", class: "gm-chip", id: `hub-fold-${key}`, "aria-expanded": "false", "aria-controls": `hub-body-${key}`, text, "data-fold": key,
    onclick: () => fold(desk.fold === key ? null : key) }));
  const bodies = Object.fromEntries(Object.keys(FOLDS).map((key) => [key, el("div", { class: "gm-hub-fold", id: `hub-body-${key}`, hidden: true })]));
  const fold = (key) => {
    desk.fold = key;
    for (const head of heads) {
      head.setAttribute("aria-expanded", String(head.dataset.fold === key));
      head.textContent = head.dataset.fold === "token" && desk.token ? "With your token" : FOLDS[head.dataset.fold];
    }
    for (const [name, body] of Object.entries(bodies)) body.hidden = name !== key;
    if (key) ({ known: list, token: token, push })[key]();
  };
  const field = (label, input) => el("div", { class: "gm-field" }, el("label", { for: input.id, text: label }), input);
  const secret = (id) => {
    const input = el("input", { type: "password", class: "gm-input", id, maxlength: 300, autocomplete: "off", spellcheck: "false", value: desk.token });
    input.oninput = () => { desk.token = input.value.trim(); };
    return field("Your token (hf_…)", input);
  };
  const list = async () => {
    const row = (known) => {
      const mark = el("small", { class: "gm-hub-mark", "data-known": known.id, text: known.safe ? "" : "only pickles" });
      return el("li", {}, el("button", { type: "button", class: "gm-hub-row", "data-id": known.id, title: `look at ${known.id}`,
        onclick: () => { box.value = desk.address = known.id; look(); } },
      el("b", { text: known.id }), el("span", { text: known.words, title: known.kind }), el("small", { text: `about ${known.size}` }),
      el("small", { text: known.licence || "no licence" }), mark));
    };
    bodies.known.replaceChildren(el("ul", { class: "gm-hub-list", "aria-label": "Models to try" }, ...gm.plain(props.known).map(row)));
    const answer = await patiently(server.known, {}, () => element.isConnected);
    for (const id of answer?.value ?? []) {
      const mark = bodies.known.querySelector(`[data-known="${CSS.escape(id)}"]`);
      if (mark) { mark.textContent = "here already"; mark.classList.add("gm-hub-here"); }
    }
  };
  const token = () => bodies.token.replaceChildren(el("div", { class: "gm-hub-fields" }, secret("hub-token")),
    el("p", { class: "gm-info" }, ...linked("For gated and private models, and to push. It stays in this page, travels with your own looks, fetches and pushes, and is kept nowhere. Make one at https://huggingface.co/settings/tokens")));

  /* ---- push ---- */
  const push = async () => {
    const entry = el("select", { class: "gm-input", id: "hub-push-entry" }), repo = el("input", { class: "gm-input", id: "hub-push-repo", maxlength: 200, placeholder: "owner/name", spellcheck: "false", autocomplete: "off", autocapitalize: "off", value: desk.push.repo ?? "" });
    const hidden = el("input", { type: "checkbox", id: "hub-push-private", checked: Boolean(desk.push.private) });
    const button = el("button", { class: "gm-button", id: "hub-push-go", text: "Push" }), said = el("div", { id: "hub-push-said", role: "status" });
    entry.onchange = () => { desk.push.entry = entry.value; };
    repo.oninput = () => { desk.push.repo = repo.value; };
    hidden.onchange = () => { desk.push.private = hidden.checked; };
    const send = async (event) => {
      event.preventDefault();
      button.disabled = true; button.textContent = "Pushing …"; said.replaceChildren();
      const answer = await patiently(server.push, { entry: entry.value, repo: repo.value, private: hidden.checked, token: desk.token, push: ++desk.looks });
      button.disabled = false; button.textContent = "Push";
      said.replaceChildren(answer.error ? wrong(answer.error) : el("p", { class: "gm-note" }, `${entry.value} is at `,
        el("a", { href: answer.value.url, target: "_blank", rel: "noopener noreferrer", text: answer.value.url })));
    };
    bodies.push.replaceChildren(el("form", { class: "gm-hub-fields", onsubmit: send }, field("Entry", entry), field("Repository", repo), secret("hub-push-token"),
      el("div", { class: "gm-field gm-check" }, hidden, el("label", { for: hidden.id, text: "private" })), button), said,
    el("p", { class: "gm-info", text: "Uploads the weights, the card, the preview and the figures, with a page that says what they are. The repository is made where there is none." }));
    const answer = await patiently(server.own, {}, () => element.isConnected);
    const groups = (answer?.value ?? []).reduce((all, { name, whose }) => ({ ...all, [whose]: [...(all[whose] ?? []), name] }), {});
    entry.replaceChildren(...Object.entries(groups).map(([whose, names]) => el("optgroup", { label: whose }, ...names.map((name) => el("option", { value: name, text: name })))));
    if (desk.push.entry) entry.value = desk.push.entry;
  };

  /* ---- what was found, and fetching it ---- */
  const said = el("div", { class: "gm-hub-said", id: "hub-said", "aria-live": "polite" });
  const report = () => (props.value?.run && props.value.run === desk.run ? props.value : null);
  const fetch = () => {
    desk.run = crypto.getRandomValues(new Uint32Array(2)).join("-");
    props.value = { address: desk.found.address, run: desk.run };
    draw();
    trigger("fetch");
  };
  const cancel = async () => { parts.button.disabled = true; await patiently(server.cancel, { run: desk.run }); };
  gm.fetched = () => { // the event is over, however it ended
    if (busy()) { props.value = { ...props.value, phase: "failed", words: "The server did not answer: it may be busy. Try again." }; }
    news();
  };
  let parts = {};
  const fact = (name, value) => (value ? el("div", {}, el("dt", { text: name }), el("dd", { text: value })) : null);
  const card = (found) => {
    const where = [found.revision, found.commit].filter(Boolean).join(" · ");
    const facts = el("dl", { class: "gm-hub-facts" }, fact("is a", found.kind), fact("makes", found.makes), fact("licence", found.licence),
      fact(`in ${found.files} file${found.files === 1 ? "" : "s"}`, found.files ? found.size : ""), fact("revision", where),
      fact("access", found.gated ? "gated; you are let in" : ""), fact("here it has", found.can.join(", ")));
    parts.bar = el("i"); parts.words = el("span"); parts.file = el("span"); parts.after = el("div", { id: "hub-after" });
    parts.track = el("div", { class: "gm-hub-track", role: "progressbar", "aria-label": `fetching ${found.name}`, "aria-valuemin": 0, "aria-valuemax": 100 }, parts.bar);
    parts.progress = el("div", { class: "gm-hub-progress", id: "hub-progress", hidden: true }, parts.track, el("p", {}, parts.words, parts.file));
    parts.button = el("button", { type: "button", class: "gm-primary", id: "hub-fetch", onclick: () => (busy() ? cancel() : fetch()) });
    parts.card = el("section", { class: "gm-hub-card", id: "hub-found", "aria-label": found.name },
      el("div", { class: "gm-hub-name" }, el("b", { text: found.name }), found.page ? el("a", { class: "gm-muted", href: found.page, target: "_blank", rel: "noopener noreferrer", text: "its page" }) : null), facts,
      found.refused ? wrong(found.refused) : el("div", { class: "gm-hub-act" }, parts.button, parts.progress), parts.after);
    return parts.card;
  };
  const done = (v) => el("p", { class: "gm-hub-done gm-note", id: "hub-done", role: "status" },
    v.family === "hub" ? `${desk.found.name} is here as ${v.name}, in the picker below.` : `${desk.found.name} is a checkpoint of gen_models: it is in the ${v.title} tab as ${v.name}.`,
    v.family === "hub" ? null : el("button", { type: "button", class: "gm-button", id: "hub-go", text: `Open it in ${v.title}`, onclick: () => open(v) }));
  const open = async ({ family, name }) => {
    await gm.openTab(family);
    await gm.until(() => gm.strips[family]?.element.isConnected && gm.strips[family].has(name));
    await gm.open(family, name);
  };
  const news = () => {
    const v = report(), found = desk.found;
    if (!found || found.refused || !parts.button) return;
    if (v?.phase === "done") return draw();
    const on = busy();
    parts.button.textContent = on ? "Cancel" : found.here ? "Open" : `Fetch ${found.size}`;
    parts.button.classList.toggle("gm-stop", on);
    if (!on || v?.phase === "opening") parts.button.disabled = v?.phase === "opening";
    parts.progress.hidden = !desk.run || v?.phase === "failed";
    const share = v?.total ? v.done / v.total : 0;
    parts.bar.style.width = `${100 * share}%`;
    parts.track.setAttribute("aria-valuenow", Math.round(100 * share));
    parts.words.textContent = v?.words ?? (on ? "asking the Hub" : "");
    parts.file.textContent = v?.phase === "fetching" ? v.file ?? "" : "";
    parts.progress.dataset.phase = v?.phase ?? "";
    parts.after.replaceChildren(...(v?.phase === "failed" ? [wrong(v.words)] : []));
  };
  const draw = () => {
    const v = report();
    parts = {};
    if (desk.looking) said.replaceChildren(el("p", { class: "gm-note", role: "status", text: `Looking at ${desk.looking} …` }));
    else if (desk.wrong) said.replaceChildren(wrong(desk.wrong, "hub-wrong"));
    else if (desk.found && v?.phase === "done") said.replaceChildren(done(v));
    else if (desk.found) { said.replaceChildren(card(desk.found)); news(); }
    else said.replaceChildren();
  };

  element.classList.add("gm-hub");
  top.lastChild.append(...heads);
  element.replaceChildren(top, said, ...Object.values(bodies),
    el("p", { class: "gm-hub-empty", text: "Nothing is fetched yet. Pick a model of the list or type its name: Look says what it is before anything is downloaded. Those marked “here already” open without a network." }));
  fold(desk.fold);
  draw();
  watch("value", news);
};
