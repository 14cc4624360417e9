/* What panels of pictures written pixel by pixel share: bytes, colours, a canvas of W x H sharp pixels, the pad. */
(() => {
  const gm = window.gm, el = gm.el;
  gm.raster = {
    UNWRITTEN: 128, // the byte of a pixel where nothing stands yet
    bytes: (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0)),
    coded: (bytes) => { let text = ""; for (const b of bytes) text += String.fromCharCode(b); return btoa(text); },
    /** Bits, the highest of a byte first, as an array of 0 and 1. */
    bits: (bytes) => Uint8Array.from({ length: 8 * bytes.length }, (_, k) => (bytes[k >> 3] >> (7 - (k & 7))) & 1),
    /** A colour of the theme as [r, g, b]. */
    rgb: (name) => { const c = gm.color(name); return [1, 3, 5].map((k) => parseInt(c.slice(k, k + 2), 16)); },
    mix: (a, b, t) => [0, 1, 2].map((c) => a[c] + (b[c] - a[c]) * t),
    grey: (v) => [v, v, v],
    /** Pixel k of a canvas of [rows, columns] in colour(k). */
    paint: (canvas, [rows, columns], colour) => {
      if (canvas.width !== columns || canvas.height !== rows) { canvas.width = columns; canvas.height = rows; }
      const pen = canvas.getContext("2d"), image = pen.createImageData(columns, rows);
      for (let k = 0; k < rows * columns; k++) {
        const [r, g, b] = colour(k);
        image.data[4 * k] = r; image.data[4 * k + 1] = g; image.data[4 * k + 2] = b; image.data[4 * k + 3] = 255;
      }
      pen.putImageData(image, 0, 0);
    },
    /** Puts a picture (bytes of rows x columns) on a pad; its Undo takes it back. */
    bring: (name, bytes, size, title) => {
      const pad = gm.pads[name];
      if (!pad) return;
      pad.state.past = [...pad.state.past.slice(-49), pad.state.now];
      pad.state.now = { strokes: [], file: { pixels: gm.raster.coded(bytes), size: [...size], name: title } };
      pad.set({});
    },
    /** The pixel under a pointer: [row, column], within the picture. */
    under: (event, box, [rows, columns]) => {
      const frame = box.getBoundingClientRect(), within = (x, n) => Math.max(0, Math.min(n - 1, Math.floor(x * n)));
      return [within((event.clientY - frame.top) / frame.height, rows), within((event.clientX - frame.left) / frame.width, columns)];
    },
    /** A figure with a head: {node, head, note}. */
    figure: (kind, title, colour, ...inside) => {
      const head = el("b", { style: colour ? `color: var(--gm-${colour})` : null, text: title }), note = el("span", { class: "gm-muted" });
      return { head, note, node: el("figure", { class: kind }, el("figcaption", {}, head, note), ...inside) };
    },
    check: (id, text, checked, onchange) => {
      const box = el("input", { type: "checkbox", id, onchange: () => onchange(box.checked) });
      box.checked = checked;
      return el("label", { class: "gm-raster-check", for: id }, box, el("span", { text }));
    },
    /** Asks until the server has time for it. */
    ask: async (serve, asked) => {
      for (;;) {
        const answer = await gm.ask(serve, asked);
        if (!answer.busy) return answer;
        await new Promise((done) => setTimeout(done, 60));
      }
    },
    /** Calls listen(pad, form) once both are on the page. */
    meet: (element, pad, form, listen) => {
      const wait = () => (gm.pads[pad] && gm.forms[form] ? listen(gm.pads[pad], gm.forms[form]) : element.isConnected && setTimeout(wait, 50));
      wait();
    },
  };
})();
