/* What a round of EM looks like: points in the colours of their components, ellipses on their way, the log-likelihood.

   film: {points: Float32Array (count, 2), owners: Uint8Array (rounds, count, 3: two components, share of 255), k, rounds,
   components: Float32Array (rounds + 1, k, 6: weight, mean, covariance xx xy yy), nats, held, others, truth, view}.
   place: where the film is. 0 is the start, odd halves are E, even ones M; what lies between two is on its way. */
window.gm.roundsPicture = (canvas, props) => {
  const gm = window.gm;
  const palette = () => gm.plain(props.palette[document.body.classList.contains("dark") ? "dark" : "light"]);
  const rgb = (hex) => [1, 3, 5].map((k) => parseInt(hex.slice(k, k + 2), 16));
  const between = (a, b, t) => a + (b - a) * t;

  /** Colour of every point, and how sure it is of its first component; grey before the first E. */
  const mixes = (film, half) => {
    const count = film.points.length / 2, grey = rgb(gm.color("muted"));
    if (half < 1) return Array.from({ length: count }, () => ({ color: grey, sure: 1 }));
    const colors = palette().map(rgb), from = Math.floor((half - 1) / 2) * count * 3;
    return Array.from({ length: count }, (_, n) => {
      const [a, b, share] = film.owners.subarray(from + 3 * n, from + 3 * n + 3), sure = share / 255;
      const one = colors[a % colors.length], two = colors[b % colors.length];
      return { color: one.map((c, k) => between(two[k], c, sure)), sure };
    });
  };
  const mixed = (film, half, t) => {
    const now = mixes(film, half);
    if (half % 2 === 0 || t >= 1) return now;
    return mixes(film, half - 1).map((before, n) => ({
      color: before.color.map((c, k) => between(c, now[n].color[k], t)), sure: between(before.sure, now[n].sure, t) }));
  };
  /** The components, on their way from the round before. */
  const parts = (film, half, t) => {
    const size = film.k * 6, round = Math.floor(half / 2), to = film.components.subarray(round * size, (round + 1) * size);
    if (half % 2 || half === 0 || t >= 1) return to;
    const from = film.components.subarray((round - 1) * size, round * size);
    return to.map((value, k) => between(from[k], value, t));
  };

  /* ---- drawing ---- */
  let pen, side, at;
  const dots = (xy, mix) => {
    const ink = gm.color("ink");
    for (let n = 0; n < mix.length; n++) {
      pen.beginPath(); pen.arc(at.x(xy[2 * n]), at.y(xy[2 * n + 1]), side / 200, 0, 7);
      pen.fillStyle = `rgb(${mix[n].color.map(Math.round).join(" ")})`; pen.globalAlpha = 0.8; pen.fill();
      if (mix[n].sure < props.sure) { pen.globalAlpha = 0.75; pen.strokeStyle = ink; pen.lineWidth = side / 450; pen.stroke(); }
    }
    pen.globalAlpha = 1;
  };
  const trails = (film, half, now, colors) => { // where the means have been
    const rounds = Math.ceil(half / 2) + (half % 2 === 0 && half > 0 ? 0 : 1);
    pen.lineWidth = side / 350; pen.globalAlpha = 0.7;
    for (let k = 0; k < film.k; k++) {
      pen.strokeStyle = colors[k % colors.length]; pen.beginPath();
      for (let r = 0; r < rounds; r++) { const p = (r * film.k + k) * 6; pen.lineTo(at.x(film.components[p + 1]), at.y(film.components[p + 2])); }
      pen.lineTo(at.x(now[6 * k + 1]), at.y(now[6 * k + 2]));
      pen.stroke();
    }
    pen.globalAlpha = 1;
  };
  const axes = (xx, xy, yy) => { // of a covariance: half axes and the angle of the first
    const mean = (xx + yy) / 2, apart = Math.hypot((xx - yy) / 2, xy);
    return [Math.sqrt(Math.max(0, mean + apart)), Math.sqrt(Math.max(0, mean - apart)), Math.atan2(xy, (xx - yy) / 2) / 2];
  };
  const ellipses = (film, now, colors) => {
    const numbers = Array.from({ length: film.k }, (_, k) => k).sort((a, b) => now[6 * a] - now[6 * b]), most = now[6 * numbers.at(-1)];
    const strength = (k) => 0.3 + 0.7 * Math.sqrt(now[6 * k] / most);
    for (const k of numbers) {
      const [, x, y, ...spread] = now.subarray(6 * k, 6 * k + 6), [a, b, angle] = axes(...spread);
      pen.fillStyle = pen.strokeStyle = colors[k % colors.length];
      for (const [deviations, width, fill, line] of [[2, 1.25, 0.06, 0.7], [1, 2.5, 0.1, 1]]) {
        pen.beginPath(); pen.ellipse(at.x(x), at.y(y), deviations * a * at.scale, deviations * b * at.scale, -angle, 0, 7);
        pen.globalAlpha = fill * strength(k); pen.fill();
        pen.globalAlpha = line * strength(k); pen.lineWidth = (width * side) / 600; pen.stroke();
      }
    }
    for (const k of numbers) number(k, at.x(now[6 * k + 1]), at.y(now[6 * k + 2]), colors[k % colors.length], film.k > 24 ? side / 90 : Math.max(side / 62, 7.5 * (devicePixelRatio || 1)), strength(k));
    pen.globalAlpha = 1;
  };
  const number = (k, x, y, color, radius, strength) => {
    const [r, g, b] = rgb(color);
    pen.globalAlpha = Math.max(0.6, strength);
    pen.beginPath(); pen.arc(x, y, radius, 0, 7); pen.fillStyle = color; pen.fill();
    pen.lineWidth = side / 500; pen.strokeStyle = gm.color("card"); pen.stroke();
    pen.globalAlpha = 1; pen.fillStyle = 0.299 * r + 0.587 * g + 0.114 * b > 140 ? "#111318" : "#ffffff";
    pen.font = `700 ${radius * 1.15}px ${getComputedStyle(canvas).fontFamily}`;
    pen.textAlign = "center"; pen.textBaseline = "middle"; pen.fillText(String(k + 1), x, y + radius * 0.06);
  };
  const begin = (view) => {
    side = Math.round(canvas.clientWidth * (devicePixelRatio || 1));
    if (!side) return false;
    if (canvas.width !== side) canvas.width = canvas.height = side;
    pen = canvas.getContext("2d"); pen.clearRect(0, 0, side, side);
    const [x, y, reach] = view, scale = side / (2 * reach);
    at = { x: (v) => (v - x + reach) * scale, y: (v) => (y + reach - v) * scale, scale };
    return true;
  };
  return {
    /** Points alone, before there is a run. */
    rest: (xy, view) => { if (begin(view)) { const color = rgb(gm.color("real")); dots(xy, Array.from({ length: xy.length / 2 }, () => ({ color, sure: 1 }))); } },
    draw: (film, place) => {
      if (!begin(film.view)) return;
      const half = Math.ceil(place), t = place - half + 1, colors = palette(), now = parts(film, half, t);
      dots(film.points, mixed(film, half, t));
      trails(film, half, now, colors);
      ellipses(film, now, colors);
    },
    /** Points that no component explains alone. */
    undecided: (film, half) => mixes(film, half).filter((one) => one.sure < props.sure).length,
    /** The component that the M of this half moved furthest, and how far. */
    furthest: (film, half) => {
      const before = parts(film, half - 2, 1), now = parts(film, half, 1);
      const far = Array.from({ length: film.k }, (_, k) => Math.hypot(now[6 * k + 1] - before[6 * k + 1], now[6 * k + 2] - before[6 * k + 2]));
      const most = Math.max(...far);
      return [far.indexOf(most), most];
    },
  };
};
/** The log-likelihood over rounds: every start, held-out points, the true density; a cursor at `round`. */
window.gm.roundsCurve = (canvas, film, round) => {
  const gm = window.gm, sharp = devicePixelRatio || 1, width = canvas.clientWidth, height = canvas.clientHeight;
  if (!width) return;
  canvas.width = width * sharp; canvas.height = height * sharp;
  const pen = canvas.getContext("2d");
  pen.scale(sharp, sharp); pen.font = `12.5px ${getComputedStyle(canvas).fontFamily}`; pen.textBaseline = "middle";
  const write = (text, x, y, align, color) => { pen.textAlign = align; pen.fillStyle = gm.color(color); pen.fillText(text, x, y); };
  const lines = !film ? [] : [
    ...film.others.map((values) => ({ values, color: "edge", thick: 0.75 })),
    ...(film.truth === null ? [] : [{ name: "true", values: Array(film.rounds + 1).fill(film.truth), color: "real", thick: 1.5, dash: [5, 4] }]),
    ...(film.held ? [{ name: "held out", values: film.held, color: "generated", thick: 1.75 }] : []),
    { name: "training", values: film.nats, color: "latent", thick: 2.25 }];
  const named = lines.filter((one) => one.name);
  const [left, top, bottom] = [48, 24, 24], right = 12 + Math.max(0, ...named.map((one) => pen.measureText(one.name).width));
  const w = width - left - right, h = height - top - bottom;
  write("log-likelihood per point, nats", 0, 7, "left", "ink");
  const late = Math.min(3, Math.floor(((film?.rounds ?? 0)) / 8)); // a bad start would press the rest against the top
  const all = named.flatMap((one) => one.values.slice(late));
  const room = Math.max(0.02, (Math.max(...all) - Math.min(...all)) * 0.08), low = Math.min(...all) - room, high = Math.max(...all) + room;
  const X = (r) => left + (r / film.rounds) * w, Y = (v) => top + h - ((v - low) / (high - low)) * h;
  pen.lineWidth = 1;
  for (const v of film ? gm.ticks(low, high, false) : []) {
    pen.strokeStyle = gm.color("line"); pen.beginPath(); pen.moveTo(left, Y(v)); pen.lineTo(left + w, Y(v)); pen.stroke();
    write(String(+v.toFixed(3)).replace("-", "−"), left - 8, Y(v), "right", "muted");
  }
  pen.strokeStyle = gm.color("edge"); pen.beginPath(); pen.moveTo(left, top); pen.lineTo(left, top + h); pen.lineTo(left + w, top + h); pen.stroke();
  if (!film) return write("It appears here, and never falls.", left + w / 2, top + h / 2, "center", "muted");
  write("0", left, top + h + 15, "left", "muted"); write(`${film.rounds} rounds`, left + w, top + h + 15, "right", "muted");
  pen.save(); pen.beginPath(); pen.rect(left, top, w + 8, h + 1); pen.clip(); pen.lineJoin = "round";
  for (const { values, color, thick, dash } of lines) {
    pen.strokeStyle = gm.color(color); pen.lineWidth = thick; pen.setLineDash(dash ?? []); pen.beginPath();
    values.slice(0, film.rounds + 1).forEach((v, r) => pen.lineTo(X(r), Y(v)));
    pen.stroke();
  }
  pen.setLineDash([3, 3]); pen.lineWidth = 1; pen.strokeStyle = gm.color("muted");
  pen.beginPath(); pen.moveTo(X(round), top); pen.lineTo(X(round), top + h); pen.stroke(); pen.setLineDash([]);
  const r = Math.floor(round), value = film.nats[r] + (film.nats[Math.min(r + 1, film.rounds)] - film.nats[r]) * (round - r);
  pen.fillStyle = gm.color("latent"); pen.beginPath(); pen.arc(X(round), Math.min(top + h, Y(value)), 4.5, 0, 7); pen.fill();
  pen.restore();
  const ends = named.map((one) => ({ ...one, y: Y(one.values.at(-1)) })).sort((a, b) => a.y - b.y);
  ends.forEach((end, k) => { if (k) end.y = Math.max(end.y, ends[k - 1].y + 15); });
  for (let k = ends.length - 1; k >= 0; k--) ends[k].y = Math.min(ends[k].y, (ends[k + 1]?.y ?? top + h + 15) - 15);
  for (const end of ends) write(end.name, left + w + 8, end.y, "left", end.color);
  canvas.setAttribute("aria-label", `log-likelihood per point over ${film.rounds} rounds: from ${film.nats[0].toFixed(3)} to ${film.nats.at(-1).toFixed(3)} nats`);
};
