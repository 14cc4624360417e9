/* What a run will cost, below its button: asked anew whenever the form changes, gone while it runs.

   Python: cost.before_the_run(form, words). The element gets data-said: "ready" once the line stands there. */
window.gm.cost = (element, props, server, trigger, watch) => {
  const gm = window.gm, el = gm.el, id = props.form;
  const line = el("p", { class: "gm-info gm-cost", role: "status", "aria-live": "polite" });
  const say = (text, wrong) => { line.textContent = text; line.classList.toggle("gm-wrong", Boolean(wrong)); element.dataset.said = wrong ? "wrong" : "ready"; };
  const tell = (wrong) => (text) => (gm.blocked[id] ? say("", false) : say(text, wrong)); // a form that is blocked says why itself
  const pump = gm.pump(server.cost, tell(false), tell(true), 1);
  let timer;
  const ask = () => {
    const form = gm.forms[id];
    if (!form || gm.blocked[id]) return say("", false);
    clearTimeout(timer);
    timer = setTimeout(() => { const { run, ...settings } = form.value() ?? {}; pump.put({ entry: form.entry(), settings }); }, 120);
  };
  element.replaceChildren(line);
  const begin = async () => {
    const form = await gm.until(() => gm.forms[id]?.ready && gm.forms[id]);
    if (!form || !element.isConnected) return;
    const off = form.on(() => { if (!element.isConnected) return off(); ask(); });
    ask();
  };
  begin();
  watch("form", ask);
};
