/* Reconstruct: a picture, the model's version of it and their difference, large; a row of test pictures below.

   entry, data, title, labels, suits, tests (whether there are test pictures) come from Python; pad names the drawing pad whose strokes are followed. */
window.gm.reconstruct = (element, props, server, trigger, watch) => {
  const gm = window.gm, el = gm.el, id = props.pad.replace(/-pad$/, "-view");
  let entry = null, items = [], total = 0, chosen = null, label = "", asking = 0;
  element.classList.add("gm-reconstruct");

  /* ---- three pictures ---- */
  const figure = (name, kind, title, note) => {
    const image = el("img", { class: "gm-sharp-large", alt: `${title}: nothing yet`, id: `${id}-${name}`, hidden: true });
    const side = el("span", { class: "gm-muted" }, note ?? "");
    return { image, side, title, node: el("figure", { class: "gm-recon" }, el("figcaption", {}, el("b", { style: `color: var(--gm-${kind})`, text: title }), side), el("div", { class: "gm-recon-box" }, image)) };
  };
  const picture = figure("picture", "real", "picture"), again = figure("reconstruction", "generated", "reconstruction"), difference = figure("difference", "ink", "difference", "reconstruction − picture");
  const bar = el("div", { class: "gm-recon-bar", role: "img", "aria-label": "legend of the difference: blue is darker than the picture by half of the range, white is equal, orange is brighter" },
    el("span", { text: "darker" }), el("i"), el("span", { text: "brighter" }));
  const numbers = el("p", { class: "gm-recon-numbers", id: `${id}-numbers`, role: "status" });
  const message = el("p", { class: "gm-wrong", role: "alert", hidden: true, id: `${id}-message` });
  const fail = (text) => { message.textContent = text; message.hidden = !text; };
  const show = (v, asked) => {
    fail("");
    const what = asked.test === undefined ? (asked.drawn.kind === "file" ? asked.drawn.name : "your drawing") : `test picture ${asked.test}`;
    picture.side.textContent = what;
    for (const [part, url] of [[picture, v.picture], [again, v.reconstruction], [difference, v.difference]]) {
      part.image.src = url; part.image.hidden = false;
      part.image.alt = `${part.title} of ${what} by ${props.entry}`;
    }
    const nats = Object.entries(v.terms).map(([name, value]) => [name, `${gm.digits(value)} nats`]);
    numbers.replaceChildren(...[["mean squared error, pixels 0 to 1", v.error.toPrecision(3)], ...nats].map(([name, value]) =>
      el("span", {}, el("span", { class: "gm-muted", text: `${name} ` }), el("b", { text: value }))));
    element.dataset.shown = what;
  };
  const pump = gm.pump(server.look, show, fail);
  const drawn = (value) => {
    if (!value) return;
    chosen = null; mark();
    pump.put({ entry: props.entry, drawn: value });
  };
  const pick = (index) => { chosen = index; mark(); pump.put({ entry: props.entry, test: index }); };

  /* ---- the row of test pictures ---- */
  const row = el("div", { class: "gm-tests", role: "group", "aria-label": "test pictures" });
  const line = el("p", { class: "gm-muted gm-tests-line", role: "status", id: `${id}-tests-message` });
  const index = el("input", { type: "number", class: "gm-input", min: 0, step: 1, value: 0, id: `${id}-index`, "aria-label": "index of the first test picture" });
  const list = el("select", { class: "gm-input", id: `${id}-class`, "aria-label": "class of the test pictures" });
  const button = (text, suffix, onclick) => el("button", { type: "button", class: "gm-button", text, id: `${id}-${suffix}`, onclick });
  const retry = button("Try again", "retry", () => tests({ index: 0 }));
  const bar2 = el("div", { class: "gm-row gm-tests-bar" }, el("b", { text: "Test pictures" }), el("label", { class: "gm-row" }, el("span", { class: "gm-muted", text: "from" }), index), list,
    button("Previous", "previous", () => step(-8)), button("Next", "next", () => step(8)), button("Random", "random", () => tests({ random: true })), retry);
  index.onchange = () => tests({ index: index.value === "" ? 0 : Number(index.value) });
  list.onchange = () => { label = list.value; tests({ index: 0 }); };
  const step = (by) => {
    if (!items.length) return;
    if (!label) return tests({ index: (((items[0].index + by) % total) + total) % total });
    tests({ index: by > 0 ? (items.at(-1).index + 1) % total : Math.max(0, items[0].index - 80) });
  };
  const mark = () => { for (const tile of row.children) tile.setAttribute("aria-pressed", String(Number(tile.dataset.index) === chosen)); };
  const layout = () => {
    row.replaceChildren(...items.map((item) => el("button", {
      type: "button", class: "gm-test", "data-index": item.index, "aria-pressed": "false", onclick: () => pick(item.index),
      "aria-label": `test picture ${item.index}${item.label ? `, class ${item.label}` : ""}, error ${item.error.toPrecision(2)}: show it large`,
    }, el("img", { src: item.picture, alt: "" }), el("img", { src: item.reconstruction, alt: "" }),
    el("small", { text: `${item.label || item.index}` }), el("small", { class: "gm-muted", text: item.error.toPrecision(2), title: "mean squared error" }))));
    mark();
  };
  const tests = async (wanted) => {
    const mine = ++asking, now = props.entry;
    retry.hidden = true;
    for (;;) {
      const answer = await gm.ask(server.tests, { entry: now, label, ...wanted });
      if (mine !== asking || !element.isConnected || now !== props.entry) return;
      if (answer.busy || answer.value?.waiting) {
        line.textContent = `Reading ${props.title} …`; line.hidden = false;
        await new Promise((done) => setTimeout(done, 300));
        continue;
      }
      if (answer.error) {
        line.textContent = `${answer.error}${items.length ? "" : " Drawing and uploading work all the same."}`;
        line.hidden = false; retry.hidden = items.length > 0 || !props.data;
        return;
      }
      line.hidden = true;
      ({ items, total } = gm.plain(answer.value));
      index.max = total - 1; index.value = items[0].index;
      layout();
      if (chosen === null && picture.image.hidden && !gm.pads[props.pad]?.value()) pick(items[0].index);
      return;
    }
  };

  const body = [el("div", { class: "gm-recons" }, picture.node, again.node, difference.node), el("div", { class: "gm-recon-under" }, numbers, bar), message,
    el("section", { class: "gm-tests-card" }, bar2, line, row)];
  const open = () => {
    if (entry === props.entry) return;
    entry = props.entry; items = []; total = 0; chosen = null; label = "";
    if (!props.suits) return element.replaceChildren(el("div", { class: "gm-nothing", text: "This entry does not reconstruct pictures. Choose another one." }));
    for (const part of [picture, again, difference]) part.image.hidden = true;
    list.replaceChildren(el("option", { value: "", text: "all classes" }), ...gm.plain(props.labels).map((name) => el("option", { value: name, text: name })));
    list.hidden = !props.labels.length;
    numbers.replaceChildren(el("span", { class: "gm-muted", text: props.tests ? "Draw, upload, or choose a test picture." : "Draw or upload a picture." }));
    layout();
    body.at(-1).hidden = !props.tests;
    element.replaceChildren(...body);
    const value = gm.pads[props.pad]?.value();
    if (value) drawn(value);
    if (props.tests) tests({ index: 0 });
  };
  const listen = () => {
    const pad = gm.pads[props.pad];
    if (!pad) return element.isConnected && setTimeout(listen, 50);
    const off = pad.on((value) => { if (!element.isConnected) off(); else if (props.suits) drawn(value); });
  };
  open();
  listen();
  watch(["entry", "suits"], open);
};
