/* The Arena's table of results: sorted by a click on a column's head, control rows last; and the same as CSV. */
(() => {
  const gm = window.gm, el = gm.el;
  const WAYS = { lower: ["↓", "lower is better"], higher: ["↑", "higher is better"] };
  const plain = (text) => text.split(/ [±(]/)[0];

  /** The table's rows in order: sort is {key, up} or null; control rows and empty cells come last. */
  gm.arenaSorted = (table, sort) => {
    const rows = table.rows.filter((row) => !row.control), controls = table.rows.filter((row) => row.control);
    if (!sort) return [...rows, ...controls];
    const of = (row) => (sort.key === "title" ? row.title.toLowerCase() : row.cells[sort.key]?.value ?? null);
    const sign = sort.up ? 1 : -1;
    const sorted = rows.map((row, k) => [of(row), k, row]).sort(([a, i], [b, j]) => {
      if (a === null || b === null) return (a === null) - (b === null) || i - j;
      return a === b ? i - j : a < b ? -sign : sign;
    });
    return [...sorted.map(([, , row]) => row), ...controls];
  };
  /** The order after a click on a column: the better end first, then turned round. */
  gm.arenaTurned = (table, sort, key) => {
    const better = table.columns.find((column) => column.key === key)?.better;
    return sort?.key === key ? { key, up: !sort.up } : { key, up: better !== "higher" };
  };
  gm.arenaCsv = (table, sort) => {
    const quoted = (text) => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
    const head = ["model", ...table.columns.map((column) => column.title + (column.unit ? ` (${column.unit})` : "")), "control"];
    const line = (row) => [row.title, ...table.columns.map(({ key }) => { const cell = row.cells[key]; return cell ? String(cell.value ?? cell.text) : ""; }), row.control ? "yes" : "no"];
    return [head, ...gm.arenaSorted(table, sort).map(line)].map((cells) => cells.map(quoted).join(",")).join("\n") + "\n";
  };

  const head = (column, sort, onsort) => {
    const [mark, words] = WAYS[column.better] ?? ["", ""], on = sort?.key === column.key;
    return el("th", { scope: "col", class: column.key === "title" ? "gm-figures-name" : "gm-number", "data-key": column.key, "aria-sort": on ? (sort.up ? "ascending" : "descending") : "none" },
      el("button", { type: "button", class: "gm-link", title: [column.words, words, "click to sort"].filter(Boolean).join(" · "), onclick: () => onsort(column.key) },
        column.title, mark ? el("span", { class: "gm-better", "aria-label": words, text: `\u00a0${mark}` }) : null,
        el("span", { class: "gm-sorted", "aria-hidden": "true", text: on ? (sort.up ? " ▲" : " ▼") : "" })),
      column.unit ? el("small", { text: column.unit }) : null);
  };
  /** The columns whose best is marked: not those where all models are equal. */
  gm.arenaTelling = (table) => {
    const models = table.rows.filter((row) => !row.control);
    return new Set(table.columns.map(({ key }) => key).filter((key) => models.some((row) => row.cells[key] && !row.cells[key].best)));
  };
  const number = (cell, column, telling) => {
    if (!cell) return el("td", { class: "gm-number gm-none", text: "—", title: "not measured" });
    const value = plain(cell.text), rest = cell.text.slice(value.length).trim(), words = cell.value === null, best = cell.best && telling;
    return el("td", { class: `gm-number ${best ? "gm-best" : ""} ${words ? "gm-none" : ""}`, title: column.title, "data-key": column.key },
      el("span", { text: value }), rest || best ? el("small", {}, best ? el("em", { text: "best " }) : null, rest) : null);
  };
  const row = (table, item, telling) => el("tr", { "data-key": item.key },
    el("th", { scope: "row", class: "gm-figures-name", text: item.title }), ...table.columns.map((column) => number(item.cells[column.key], column, telling.has(column.key))));

  gm.arenaTable = (table, sort, onsort) => {
    const rows = gm.arenaSorted(table, sort), controls = rows.filter((item) => item.control), telling = gm.arenaTelling(table);
    const node = el("table", { "aria-label": "Results", id: "arena-table" },
      el("thead", {}, el("tr", {}, ...[{ key: "title", title: "Model", words: "" }, ...table.columns].map((column) => head(column, sort, onsort)))),
      el("tbody", {}, ...rows.filter((item) => !item.control).map((item) => row(table, item, telling))),
      controls.length ? el("tbody", { class: "gm-controls" }, ...controls.map((item) => row(table, item, telling))) : null);
    return el("section", { class: "gm-arena-result" },
      el("div", { class: "gm-figures", role: "region", tabindex: 0, "aria-label": "Results" }, node),
      el("p", { class: "gm-info", text: `Every figure from ${table.n.toLocaleString("en")} samples against as many held-out points. The grey rows are for scale.` }),
      gm.figureWords({ columns: table.columns, likely: [] }));
  };
})();
