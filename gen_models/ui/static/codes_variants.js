/* Variants of a rewriting: the player's film, whose cells are the variants; one click takes one over.

   value is a film (ui/film.py) with {entry, variants: [{seed, codes}]}; the edit is gm.codeEdit's. */
window.gm.codevariants = (element, props, server, trigger, watch) => {
  const gm = window.gm, el = gm.el, host = el("div"), play = { value: gm.plain(props.value), empty: props.empty };
  let reload = () => {}, seen = null;
  const take = (k) => {
    const film = play.value, one = film?.variants?.[k], edit = film && gm.codeEdits[`${props.family} ${film.entry}`];
    if (one && !film.live && edit?.now()) edit.put(Object.fromEntries(one.codes.flat().entries()));
  };
  const single = el("button", { type: "button", class: "gm-button", text: "Take it over", id: `${props.family}-codes-take`, hidden: true, onclick: () => take(0) });
  element.classList.add("gm-codevariants");
  element.replaceChildren(host, single);
  host.addEventListener("click", (event) => {
    const cell = event.target.closest(".gm-cell");
    if (cell) take([...cell.parentElement.children].indexOf(cell));
  });
  const show = () => {
    const film = play.value;
    single.hidden = !film || film.live || film.variants.length > 1; // of a single one the player makes no button
    if (!film || film.id === seen) return;
    seen = film.id;
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches, form = `${props.family}-codes`;
    if (gm.running[form]) setTimeout(() => element.scrollIntoView({ block: "nearest", behavior: still ? "auto" : "smooth" }), 150); // once it stands there
  };
  gm.player(host, play, null, () => {}, (_, again) => { reload = again; });
  show();
  watch("value", () => { play.value = gm.plain(props.value); reload(); show(); });
};
