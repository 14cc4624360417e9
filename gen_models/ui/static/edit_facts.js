/* Below the film of an edit: a result to go on with; of an inversion the noise, its statistics and what came back.

   value (ui/edit_films.py: Edited.facts), pad, form come from Python. */
(() => {
  const gm = window.gm, el = gm.el, SIDE = 132, EDGE = 4;

  /** The noise's quantiles over those of N(0, 1): on the diagonal it is normal. */
  const quantiles = ({ quantiles: pairs, deviation }) => {
    const most = Math.max(2.6, ...pairs.map((p) => Math.abs(p[1])));
    const to = (v) => EDGE + ((v + most) / (2 * most)) * (SIDE - 2 * EDGE);
    return el("svg", { class: "gm-edit-qq", width: SIDE, height: SIDE, viewBox: `0 0 ${SIDE} ${SIDE}`, role: "img",
      "aria-label": `quantiles of the noise over those of a normal distribution; standard deviation ${deviation.toFixed(2)}` },
    el("line", { class: "gm-edit-diagonal", x1: to(-most), y1: to(most), x2: to(most), y2: to(-most) }),
    el("path", { class: "gm-edit-line", d: `M${pairs.map(([x, y]) => `${to(x).toFixed(1)} ${to(-y).toFixed(1)}`).join("L")}` }));
  };

  gm.edit_facts = (element, props, server, trigger, watch) => {
    const id = props.form;
    element.classList.add("gm-edit-facts");
    const figure = (title, colour, url, alt, note) => el("figure", {}, el("figcaption", {}, el("b", { style: `color: var(--gm-${colour})`, text: title })),
      el("img", { class: "gm-sharp-large", src: url, alt }), note ? el("small", { class: "gm-muted", text: note }) : null);
    const fact = (name, value, about) => el("div", { title: about ?? "" }, el("dt", { text: name }), el("dd", { text: value }));
    const inversion = (v) => {
      const give = (x) => gm.digits(+x.toPrecision(2)), figures = [
        fact("mean", v.mean.toFixed(3), "of a normal draw: 0"), fact("deviation", v.deviation.toFixed(3), "of a normal draw: 1"),
        fact("norm / √D", v.norm.toFixed(3), `of a normal draw: 1; D = ${v.size}`)];
      if (v.rmse !== undefined) figures.push(fact("RMSE", v.rmse.toPrecision(2), "pixels from 0 to 1"), fact("largest", v.most.toPrecision(2), "pixels from 0 to 1"), fact("PSNR", `${v.psnr.toFixed(1)} dB`));
      const flat = v.deviation < 0.9 ? `Narrower than a normal draw: where the data is flat, as on an even ground, the walk leaves no noise behind. Expected is 1 ± ${give(1 / Math.sqrt(2 * v.size))}.`
        : `Of a normal draw: mean 0 ± ${give(1 / Math.sqrt(v.size))}, deviation 1 ± ${give(1 / Math.sqrt(2 * v.size))}.`;
      const shown = [figure("its noise", "latent", v.noise, "the noise that the picture became"),
        el("figure", {}, el("figcaption", {}, el("b", { style: "color: var(--gm-latent)", text: "quantiles" })), quantiles(v), el("small", { class: "gm-muted", text: "dashed: normal" }))];
      if (v.rmse !== undefined) shown.push(figure("back again", "generated", v.back, "what came back from the noise"),
        figure("difference", "ink", v.difference, `what came back minus the picture; colours are full at ${v.spread}`, `full colour at ±${v.spread}`));
      return el("div", { class: "gm-edit-inversion" }, el("div", { class: "gm-edit-shown" }, ...shown),
        el("div", { class: "gm-edit-numbers" }, el("dl", {}, ...figures), el("p", { class: "gm-muted", text: flat })));
    };
    const take = async (cell) => {
      const answer = await gm.ask(server.take, { cell });
      if (!answer.value) return gm.tell?.(answer.error ?? "The server is busy: try again in a moment.");
      gm.raster.bring(props.pad, gm.raster.bytes(answer.value.pixels), answer.value.size, answer.value.name);
      gm.tell?.("The result is the picture now. Undo on the pad takes it back.");
    };
    const draw = () => {
      const v = gm.plain(props.value);
      element.dataset.done = v?.done ? "true" : "";
      if (!v) return element.replaceChildren();
      const bar = el("div", { class: "gm-row gm-edit-take" }, el("button", {
        type: "button", class: "gm-button", id: `${id}-take`, text: v.count > 1 ? "Go on from the chosen result" : "Go on from the result",
        onclick: () => take(Math.min(v.count - 1, gm.films[v.film]?.cell ?? 0)) }),
      el("span", { class: "gm-muted", text: v.count > 1 && !v.inversion ? "Click a result to choose it; it becomes the picture that is edited." : "It becomes the picture that is edited." }));
      const able = !v.inversion || v.count === 1;
      element.replaceChildren(...(v.inversion ? [inversion(v.inversion)] : []), ...(able ? [bar] : []));
    };
    draw();
    watch("value", draw);
  };
})();
