/* The Arena on one slide: 1920 x 1080, light ground, every model's picture with its name and figures. */
(() => {
  const gm = window.gm, WIDE = 1920, HIGH = 1080, EDGE = 56, TOP = 124, FOOT = 64, GAP = 24;
  /* the light theme's colours stand on the root, whatever the page shows */
  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--gm-${name}`).trim();
  const family = () => getComputedStyle(document.querySelector(".gm-arena") ?? document.body).fontFamily;
  const plain = (text) => text.split(/ [±(]/)[0];

  const text = (pen, words, x, y, { size = 22, weight = 400, ink = "ink", align = "left", most = Infinity, least = size } = {}) => {
    let shown = words, tall = size;
    const set = () => { pen.font = `${weight} ${tall}px ${family()}`; };
    pen.fillStyle = color(ink);
    pen.textAlign = align;
    for (set(); tall > least && pen.measureText(shown).width > most; set()) tall--;
    if (least < size && pen.measureText(shown).width > most && shown.includes(" ")) { // rather one word in full
      shown = shown.split(" ")[0];
      tall = size;
      set();
    }
    while (shown.length > 1 && pen.measureText(shown).width > most) shown = `${shown.slice(0, -2)}…`;
    pen.fillText(shown, x, y);
    return pen.measureText(shown).width;
  };
  const STYLES = [{ across: 1, line: 42, size: 27 }, { across: 1, line: 29, size: 20 }, { across: 2, line: 29, size: 20 }]; // of the figures
  /** Label, value and whether it is the best: the table's figures once it is the last frame, else what the frame itself says. */
  const figuresOf = (cell, { value, last }) => {
    const row = last && value.table?.rows.find((one) => one.key === cell.key);
    if (!row) return [...cell.brief.map((b) => [b.label, `${b.text} ${b.note}`.trim(), false]), ["parameters", gm.big(cell.parameters), false]];
    const telling = gm.arenaTelling(value.table);
    const told = value.table.columns.filter(({ key, better }) => key === "parameters" || (better && key !== "rate"));
    return told.map(({ key, title, unit }) => {
      const found = row.cells[key];
      if (key === "parameters" || !found) return [title, found ? gm.big(found.value) : "—", false];
      return [title, plain(found.text) + (unit === "%" ? " %" : ""), found.best && telling.has(key)];
    });
  };
  /** Columns, rows and style of the figures that leave the largest pictures; larger words where they cost nothing. */
  const plan = (count, figures) => {
    const room = [WIDE - 2 * EDGE, HIGH - TOP - FOOT], found = [];
    for (const style of STYLES) {
      for (let columns = 1; columns <= count; columns++) {
        const rows = Math.ceil(count / columns), wide = (room[0] - GAP * (columns - 1)) / columns, lines = Math.ceil(figures / style.across);
        const side = Math.floor(Math.min(wide - 28, (room[1] - GAP * (rows - 1)) / rows - 66 - lines * style.line));
        if (wide < style.across * 190) continue;
        found.push({ ...style, columns, rows, wide: Math.min(wide, side + 260), side, high: side + 66 + lines * style.line });
      }
    }
    const most = Math.max(...found.map((one) => one.side)), best = found.find((one) => one.side >= 0.97 * most);
    const used = [best.columns * (best.wide + GAP) - GAP, best.rows * (best.high + GAP) - GAP];
    return { ...best, left: (WIDE - used[0]) / 2, top: TOP + (room[1] - used[1]) / 2 };
  };
  const one = (pen, cell, [x, y], { side, wide, high, across, line, size }, asked) => {
    const inner = wide - 28, room = (inner - 20 * (across - 1)) / across;
    pen.fillStyle = color("card"); pen.strokeStyle = color("line"); pen.lineWidth = 2;
    pen.beginPath(); pen.roundRect(x, y, wide, high, 14); pen.fill(); pen.stroke();
    const rate = cell.rate ? `${gm.big(+cell.rate.toPrecision(2))}/s` : "";
    const taken = text(pen, rate, x + wide - 14, y + 33, { size: 19, ink: "muted", align: "right" });
    text(pen, cell.title, x + 14, y + 34, { size: 24, weight: 700, most: inner - taken - 16 });
    pen.save();
    pen.translate(x + (wide - side) / 2, y + 46);
    gm.arenaPaint(pen, side, { real: asked.real, cell, show: asked.show, limit: asked.value.limit, color });
    pen.restore();
    figuresOf(cell, asked).forEach(([label, shown, best], k) => {
      const left = x + 14 + (k % across) * (room + 20), base = y + 46 + side + line * (Math.floor(k / across) + 0.95);
      const used = text(pen, shown, left + room, base, { size, weight: best ? 700 : 400, align: "right" });
      text(pen, label, left, base, { size, ink: "muted", most: room - used - 10, least: 17 });
    });
  };
  const footer = (pen, { value, last }) => {
    let x = EDGE;
    for (const [name, words] of [["real", "real"], ["generated", "generated"], ["critic", "critic's pull"]]) {
      pen.fillStyle = color(name);
      pen.beginPath(); pen.arc(x + 7, HIGH - 34, 7, 0, 7); pen.fill();
      x += 24 + text(pen, words, x + 22, HIGH - 27, { size: 20, ink: "muted" }) + 22;
    }
    const control = last && value.table?.rows.find((row) => row.control);
    const scale = control ? `${control.title}: ${value.table.columns.filter(({ key }) => control.cells[key]).map(({ key, title }) => `${title} ${plain(control.cells[key].text)}`).join(", ")}` : "";
    const floor = typeof value.data.floor === "number" ? `entropy floor ${value.data.floor.toFixed(3)} nats` : "";
    const words = [floor, scale, value.table ? `n = ${value.table.n.toLocaleString("en")}` : ""].filter(Boolean).join(" · ");
    text(pen, words, WIDE - EDGE, HIGH - 27, { size: 20, ink: "muted", align: "right", most: WIDE - 2 * EDGE - x });
  };

  /** frame: the one on screen; real: points behind; value: the newest update; last: it is the frame of the table; placed: "6.4 s of 10 s"; resolves to a PNG blob. */
  gm.arenaPicture = (asked) => {
    const { frame, value, placed, last } = asked, canvas = document.createElement("canvas"), pen = canvas.getContext("2d");
    canvas.width = WIDE; canvas.height = HIGH;
    pen.fillStyle = color("ground");
    pen.fillRect(0, 0, WIDE, HIGH);
    const title = value.data.title[0].toUpperCase() + value.data.title.slice(1);
    text(pen, `${title}: ${frame.cells.length === 1 ? "one model" : `${frame.cells.length} models`}, the same points and budget`, EDGE, 66, { size: 40, weight: 700, most: WIDE - 2 * EDGE - 220 });
    const budget = last ? `${gm.digits(frame.total)} ${frame.unit === "s" ? "s" : "steps"} of training each` : placed;
    const lesson = value.lesson ? `${value.lesson.title}${value.lesson.fixed ? `, fixed: ${value.lesson.fix}` : ""}` : "";
    text(pen, [lesson, budget, `seed ${value.seed}`].filter(Boolean).join(" · "), EDGE, 104, { size: 24, ink: "muted" });
    text(pen, "gen_models", WIDE - EDGE, 66, { size: 26, weight: 700, ink: "muted", align: "right" });
    const layout = plan(frame.cells.length, Math.max(...frame.cells.map((cell) => figuresOf(cell, asked).length)));
    frame.cells.forEach((cell, k) => {
      const at = [layout.left + (k % layout.columns) * (layout.wide + GAP), layout.top + Math.floor(k / layout.columns) * (layout.high + GAP)];
      one(pen, cell, at, layout, asked);
    });
    footer(pen, asked);
    return new Promise((done) => canvas.toBlob(done, "image/png"));
  };
})();
