/* Lines of text, each a tile with how likely it is; in the order of their seeds, or the likeliest first.

   value (panels/lines.py: sent): {entry, seed, texts, nats}. */
window.gm.lineOrder = {}; // form -> the likeliest first; outlives a change of tab
window.gm.lines = (element, props, server, trigger, watch) => {
  const gm = window.gm, el = gm.el, id = props.form;
  const order = el("input", { type: "checkbox", id: `${id}-order` });
  order.checked = Boolean(gm.lineOrder[id]);
  order.onchange = () => { gm.lineOrder[id] = order.checked; draw(); };
  const save = el("button", { type: "button", class: "gm-button", id: `${id}-txt`, text: "Text", onclick: () => gm.saveFile(`${props.value.texts.join("\n")}\n`, `${props.value.entry}-seed${props.value.seed}.txt`, "text/plain;charset=utf-8") });
  const count = el("b"), grid = el("ul", { class: "gm-lines-grid", id: `${id}-lines` });
  const bar = el("div", { class: "gm-lines-bar" }, count, el("label", { class: "gm-lines-order" }, order, "likeliest first"), el("span", { class: "gm-space" }), save);
  element.classList.add("gm-lines-view");
  const draw = () => {
    if (!props.entry) return element.replaceChildren(el("div", { class: "gm-nothing", text: "This entry has no lines of text to draw, or no checkpoint yet. Choose another one." }));
    if (!bar.isConnected) element.replaceChildren(bar, grid);
    const v = props.value?.entry === props.entry ? gm.plain(props.value) : null;
    save.disabled = !v; save.title = v ? "" : "nothing is written yet";
    count.textContent = v ? `${v.texts.length} line${v.texts.length > 1 ? "s" : ""}` : "";
    if (!v) return grid.replaceChildren(el("li", { class: "gm-void", text: "Lines appear here: press Generate." }));
    const most = v.nats ? Math.max(...v.nats, 1) : 1, rows = v.texts.map((text, k) => ({ text, k, nats: v.nats?.[k] ?? null }));
    if (order.checked && v.nats) rows.sort((a, b) => a.nats - b.nats);
    grid.replaceChildren(...rows.map(({ text, k, nats }) => el("li", { class: "gm-line-tile", title: `seed ${v.seed + k}${nats === null ? "" : `, ${nats.toFixed(2)} nats`}` },
      el("span", { class: "gm-line-text", text: text || "(empty)" }),
      el("i", { "aria-hidden": "true" }, el("i", { style: `width:${nats === null ? 0 : (100 * nats) / most}%` })),
      el("small", { class: "gm-muted", text: nats === null ? `seed ${v.seed + k}` : `${nats.toFixed(1)} nats · seed ${v.seed + k}` }))));
    element.dataset.seed = v.nats ? v.seed : "";
  };
  draw();
  watch(["value", "entry"], draw);
};
