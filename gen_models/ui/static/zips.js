/* A button that brings a zip of pictures to the server, and says what is in it.

   const zip = gm.zipChooser({id, slot, text, note, bring, upload, asked, onread}); zip.node goes into the page.
   slot: as what the visit keeps it (panels/sources.py: ZIPS); bring: the server function; upload: Gradio's; asked():
   what else it is told; onread(answer) gets {line, real, said}. say(line) puts what is in it below the button.
   A file dropped on `zip.node` comes the same way. */
window.gm.zipChooser = ({ id, slot, text, note, bring, upload, asked = () => ({}), onread }) => {
  const gm = window.gm, el = gm.el, MOST = 64;
  const suffix = slot.replace("zip", "");
  const file = el("input", { type: "file", accept: ".zip,application/zip", id: `${id}-${slot}`, class: "gm-hidden", tabindex: -1, "aria-hidden": "true" });
  const told = el("p", { class: "gm-muted", text: note }), wrong = el("p", { class: "gm-wrong", role: "alert", hidden: true, id: `${id}-${slot}-message` });
  const choose = el("button", { type: "button", class: "gm-button", text, id: `${id}-upload${suffix}`, onclick: () => file.click() });
  const node = el("div", { class: "gm-zip" }, choose, file, told, wrong);
  const fail = (message) => { wrong.textContent = message; wrong.hidden = !message; };
  const take = async (given) => {
    if (!given) return;
    fail("");
    if (!given.size) return fail(`${given.name} is empty. Choose a zip file of pictures.`);
    if (given.size > MOST * 2 ** 20) return fail(`${given.name} is larger than ${MOST} MB. Put fewer or smaller pictures into it.`);
    choose.disabled = true; choose.textContent = "Reading …";
    try {
      const sent = await upload(given);
      let answer = await gm.ask(bring, { path: sent.path ?? sent, name: given.name, slot, ...asked() });
      while (answer.busy || answer.value?.waiting) {
        await new Promise((done) => setTimeout(done, 300));
        answer = await gm.ask(bring, { slot });
      }
      if (answer.error) fail(answer.error); else onread(gm.plain(answer.value));
    } catch (error) { fail(`${given.name} could not be sent: ${error.message ?? error}`); }
    choose.disabled = false; choose.textContent = text;
  };
  file.onchange = () => { take(file.files[0]); file.value = ""; };
  node.ondragover = (event) => event.preventDefault();
  node.ondrop = (event) => { event.preventDefault(); take(event.dataTransfer.files[0]); };
  return { node, say: (line) => { told.textContent = line || note; } };
};
