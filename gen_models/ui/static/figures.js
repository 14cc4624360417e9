/* Tables of figures: entries by figures with the control rows below; and an entry's own card of them. */
(() => {
  const gm = window.gm, el = gm.el;
  const DIRECTION = { lower: ["↓", "lower is better"], higher: ["↑", "higher is better"] };
  const known = (table) => [...table.columns, ...table.likely];

  const head = (column) => {
    const [mark, words] = DIRECTION[column.better] ?? ["", ""];
    return el("th", { scope: "col", class: "gm-number", title: [column.words, words].filter(Boolean).join(" · "), "data-key": column.key },
      column.title, mark ? el("span", { class: "gm-better", "aria-label": words, text: `\u00a0${mark}` }) : null,
      column.unit ? el("small", { text: column.unit }) : null);
  };
  /** "1.20 ± 0.05" with its error in grey; the best of a column is bold and says so. */
  const number = (cell, column) => {
    if (!cell) return el("td", { class: "gm-number gm-none", text: "—", title: "not measured here" });
    const at = cell.text.search(/ [±(]/), value = at < 0 ? cell.text : cell.text.slice(0, at);
    return el("td", { class: `gm-number ${cell.best ? "gm-best" : ""}`, title: column.title, "data-key": column.key },
      el("span", { text: value }), el("small", {}, cell.best ? el("em", { text: "best " }) : null, at < 0 ? "" : cell.text.slice(at + 1).replace(/^\((.*) to (.*)\)$/, "$1–$2")));
  };
  const tail = (row) => [
    el("td", { class: "gm-number", text: row.calls ?? "—" }), el("td", { class: "gm-number", text: row.time || "—" }),
    el("td", { class: "gm-number", text: row.n?.toLocaleString("en") ?? "—" }),
  ];
  const likely = (table, found, span) => {
    if (!table.likely.length) return [];
    if (!found.likelihood) return [el("td", { class: "gm-number gm-none", rowspan: span, colspan: table.likely.length, text: "no likelihood" })];
    return table.likely.map((column) => {
      const cell = number(found.likelihood.cells[column.key], column);
      cell.rowSpan = span;
      if (found.likelihood.cells[column.key]) cell.title = `${column.title}: ${found.likelihood.words}`;
      return cell;
    });
  };
  const row = (table, item, first, end) => el("tr", {}, first,
    el("td", { class: "gm-setting", title: item.about || null }, el("span", { text: item.name }), item.note ? el("small", { text: item.note }) : null),
    ...table.columns.map((column) => number(item.cells[column.key], column)), ...end, ...tail(item));

  const named = (found, span, onpick) => el("th", { scope: "rowgroup", rowspan: span, class: "gm-figures-name" },
    onpick ? el("button", { type: "button", class: "gm-link", text: found.entry, onclick: () => onpick(found.entry) }) : "samples",
    ...found.marks.map((mark) => el("span", { class: "gm-mark", text: mark, title: "run the evaluation again" })));
  const rows = (table, found, onpick) => {
    const body = el("tbody", { "data-entry": found.entry }), wide = known(table).length + 4;
    if (found.why) body.append(el("tr", {}, named(found, 1, onpick), el("td", { class: "gm-why", colspan: wide, text: found.why })));
    else if (!found.rows.length) {
      body.append(row(table, { name: "—", cells: {} }, named(found, 1, onpick), likely(table, found, 1)));
    }
    found.rows.forEach((item, k) => body.append(row(table, item, k ? null : named(found, found.rows.length, onpick),
      k ? [] : likely(table, found, found.rows.length))));
    return body;
  };

  /** The table as a node that scrolls within itself; onpick(entry) is called by a click on an entry's name. */
  gm.figureTable = (table, { onpick = null, label = "Figures" } = {}) => {
    const columns = known(table);
    const controls = el("tbody", { class: "gm-controls" });
    table.controls.forEach((item, k) => {
      const first = k ? null : el("th", { scope: "rowgroup", rowspan: table.controls.length, class: "gm-figures-name", text: "for scale" });
      controls.append(row(table, item, first, table.likely.map(() => el("td", { class: "gm-number" }))));
    });
    const node = el("table", { "aria-label": label },
      el("thead", {}, el("tr", {}, el("th", { scope: "col", class: "gm-figures-name", text: onpick ? "Entry" : "" }), el("th", { scope: "col", text: "Setting" }),
        ...columns.map(head), el("th", { scope: "col", class: "gm-number", text: "calls", title: "network calls for a sample" }),
        el("th", { scope: "col", class: "gm-number", text: "time", title: "seconds for a sample, on the machine that judged" }),
        el("th", { scope: "col", class: "gm-number", text: "n", title: "samples judged" }))),
      ...table.groups.map((found) => rows(table, found, onpick)), controls);
    return el("div", { class: "gm-figures", role: "region", tabindex: 0, "aria-label": label }, node);
  };
  /** What each column means, folded. */
  gm.figureWords = (table) => el("details", { class: "gm-more" }, el("summary", { text: "What the figures mean" }),
    el("dl", { class: "gm-terms" }, ...known(table).flatMap((column) => [
      el("dt", { text: column.title }),
      el("dd", { text: [column.words, DIRECTION[column.better]?.[1]].filter(Boolean).join(" · ") })])));

  /* ---- under an entry's panels -------------------------------------------------------------------------------- */
  gm.figures = (element, props, server, trigger, watch) => {
    element.classList.add("gm-figures-card");
    const show = (card) => {
      element.dataset.entry = card.entry;
      if (card.why) return element.replaceChildren(el("p", { class: "gm-why", text: card.why }));
      const [group] = card.table.groups;
      const { words, n } = group.likelihood ?? {}, many = n ? `, n = ${n.toLocaleString("en")}` : "";
      const likelihood = !group.likelihood ? "No likelihood: this model does not give one." : words ? `${group.likelihood.about}: ${words}${many}.` : "Its likelihood is not measured yet.";
      return element.replaceChildren(gm.figureTable(card.table, { label: `Figures of ${card.entry}` }),
        el("p", { class: "gm-info gm-likelihood", text: likelihood }),
        card.targets.length ? el("ul", { class: "gm-targets" }, ...card.targets.map((target) => el("li", { class: target.short ? "gm-short" : null, text: `${target.text}${target.text.endsWith(".") ? "" : "."}` }))) : "",
        el("dl", { class: "gm-honesty" }, ...card.facts.map(([term, text]) => el("div", {}, el("dt", { text: term }), el("dd", { text })))),
        el("p", { class: "gm-info", text: card.measured }), gm.figureWords(card.table));
    };
    const fail = (message) => element.replaceChildren(el("p", { class: "gm-wrong", role: "alert", text: message }));
    const pump = gm.pump(server.figures, show, fail, 1);
    const ask = () => pump.put({ entry: props.value });
    ask();
    watch("value", ask);
  };
})();
