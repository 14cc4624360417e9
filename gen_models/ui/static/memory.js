/* The chip that says where it computes; behind it the models in memory, each with its size and Unload. */
window.gm.memory = (server) => {
  const { el } = gm;
  const chip = el("button", { class: "gm-chip gm-memory-chip", id: "device", type: "button", "aria-expanded": "false", "aria-controls": "memory",
    title: "where it computes, and the memory in use; click for the models that are loaded" });
  const list = el("div", { class: "gm-memory-list" });
  const said = el("p", { class: "gm-muted", role: "status" });
  const box = el("div", { class: "gm-memory-box", id: "memory", role: "group", "aria-label": "Models in memory", hidden: true },
    el("b", { text: "Models in memory" }), list, said);
  const root = el("span", { class: "gm-memory" }, chip, box);

  const row = (model) => el("div", { class: "gm-memory-row", "data-model": model.name },
    el("span", { class: "gm-memory-name", text: model.name, title: model.name }),
    el("small", { text: `${model.size} · ${model.device}` }),
    model.may ? el("button", { class: "gm-chip", type: "button", text: "Unload", "aria-label": `Unload ${model.name} from ${model.device}`,
      onclick: () => ask(server.unload, { name: model.name, device: model.device }) }) : el("span"));
  const draw = ({ models, others, chip: words, said: message }) => {
    chip.textContent = words;
    list.replaceChildren(...models.map(row), ...(others ? [el("small", { text: others })] : []),
      ...(models.length || others ? [] : [el("small", { text: "None yet. A model is loaded when it is first asked for something." })]));
    said.textContent = message;
  };
  const ask = async (serve, asked = {}) => {
    const answer = await gm.ask(serve, asked);
    if (answer.value) draw(answer.value);
    else if (answer.error) said.textContent = answer.error;
  };
  const open = (on) => {
    box.hidden = !on;
    chip.setAttribute("aria-expanded", String(on));
    if (on) { said.textContent = ""; ask(server.loaded); }
  };
  chip.onclick = () => open(box.hidden);
  document.addEventListener("pointerdown", (event) => { if (root.isConnected && !box.hidden && !root.contains(event.target)) open(false); });
  document.addEventListener("keydown", (event) => { // before the page hears it: there Escape stops a run
    if (event.key !== "Escape" || box.hidden || !root.isConnected) return;
    event.stopPropagation();
    open(false);
    chip.focus();
  }, true);
  return { root, chip };
};
