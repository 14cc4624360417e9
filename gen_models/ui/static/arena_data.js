/* The Arena's data: one of eight densities, or points drawn by mouse and finger or read from a file. */
window.gm.arenaData = (element, props, server, trigger, watch) => {
  const gm = window.gm, el = gm.el, OWN = "own-points", LEAST = 50, memory = gm.arenaMemory;
  let shown = null;

  /* ---- the parts ---- */
  const list = el("select", { class: "gm-input", id: "arena-data-set" }, ...gm.plain(props.sets).map((set) => el("option", { value: set.key, text: set.title })));
  const file = el("input", { type: "file", accept: ".csv,.tsv,.txt,text/csv,text/plain", id: "arena-csv-input", class: "gm-hidden", tabindex: -1, "aria-hidden": "true" });
  const button = (text, id, title, onclick) => el("button", { type: "button", class: "gm-button", text, id, title, onclick });
  const canvas = el("canvas", { class: "gm-points-canvas", role: "img" });
  const picture = el("div", { class: "gm-plot gm-arena-data" }, canvas);
  const hint = el("p", { class: "gm-info", role: "status", id: "arena-data-hint" }), wrong = el("p", { class: "gm-wrong", role: "alert", hidden: true, id: "arena-data-wrong" });
  const pad = gm.drawPoints({ name: "arena-points", onchange: (csv, read) => { put({ data: OWN, csv }); pad.set(csv); if (read) pad.say(""); } });
  element.classList.add("gm-arena-choice");
  element.replaceChildren(
    el("div", { class: "gm-field" }, el("div", { class: "gm-head" }, el("label", { for: list.id, text: "Data" })),
      el("div", { class: "gm-row" }, list,
        button("Draw", "arena-draw", "draw your own points with mouse or finger", () => put({ data: OWN })),
        button("CSV", "arena-csv-file", "points from a file: one x, y per line; or drop it here", () => file.click()), file)),
    picture, pad.node, hint, wrong);

  /* ---- what is chosen ---- */
  const now = () => gm.plain(props.value) ?? { data: list.value, csv: "" };
  const rows = (csv) => csv.split(/\r?\n/).filter((row) => row.trim()).length;
  const put = (change) => {
    props.value = { ...now(), ...change };
    draw();
    ask();
  };
  const ask = () => {
    const { data, csv } = now();
    if (data === OWN && !csv.trim()) { shown = null; tell(null); return; }
    pump.put({ data, csv: data === OWN ? csv : "" });
  };
  const bring = async (given) => {
    if (!given) return;
    if (given.size > 8e6) return fail(`${given.name} is larger than 8 MB. Keep a part of its rows.`);
    const csv = await given.text();
    put({ data: OWN, csv });
    pad.set(csv);
    return undefined;
  };
  list.onchange = () => put({ data: list.value });
  file.onchange = () => { bring(file.files[0]); file.value = ""; };
  element.ondragover = (event) => event.preventDefault();
  element.ondrop = (event) => { if (event.defaultPrevented) return; event.preventDefault(); bring(event.dataTransfer.files[0]); };

  /* ---- drawing ---- */
  const fail = (message) => { wrong.textContent = message; wrong.hidden = !message; };
  /** The stage draws the same points behind its empty cells. */
  const tell = (points) => { memory.real = points; document.dispatchEvent(new CustomEvent("gm:arena-data")); };
  const words = () => {
    const { data, csv } = now(), count = rows(csv);
    if (data !== OWN) return "";
    return count === 0 ? `Draw at least ${LEAST} points.` : `${count} points${count < LEAST ? `; at least ${LEAST} are needed.` : ""}`;
  };
  const paint = () => {
    if (!canvas.clientWidth || now().data === OWN) return;
    gm.cloud(canvas, [[shown ? gm.pointsOf(shown.points) : [], "real", 0.6]]);
    canvas.setAttribute("aria-label", shown ? `${shown.title}: ${shown.count} points` : "no points yet");
  };
  const draw = () => {
    const { data } = now(), own = data === OWN;
    list.value = data;
    picture.hidden = own;
    pad.node.hidden = !own;
    hint.textContent = words();
    hint.hidden = !hint.textContent;
    fail("");
    paint();
  };
  const show = (value, asked) => {
    if (asked.data !== now().data) return;
    shown = value;
    fail("");
    tell(gm.arenaPairs(value.points));
    paint();
  };
  const pump = gm.pump(server.look, show, (message) => { if (now().data === OWN) tell(null); if (rows(now().csv) >= LEAST) fail(message); }, 1);

  const again = () => { if (!element.isConnected) { document.removeEventListener("gm:theme", again); sizes.disconnect(); } else paint(); };
  const sizes = new ResizeObserver(paint);
  sizes.observe(picture);
  document.addEventListener("gm:theme", again);
  pad.set(now().csv);
  draw();
  ask();
  watch("value", draw);
};
