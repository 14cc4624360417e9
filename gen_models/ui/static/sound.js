/* Sound with a roll: an audio element whose place is the roll's play head, and files that the server wrote.

   const sound = gm.sound({id, roll}): sound.node (the audio element) into the page.
     sound.load(path, tempo, {play, at}): a WAV that the server wrote; `at` is a place in sixteenths, by default where it
       was; it goes on playing if it was, or where `play`. sound.seek(step), sound.clear().
   gm.fileUrl(path) is where Gradio serves a file; gm.saveUrl(url, name) saves it. */
(() => {
  const gm = window.gm, el = gm.el;
  gm.fileUrl = (path) => `${(window.gradio_config?.root ?? "").replace(/\/$/, "")}${window.gradio_config?.api_prefix ?? "/gradio_api"}/file=${path}`;
  gm.saveUrl = (url, name) => { const link = el("a", { href: url, download: name }); document.body.append(link); link.click(); link.remove(); };

  gm.sound = ({ id, roll }) => {
    const audio = el("audio", { controls: true, preload: "auto", id: `${id}-audio`, class: "gm-sound", "aria-label": "the piece as sound" });
    let tempo = 100, end = Infinity, ticking = false, wanted = 0;
    const sixteenth = () => 15 / tempo; // seconds
    const show = () => roll.head(audio.getAttribute("src") ? Math.min(end, audio.currentTime / sixteenth()) : null, !audio.paused);
    const tick = () => {
      if (!audio.isConnected || audio.offsetParent === null) { audio.pause(); ticking = false; return; }
      show();
      if (audio.paused || audio.ended) ticking = false; else requestAnimationFrame(tick);
    };
    const run = () => { if (!ticking) { ticking = true; requestAnimationFrame(tick); } };
    for (const event of ["play", "playing", "seeked", "timeupdate", "pause", "ended"]) audio.addEventListener(event, run);
    const play = () => audio.play()?.catch(() => { /* the browser wants a click first: the controls are there */ });
    return {
      node: audio,
      load: (path, next, { play: begin = false, at = null, steps = Infinity } = {}) => {
        const mine = ++wanted, on = begin || !(audio.paused || audio.ended), here = at ?? (audio.getAttribute("src") ? audio.currentTime / sixteenth() : 0);
        tempo = next; end = steps;
        audio.src = gm.fileUrl(path);
        audio.dataset.tempo = next;
        audio.addEventListener("loadedmetadata", () => {
          if (mine !== wanted) return;
          audio.currentTime = here >= steps ? 0 : here * sixteenth();
          if (on) play(); else show();
        }, { once: true });
        audio.load();
      },
      seek: (step) => { if (audio.getAttribute("src")) { audio.currentTime = step * sixteenth(); show(); } },
      playing: () => !audio.paused && !audio.ended,
      toggle: () => { if (audio.paused) play(); else audio.pause(); },
      clear: () => { wanted++; audio.pause(); audio.removeAttribute("src"); audio.load(); roll.head(null); },
    };
  };
})();
