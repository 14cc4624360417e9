/* Frames: what the tracks of a film hold, opened once, and drawn by whoever shows them (player.js, timeline.js).

   A track (player.js says what it is) opens to {frame(k), points}: frame(k) is null where there is none, else
     [image, x, y, width, height] of a picture, or {values, from, count} of a cloud of points.
   A track made of others': parts: [{track, from, count, first}]: its frames from .. are those of `track` at first .. */
(() => {
  const gm = window.gm, known = new WeakMap();
  const picture = async (url) => { const image = new Image(); image.src = url; await image.decode(); return image; };
  const numbers = (packed) => {
    const bytes = Uint8Array.from(atob(packed.data), (c) => c.charCodeAt(0));
    return { values: new Int16Array(bytes.buffer), count: packed.count };
  };
  const opened = async (track) => {
    if (track.parts) {
      const parts = await Promise.all(track.parts.map(async (part) => ({ ...part, media: await open(part.track) })));
      return { frame: (k) => { const part = parts.find((p) => k >= p.from && k < p.from + p.count); return part ? part.media.frame(part.first + k - part.from) : null; } };
    }
    const gaps = track.gaps ?? [], own = (k) => (gaps.includes(k) ? -1 : k - gaps.filter((gap) => gap < k).length);
    if (track.sheet) {
      const { columns, size: [w, h], url } = track.sheet, image = await picture(url);
      return { frame: (k) => { const j = own(k); return j < 0 ? null : [image, (j % columns) * w, Math.floor(j / columns) * h, w, h]; } };
    }
    if (track.frames) {
      const images = await Promise.all(track.frames.map(picture));
      return { frame: (k) => { const image = images[own(k)]; return image ? [image, 0, 0, image.naturalWidth, image.naturalHeight] : null; } };
    }
    if (!track.points) return { frame: () => null };
    const { values, count } = numbers(track.points), length = values.length / (2 * count);
    return { frame: (k) => { const j = own(k); return j < 0 || j >= length ? null : { values, from: 2 * count * j, count }; } };
  };
  /** A track's frames; the same object is opened once. */
  const open = (track) => { if (!known.has(track)) known.set(track, opened(track)); return known.get(track); };
  /** A cloud of points on a square canvas. */
  const dots = (pen, { values, from, count }, color, alpha, radius, side) => {
    const to = (v) => ((v / 32767 + 1) / 2) * side;
    pen.fillStyle = gm.color(color);
    pen.globalAlpha = alpha;
    for (let k = from; k < from + 2 * count; k += 2) {
      if (Math.abs(values[k]) >= 32767 || Math.abs(values[k + 1]) >= 32767) continue; // outside
      pen.beginPath(); pen.arc(to(values[k]), to(-values[k + 1]), radius, 0, 7); pen.fill();
    }
    pen.globalAlpha = 1;
  };
  /** Sample c of a frame, as drawImage takes it. */
  const cut = ([image, x, y, w, h], cells, c) => {
    if (!cells) return [image, x, y, w, h];
    const [cw, ch] = cells.size, gap = cells.gap ?? 0;
    return [image, x + (c % cells.columns) * (cw + gap), y + Math.floor(c / cells.columns) * (ch + gap), cw, ch];
  };
  /** Sample `cell` of a frame as a thumbnail of its own size; of points all. */
  const mini = (canvas, frame, track, cell) => {
    const part = Array.isArray(frame) ? cut(frame, track.cells, cell) : null;
    [canvas.width, canvas.height] = part ? part.slice(3) : [96, 96];
    const pen = canvas.getContext("2d");
    if (part) pen.drawImage(...part, 0, 0, canvas.width, canvas.height);
    else dots(pen, frame, track.colour, 0.5, 0.9, 96);
  };
  gm.frames = { open, numbers, dots, cut, mini };
})();
