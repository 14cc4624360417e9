/* A picture holds its recipe: open it, or drop it anywhere, and the controls are as they were. */
(() => {
  const gm = window.gm;
  /** The text chunks of a PNG: {keyword: text}; {} for anything else. */
  gm.chunks = (buffer) => {
    const view = new DataView(buffer), found = {}, bytes = new Uint8Array(buffer);
    if (buffer.byteLength < 8 || view.getUint32(0) !== 0x89504e47) return found;
    for (let at = 8; at + 12 <= buffer.byteLength;) {
      const size = view.getUint32(at), kind = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
      const body = bytes.subarray(at + 8, at + 8 + size), end = body.indexOf(0);
      if (kind === "tEXt" && end > 0) found[new TextDecoder("latin1").decode(body.subarray(0, end))] = new TextDecoder("latin1").decode(body.subarray(end + 1));
      if (kind === "iTXt" && end > 0 && body[end + 1] === 0) { // uncompressed: two flags, then language and translated keyword
        const language = body.indexOf(0, end + 3), keyword = body.indexOf(0, language + 1);
        found[new TextDecoder().decode(body.subarray(0, end))] = new TextDecoder().decode(body.subarray(keyword + 1));
      }
      at += 12 + size;
    }
    return found;
  };
  /** Puts entry and controls where a recipe says; resolves to "" or to what went wrong. */
  gm.restore = async (recipe) => {
    const { entry, version, panel = "sample", form: name = panel, ...values } = recipe;
    const family = Object.keys(gm.entries).find((key) => gm.entries[key].includes(entry))
      ?? Object.keys(gm.strips).find((key) => gm.strips[key].has(entry));
    if (!family) return `This picture was made by ${entry}, which is not in this playground.`;
    if (!(await gm.open(family, entry))) return `${entry} has no checkpoint here, so its settings cannot be used.`;
    const place = `${family}-${name}`, tab = document.getElementById(`${family}-${panel}-button`);
    tab?.click();
    if (name !== panel) (await gm.until(() => document.getElementById(`${place}-button`)))?.click(); // a tab within the panel
    const form = await gm.until(() => { const f = gm.forms[place]; return f?.ready && f.element.isConnected && f.entry() === entry && f; });
    if (!form) return "The controls did not appear in time: try once more.";
    form.fill({ label: "any", ...values, ...(values.label === null ? { label: "any" } : {}) });
    return "";
  };
  gm.openPicture = async (file, tell) => {
    if (file.size > 64 * 2 ** 20) return tell("This file is too large to be a saved picture.");
    const text = gm.chunks(await file.arrayBuffer()).parameters;
    let recipe = null;
    try { recipe = JSON.parse(text); } catch { /* told below */ }
    if (typeof recipe?.entry !== "string") return tell(`${file.name} holds no recipe of this playground: drop a PNG that was saved here.`);
    tell((await gm.restore(recipe)) || `Restored from ${file.name}: press Generate.`);
  };
})();
