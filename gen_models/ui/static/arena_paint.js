/* Painting one model of the Arena, layers from the ground up: critic, density, real points, paths, samples, arrows.

   gm.arenaOpened(update)    what Python sent with its numbers decoded once: points are Int16Array pairs, 3000 = 1
   gm.arenaPaint(pen, side, {real, cell, show, limit, color, sharp})    a square of `side` device pixels at the pen's origin;
   `show` says which of samples, density, critic and paths are wanted; color(name) gives a semantic colour as "#rrggbb" */
(() => {
  const gm = window.gm, LEVELS = 6, FINE = 128, UNIT = 3000;

  /* ---- decoding ---- */
  const bytesOf = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const pairsOf = (text) => { const bytes = bytesOf(text); return new Int16Array(bytes.buffer, 0, bytes.length >> 1); };
  let lastText = "", lastPairs = null;
  /** The real points stay the same through a run: decoded once, so that what is drawn of them is kept. */
  const realOf = (text) => { if (text !== lastText) { lastText = text; lastPairs = pairsOf(text); } return lastPairs; };
  const opened = (cell) => ({
    ...cell,
    points: cell.points ? pairsOf(cell.points) : null,
    density: cell.density ? { side: cell.density.side, text: cell.density.bytes } : null,
    field: cell.field ? { side: cell.field.side, bytes: bytesOf(cell.field.bytes), arrows: pairsOf(cell.field.arrows) } : null,
    paths: cell.paths ? { ...cell.paths, points: pairsOf(cell.paths.points) } : null,
  });
  gm.arenaPairs = pairsOf;
  gm.arenaOpened = (update) => ({ ...update, real: update.real ? realOf(update.real.points) : null, cells: update.cells.map(opened) });

  /* ---- shades: a grid of bytes as a tint of one colour ---- */
  const rgb = (color) => [1, 3, 5].map((k) => parseInt(color.slice(k, k + 2), 16));
  const sheets = {};
  const sheet = (side) => (sheets[side] ??= Object.assign(document.createElement("canvas"), { width: side, height: side }));
  /** For each fine place along a side: the coarse cell before it, and how far it is to the next one. */
  const between = (side) => Array.from({ length: FINE }, (_, k) => {
    const at = Math.min(side - 1, Math.max(0, ((k + 0.5) / FINE) * side - 0.5)), low = Math.min(side - 2, Math.floor(at));
    return [low, at - low];
  });
  /** Bands with soft edges: 0 below half a level, then 1, 2, .. */
  const banded = (share) => { const t = share * LEVELS + 0.5, base = Math.floor(t); return base - 1 + Math.min(1, (t - base) * 5); };
  const contour = (canvas, { side, text }, color) => {
    const pen = canvas.getContext("2d"), picture = pen.createImageData(FINE, FINE), out = picture.data;
    const [r, g, b] = rgb(color), places = between(side), bytes = bytesOf(text);
    for (let y = 0, o = 0; y < FINE; y++) {
      const [row, down] = places[y];
      for (let x = 0; x < FINE; x++, o += 4) {
        const [column, right] = places[x], k = row * side + column;
        const top = bytes[k] * (1 - right) + bytes[k + 1] * right, low = bytes[k + side] * (1 - right) + bytes[k + side + 1] * right;
        const level = Math.max(0, banded((top * (1 - down) + low * down) / 255));
        out[o] = r; out[o + 1] = g; out[o + 2] = b; out[o + 3] = (level / LEVELS) * 95;
      }
    }
    pen.putImageData(picture, 0, 0);
  };
  const drawn = new Map(); // the last density of each model: it is renewed less often than the samples
  const bands = (pen, size, key, density, color) => {
    const now = `${color} ${density.text}`;
    if (!drawn.has(key)) drawn.set(key, { now: "", canvas: Object.assign(document.createElement("canvas"), { width: FINE, height: FINE }) });
    const kept = drawn.get(key);
    if (kept.now !== now) { kept.now = now; contour(kept.canvas, density, color); }
    pen.drawImage(kept.canvas, 0, 0, size, size);
  };
  const tint = (pen, size, { side, bytes }, color) => {
    const canvas = sheet(side), inner = canvas.getContext("2d"), picture = inner.createImageData(side, side);
    const [r, g, b] = rgb(color);
    bytes.forEach((v, k) => picture.data.set([r, g, b, v * 0.26], 4 * k));
    inner.putImageData(picture, 0, 0);
    pen.drawImage(canvas, 0, 0, size, size);
  };

  /* ---- points and lines ---- */
  const stamps = new Map(); // one drawn dot for each colour and radius
  const stamp = (color, radius) => {
    const key = `${color} ${radius}`;
    if (!stamps.has(key)) {
      const side = Math.ceil(radius) * 2 + 2, canvas = Object.assign(document.createElement("canvas"), { width: side, height: side });
      const pen = canvas.getContext("2d");
      pen.fillStyle = color;
      pen.beginPath(); pen.arc(side / 2, side / 2, radius, 0, 7); pen.fill();
      stamps.set(key, canvas);
    }
    return stamps.get(key);
  };
  const dots = (view, points, color, alpha, radius) => {
    const dot = stamp(color, radius), half = dot.width / 2;
    view.pen.globalAlpha = alpha;
    for (let k = 0; k + 1 < points.length; k += 2) view.pen.drawImage(dot, view.x(points[k]) - half, view.y(points[k + 1]) - half);
    view.pen.globalAlpha = 1;
  };
  const layers = new WeakMap(); // real points -> what is drawn of them, the same in every cell
  const behind = (view, points, color, alpha, radius) => {
    const now = `${view.size} ${color} ${alpha}`;
    if (layers.get(points)?.now !== now) {
      const canvas = Object.assign(document.createElement("canvas"), { width: view.size, height: view.size });
      dots({ ...view, pen: canvas.getContext("2d") }, points, color, alpha, radius);
      layers.set(points, { now, canvas });
    }
    view.pen.drawImage(layers.get(points).canvas, 0, 0);
  };
  const walks = (view, { count, length, points }, from, to) => {
    const { pen } = view;
    pen.lineWidth = view.sharp;
    pen.globalAlpha = 0.5;
    for (let p = 0; p < count; p++) {
      const at = 2 * p * length, end = at + 2 * (length - 1);
      const shade = pen.createLinearGradient(view.x(points[at]), view.y(points[at + 1]), view.x(points[end]), view.y(points[end + 1]));
      shade.addColorStop(0, from); shade.addColorStop(1, to);
      pen.strokeStyle = shade;
      pen.beginPath();
      for (let k = at; k <= end; k += 2) pen.lineTo(view.x(points[k]), view.y(points[k + 1]));
      pen.stroke();
    }
    pen.globalAlpha = 1;
    const starts = Int16Array.from({ length: 2 * count }, (_, k) => points[2 * length * (k >> 1) + (k & 1)]);
    dots(view, starts, from, 0.8, Math.max(1.2, 1.2 * view.sharp));
  };
  const arrows = (view, pairs, color) => {
    const { pen } = view, head = view.size / 42;
    pen.strokeStyle = pen.fillStyle = color;
    pen.lineWidth = 1.25 * view.sharp;
    for (let k = 0; k + 3 < pairs.length; k += 4) {
      const x = view.x(pairs[k]), y = view.y(pairs[k + 1]), tx = view.x(pairs[k + 2]), ty = view.y(pairs[k + 3]);
      const far = Math.hypot(tx - x, ty - y), turn = Math.atan2(ty - y, tx - x), tip = Math.min(head, far);
      if (far < view.sharp) continue;
      pen.beginPath(); pen.moveTo(x, y); pen.lineTo(tx - tip * 0.6 * Math.cos(turn), ty - tip * 0.6 * Math.sin(turn)); pen.stroke();
      pen.beginPath(); pen.moveTo(tx, ty);
      for (const side of [0.42, -0.42]) pen.lineTo(tx - tip * Math.cos(turn + side), ty - tip * Math.sin(turn + side));
      pen.fill();
    }
  };
  const outlines = (view, ellipses, color) => {
    const { pen } = view, to = (v) => v * UNIT;
    pen.strokeStyle = color;
    pen.lineWidth = view.sharp;
    for (const { weight, mean, axes: [a, b] } of ellipses) { // two standard deviations
      pen.globalAlpha = Math.min(0.9, 0.3 + 4 * weight);
      pen.beginPath();
      for (let k = 0; k <= 48; k++) {
        const c = 2 * Math.cos((k * Math.PI) / 24), s = 2 * Math.sin((k * Math.PI) / 24);
        pen.lineTo(view.x(to(mean[0] + c * a[0] + s * b[0])), view.y(to(mean[1] + c * a[1] + s * b[1])));
      }
      pen.stroke();
    }
    pen.globalAlpha = 1;
  };

  gm.arenaPaint = (pen, side, { real, cell, show, limit, color, sharp = 1 }) => {
    const scale = side / (2 * limit * UNIT);
    const view = { pen, sharp, size: side, x: (v) => side / 2 + v * scale, y: (v) => side / 2 - v * scale };
    const radius = sharp * Math.max(1.4, Math.sqrt(side / sharp) / 10), seen = (layer, key) => (show[key] ? cell?.[layer] : null);
    pen.save();
    pen.beginPath(); pen.rect(0, 0, side, side); pen.clip();
    pen.imageSmoothingEnabled = true;
    if (seen("field", "critic")) tint(pen, side, cell.field, color("critic"));
    if (seen("density", "density")) bands(pen, side, cell.key, cell.density, color("generated"));
    if (real) behind(view, real, color("real"), cell?.points ? 0.32 : 0.45, radius);
    if (seen("paths", "paths")) walks(view, cell.paths, color("latent"), color("generated"));
    if (seen("points", "samples")) dots(view, cell.points, color("generated"), 0.75, radius);
    if (seen("ellipses", "density")) outlines(view, cell.ellipses, color("generated"));
    if (seen("field", "critic")) arrows(view, cell.field.arrows, color("critic"));
    pen.restore();
  };
})();
