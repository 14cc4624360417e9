/* "What can this model do?": families by abilities; a cell opens the panel that does it, or says why there is none. */
window.gm.arenaMatrix = (element, props) => {
  const gm = window.gm, el = gm.el, HINT = "A yes opens the panel that does it; a dash says why not.";
  const told = el("p", { class: "gm-info", role: "status", id: "arena-matrix-told" });
  const tell = (text, strong) => { told.replaceChildren(...(strong ? [el("b", { text: `${strong}: ` })] : []), text); };

  const open = async ({ family, entry, panel }) => {
    if (!(await gm.open(family, entry))) return gm.tell(`${entry} has no checkpoint here; train one in its tab.`);
    const tab = await gm.until(() => [...document.querySelectorAll(`#${family}-panels > .tab-wrapper [role=tab]`)].find((one) => one.dataset.tabId === panel));
    await new Promise((done) => setTimeout(done, 80)); // the tab may first give way from a panel that this entry has not
    tab?.click();
    return undefined;
  };
  const cell = (row, column) => {
    const found = row.cells[column.key], name = `${row.title}, ${column.title.toLowerCase()}`;
    if (!found) return el("td", {});
    if (found.can) {
      return el("td", {}, el("button", { type: "button", class: "gm-arena-can", text: "yes", "data-row": row.key, "data-column": column.key,
        title: `opens ${found.entry}`, "aria-label": `${name}: open the panel that does it`, onclick: () => open(found) }));
    }
    const say = () => tell(found.why.replace(`${row.title}: `, ""), name);
    return el("td", {}, el("button", { type: "button", class: "gm-arena-cannot", text: "–", "data-row": row.key, "data-column": column.key,
      title: found.why, "aria-label": `${name}: no. ${found.why}`, onclick: say, onfocus: say }));
  };
  const draw = () => {
    const { columns, rows } = gm.plain(props.value) ?? { columns: [], rows: [] };
    tell(HINT);
    element.classList.add("gm-arena-matrix");
    element.replaceChildren(el("h2", { text: "What can this model do?" }),
      el("div", { class: "gm-figures", role: "region", tabindex: 0, "aria-label": "What can this model do?" },
        el("table", { id: "arena-abilities" },
          el("thead", {}, el("tr", {}, el("th", { scope: "col", class: "gm-figures-name", text: "Family" }), ...columns.map((column) => el("th", { scope: "col", text: column.title })))),
          el("tbody", {}, ...rows.map((row) => el("tr", {}, el("th", { scope: "row", class: "gm-figures-name", text: row.title }), ...columns.map((column) => cell(row, column))))))),
      told);
  };
  draw();
};
