/* The edit of a picture's codes: it lives in the browser, one for each entry, and outlives a change of tab.

   const edit = gm.codeEdit(family, entry). A step of its history is {base, codes, marks}:
     base   {source, codes, picture, name}: where it came from, as server.take gave it
     codes  flat, row by row;  marks  the same length, true for cells that the prior shall rewrite
   edit.other is picture B, of base's shape; edit.brush is one of choose, paint, other, mark; edit.cell the chosen cell and
   edit.code the code at hand, null before one is.
   edit.on(listener) -> unsubscribe; listener(edit) is called after every change. */
window.gm.codeEdits = {};
window.gm.codeBrushes = {
  choose: "Choose: click a cell, then a code.", paint: "Paint: drag over cells, they take the code at hand.",
  other: "From B: drag over cells, they take the codes of picture B.", mark: "Mark: drag over the cells that the prior shall rewrite.",
};
window.gm.codeEdit = (family, entry) => {
  const gm = window.gm, MOST = 1000;
  const make = () => {
    const listeners = new Set(), steps = [];
    let at = -1, begun = false, due = false;
    const edit = {
      family, entry, grid: null, other: null, brush: "choose", code: null, cell: null, sort: "likeness", numbers: false,
      now: () => steps[at] ?? null,
      size: () => edit.grid[0] * edit.grid[1],
      on: (listener) => (listeners.add(listener), () => listeners.delete(listener)),
      tell: () => {
        if (due) return;
        due = true;
        queueMicrotask(() => { due = false; for (const listener of [...listeners]) listener(edit); });
      },
      set: (values) => { Object.assign(edit, values); edit.tell(); },
      rows: (flat) => Array.from({ length: edit.grid[0] }, (_, r) => flat.slice(r * edit.grid[1], (r + 1) * edit.grid[1])),
      changed: () => { const now = edit.now(); return now ? now.codes.map((code, k) => code !== now.base.codes[k]) : []; },

      /* ---- history ---- */
      push: (step) => {
        steps.splice(at + 1);
        steps.push({ ...edit.now(), ...step });
        if (steps.length > MOST) steps.shift();
        at = steps.length - 1;
        edit.tell();
      },
      undoable: () => at > 0, redoable: () => at < steps.length - 1,
      undo: () => { if (at > 0) { at--; edit.tell(); } },
      redo: () => { if (at < steps.length - 1) { at++; edit.tell(); } },
      reset: () => { const { base } = edit.now(); edit.push({ codes: [...base.codes], marks: base.codes.map(() => false) }); },
      pristine: () => { const now = edit.now(); return !now || (!now.marks.includes(true) && !edit.changed().includes(true)); },
      /** Another picture; one that replaces an untouched one of the same kind (a drawing that goes on) is no step of its own. */
      take: (base) => {
        const now = edit.now(), goes = now && edit.pristine() && "drawn" in base.source && "drawn" in now.base.source && at === steps.length - 1;
        const step = { base, codes: [...base.codes], marks: base.codes.map(() => false) };
        if (goes) { steps[at] = step; edit.tell(); } else edit.push(step);
      },

      /* ---- brushes: a stroke is one step, however many cells it covers ---- */
      why: (brush) => (brush === "other" && !edit.other ? "load a picture B first" : brush === "paint" && edit.code === null ? "choose a code first" : ""),
      begin: (cell) => {
        const now = edit.now();
        if (!now || edit.why(edit.brush)) return;
        begun = { marking: !now.marks[cell], before: at };
        edit.push({ codes: [...now.codes], marks: [...now.marks] });
        edit.stroke(cell);
      },
      stroke: (cell) => {
        const now = edit.now();
        if (!begun || cell < 0) return;
        if (edit.brush === "paint") now.codes[cell] = edit.code;
        if (edit.brush === "other") now.codes[cell] = edit.other.codes[cell];
        if (edit.brush === "mark") now.marks[cell] = begun.marking;
        edit.cell = cell;
        edit.tell();
      },
      end: () => {
        if (!begun) return;
        const now = edit.now(), before = steps[at - 1];
        if (before && now.codes.every((code, k) => code === before.codes[k]) && now.marks.every((mark, k) => mark === before.marks[k])) { steps.pop(); at--; }
        begun = false;
        edit.tell();
      },
      /** Codes for some cells at once: {cell: code}. */
      put: (codes) => {
        const now = edit.now(), next = [...now.codes];
        for (const [cell, code] of Object.entries(codes)) next[cell] = code;
        if (next.some((code, k) => code !== now.codes[k])) edit.push({ codes: next });
      },
      mix: (which) => {
        const [rows, columns] = edit.grid, codes = {};
        const theirs = { left: (r, c) => c < columns / 2, top: (r) => r < rows / 2, board: (r, c) => (r + c) % 2 === 1 }[which];
        edit.other.codes.forEach((code, k) => { if (theirs(Math.floor(k / columns), k % columns)) codes[k] = code; });
        edit.put(codes);
      },
      mark: (all) => edit.push({ marks: edit.now().marks.map(() => all) }),
    };
    return edit;
  };
  return (gm.codeEdits[`${family} ${entry}`] ??= make());
};
/* A picture that was saved by Codes brings its codes back when it is opened. */
window.gm.visit.then(() => {
  const gm = window.gm, restore = gm.restore;
  gm.restore = async (recipe) => {
    if (!Array.isArray(recipe.codes)) return restore(recipe);
    const family = Object.keys(gm.strips).find((key) => gm.strips[key].has(recipe.entry)) ?? Object.keys(gm.entries).find((key) => gm.entries[key].includes(recipe.entry));
    if (!family) return `This picture was made by ${recipe.entry}, which is not in this playground.`;
    if (!(await gm.open(family, recipe.entry))) return `${recipe.entry} has no checkpoint here, so its codes cannot be read.`;
    document.getElementById(`${family}-codes-button`)?.click();
    const source = await gm.until(() => { const s = gm.codeSources[family]; return s?.entry() === recipe.entry && s; });
    if (!source) return "The controls did not appear in time: try once more.";
    source.ask("a", { codes: recipe.codes }, `${recipe.picture || "codes"}, as saved`);
    return `The codes of ${recipe.picture || "a picture"} are back.`;
  };
});
