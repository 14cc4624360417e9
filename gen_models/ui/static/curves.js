/* Curves: named terms over steps on a canvas; thin axes, a label with the last value at the end of each line.

   const plot = gm.curves({label: "loss terms", id}); plot.node goes into the page;
   plot.draw({steps: [..], terms: {name: [..]}, total, cursor, yardsticks: {name: value}}) draws; null values are left
   out, cursor marks a step, yardsticks are dashed lines with their names. */
/** Round values of an axis from low to high, logarithmic or not. */
window.gm.ticks = (low, high, on) => {
  if (on) {
    const found = [];
    for (let e = Math.floor(Math.log10(low)); e <= Math.ceil(Math.log10(high)); e++) for (const m of [1, 2, 5]) found.push(m * 10 ** e);
    const inside = found.filter((y) => y >= low && y <= high);
    return inside.length > 6 ? inside.filter((y) => String(+y.toPrecision(1)).replace(/[0.e+-]/g, "")[0] === "1") : inside;
  }
  const rough = (high - low) / 4, unit = 10 ** Math.floor(Math.log10(rough)), step = [1, 2, 5, 10].find((m) => m * unit >= rough) * unit;
  return Array.from({ length: Math.floor(high / step) - Math.ceil(low / step) + 1 }, (_, k) => (Math.ceil(low / step) + k) * step);
};
window.gm.curves = ({ label = "curves", id = "" } = {}) => {
  const gm = window.gm, el = gm.el;
  const MEANS = {
    generator: "generated", discriminator: "critic", critic: "critic", "Wasserstein estimate": "critic", KL: "latent",
    "noise error": "latent", "velocity error": "latent", reconstruction: "real", "negative ELBO": "ink",
  };
  const SPARE = ["ink", "latent", "critic", "real", "generated"], DASHES = [[], [6, 4], [2, 3], [9, 3, 2, 3]];
  let data = null, log = null; // null: whichever suits
  const canvas = el("canvas", { class: "gm-loss-canvas", role: "img", "aria-label": label });
  const toggle = el("button", { type: "button", class: "gm-button gm-tight", id: `${id}-scale`, onclick: () => { log = !logarithmic(); paint(); } });
  const node = el("div", { class: "gm-loss" }, el("div", { class: "gm-loss-head" }, el("b", { text: "Loss terms" }), toggle), canvas);

  const bars = () => Object.entries(data?.yardsticks ?? {});
  const values = () => [...Object.values(data?.terms ?? {}).flat().filter((y) => y !== null), ...bars().map(([, y]) => y)];
  const possible = () => values().length > 0 && values().every((y) => y > 0);
  const logarithmic = () => {
    if (!possible()) return false;
    const all = values();
    return log ?? Math.max(...all) > 12 * Math.min(...all);
  };
  const styles = () => {
    const used = {};
    return Object.keys(data.terms).map((name) => {
      const free = SPARE.find((color) => !used[color] && !Object.entries(MEANS).some(([k, v]) => v === color && k in data.terms));
      const color = MEANS[name] ?? (/discriminator|critic/.test(name) ? "critic" : free ?? "muted");
      used[color] = (used[color] ?? 0) + 1;
      return { name, color: gm.color(color), dash: DASHES[(used[color] - 1) % DASHES.length] };
    });
  };
  const span = (on) => { // the first tenth may be far above the rest: a linear axis leaves that out
    const late = Object.values(data.terms).flatMap((ys) => (on ? ys : ys.slice(Math.floor(ys.length / 10)))).filter((y) => y !== null);
    late.push(...bars().map(([, y]) => y));
    let [low, high] = [Math.min(...late), Math.max(...late)];
    if (low === high) { low -= Math.abs(low) / 2 || 1; high += Math.abs(high) / 2 || 1; }
    if (on) return [low / 1.15, high * 1.15];
    const room = (high - low) * 0.06;
    return [low >= 0 ? Math.max(0, low - room) : low - room, high + room];
  };
  const paint = () => {
    const sharp = devicePixelRatio || 1, width = canvas.clientWidth, height = canvas.clientHeight;
    if (!width) return;
    canvas.width = width * sharp; canvas.height = height * sharp;
    const pen = canvas.getContext("2d"), on = logarithmic(), can = possible();
    pen.scale(sharp, sharp);
    toggle.textContent = on ? "Linear axis" : "Log axis";
    toggle.disabled = !can; toggle.title = can ? "" : "a logarithmic axis needs positive values";
    const font = "12.5px " + getComputedStyle(node).fontFamily, muted = gm.color("muted"), line = gm.color("line");
    pen.font = font;
    const filled = data && data.steps.length > 0 && values().length > 0;
    const shown = filled ? styles() : [];
    const text = ({ name }) => { const last = data.terms[name].findLast((y) => y !== null); return `${name} ${last === undefined ? "" : Math.abs(last) >= 1e6 ? last.toExponential(1) : gm.digits(last)}`; };
    const right = filled ? Math.min(width * 0.45, Math.max(...shown.map((s) => pen.measureText(text(s)).width)) + 14) : 12;
    const [left, top, bottom] = [46, 10, 28], w = width - left - right, h = height - top - bottom;
    const total = Math.max(1, data?.total ?? 1), [low, high] = filled ? span(on) : [0, 1];
    const to = on ? Math.log : (y) => y;
    const X = (step) => left + (step / total) * w, Y = (y) => top + h - ((to(y) - to(low)) / (to(high) - to(low))) * h;
    pen.lineWidth = 1; pen.textBaseline = "middle"; pen.fillStyle = muted;
    for (const y of filled ? gm.ticks(low, high, on) : []) {
      pen.strokeStyle = line; pen.beginPath(); pen.moveTo(left, Y(y)); pen.lineTo(left + w, Y(y)); pen.stroke();
      pen.textAlign = "right"; pen.fillText(gm.digits(+y.toPrecision(3)), left - 8, Y(y));
    }
    pen.strokeStyle = gm.color("edge"); pen.beginPath(); pen.moveTo(left, top); pen.lineTo(left, top + h); pen.lineTo(left + w, top + h); pen.stroke();
    pen.textAlign = "left"; pen.fillText("0", left, top + h + 16);
    pen.textAlign = "center"; pen.fillText("step", left + w / 2, top + h + 16);
    pen.textAlign = "right"; pen.fillText(filled || data ? String(total) : "", left + w, top + h + 16);
    if (!filled) { pen.textAlign = "center"; pen.fillText("The curves appear here while it trains.", left + w / 2, top + h / 2); return; }
    pen.save(); pen.beginPath(); pen.rect(left, top - 4, w + 2, h + 5); pen.clip();
    pen.setLineDash([5, 4]); pen.lineWidth = 1.25; pen.strokeStyle = pen.fillStyle = muted; pen.textAlign = "right"; pen.textBaseline = "bottom";
    for (const [name, y] of bars()) {
      pen.beginPath(); pen.moveTo(left, Y(y)); pen.lineTo(left + w, Y(y)); pen.stroke();
      pen.fillText(`${name} ${gm.digits(y)}`, left + w - 2, Y(y) - 2);
    }
    pen.textBaseline = "middle"; pen.setLineDash([]);
    pen.lineWidth = 1.75; pen.lineJoin = "round";
    for (const { name, color, dash } of shown) {
      pen.strokeStyle = color; pen.setLineDash(dash); pen.beginPath();
      let open = false;
      data.terms[name].forEach((y, k) => {
        if (y === null || y === undefined) return;
        if (open) pen.lineTo(X(data.steps[k]), Y(y)); else pen.moveTo(X(data.steps[k]), Y(y));
        open = true;
      });
      pen.stroke();
    }
    pen.setLineDash([3, 3]); pen.lineWidth = 1; pen.strokeStyle = muted;
    if (data.cursor !== undefined && data.cursor !== null) { pen.beginPath(); pen.moveTo(X(data.cursor), top); pen.lineTo(X(data.cursor), top + h); pen.stroke(); }
    pen.restore();
    const ends = shown.map((s) => ({ ...s, text: text(s), y: Math.min(top + h, Math.max(top, Y(data.terms[s.name].findLast((y) => y !== null) ?? low))) })).sort((a, b) => a.y - b.y);
    ends.forEach((end, k) => { if (k) end.y = Math.max(end.y, ends[k - 1].y + 16); });
    for (let k = ends.length - 1; k >= 0; k--) ends[k].y = Math.min(ends[k].y, (ends[k + 1]?.y ?? top + h + 16) - 16);
    const from = Math.min(X(data.steps.at(-1)) + 8, left + w + 8);
    pen.textAlign = "left";
    for (const end of ends) { pen.fillStyle = end.color; pen.fillText(end.text, from, end.y, width - from); }
    canvas.setAttribute("aria-label", `${label}: ${ends.map((end) => end.text).join(", ")} at step ${data.steps.at(-1)} of ${total}`);
  };
  const again = () => { if (!node.isConnected) { document.removeEventListener("gm:theme", again); watcher.disconnect(); } else paint(); };
  const watcher = new ResizeObserver(paint);
  watcher.observe(canvas);
  document.addEventListener("gm:theme", again);
  return { node, draw: (next) => { data = next; paint(); } };
};
