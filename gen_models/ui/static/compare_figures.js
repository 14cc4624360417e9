/* Below the cards of the Compare tab: quality against variety and against time, and the table of figures. */
(() => {
  const gm = window.gm, el = gm.el;
  /** A point for each row that has both figures; x(row) gives {value, text}. */
  const points = (value, x) => value.table.groups.flatMap((group) => group.rows.map((row) => {
    const { quality } = value.table.axes, cell = quality && row.cells[quality.key], at = x(row);
    if (!cell || at === undefined || at === null) return null;
    const shape = value.entries.find((entry) => entry.entry === group.entry)?.shape ?? 0;
    return { entry: group.entry, name: row.name, shape, x: at.value, y: cell.value, text: `${group.entry}, ${row.name}: ${quality.title} ${cell.text}, ${at.text}` };
  })).filter(Boolean);
  const axis = (column, all) => {
    const log = ["fd", "kid", "energy", "kl"].includes(column.key) && all.every((p) => p > 0);
    const side = { lower: "lower is better", higher: "higher is better" }[column.better];
    return { log, title: [column.title, column.unit, log ? "log axis" : "", side].filter(Boolean).join(", ") };
  };
  const plot = (value, scatter, spread) => {
    const { quality, variety } = value.table.axes;
    const found = points(value, spread ? (row) => variety && row.cells[variety.key] && { value: row.cells[variety.key].value, text: `${variety.title} ${row.cells[variety.key].text}` }
      : (row) => (row.seconds > 0 ? { value: row.seconds, text: `${row.time} a sample` } : null));
    const control = value.table.controls.find((row) => row.control === "real" && row.cells[quality?.key]);
    const real = control && { y: control.cells[quality.key].value, x: spread ? control.cells[variety?.key]?.value : undefined, name: "real against real" };
    const y = quality && axis(quality, [...found.map((p) => p.y), ...(real ? [real.y] : [])]);
    scatter.say(y?.title ?? "");
    scatter.draw({ points: found, real: found.length ? real : null, y: y ?? {}, x: spread ? axis(variety ?? { title: "" }, []) : { log: true, title: "time for a sample, log axis", unit: "time" },
      empty: "Nothing is evaluated yet." });
  };

  gm.compareFigures = (element) => {
    const memory = gm.compared, pick = (entry) => gm.compared.select(entry, true);
    let plots = [];
    element.classList.add("gm-compare-figures");
    const draw = () => {
      const value = memory.shown;
      if (!value?.entries.length) return element.replaceChildren();
      const { absent, quality, variety } = value.table.axes;
      plots = [["variety", `Quality against ${(variety?.title ?? "coverage").toLowerCase()}`], ["speed", "Quality against time"]].map(([key, title]) => {
        const said = el("span", { class: "gm-muted" }), one = gm.scatter({ id: `compare-${key}`, title, onpick: pick });
        one.node.querySelector("figcaption").append(said);
        return { ...one, say: (text) => { said.textContent = text; } };
      });
      element.replaceChildren(el("section", { class: "gm-scatters", "aria-label": "Plots" }, ...plots.map((one) => one.node)),
        ...(absent.length ? [el("p", { class: "gm-info", text: `Not in the plots, for want of ${quality.title}: ${absent.join(", ")}.` })] : []),
        gm.figureTable(value.table, { onpick: pick, label: "Figures of every entry" }), gm.figureWords(value.table));
      plot(value, plots[0], true);
      plot(value, plots[1], false);
      return memory.selected && gm.compared.select(memory.selected);
    };
    memory.figures = { draw, select: (entry) => { for (const one of plots) one.select(entry); } };
    draw();
  };
})();
