/* What every component shares: small DOM makers, the theme, the keys, the visit's key, the pump of live calls. */
window.gm = (() => {
  const gm = { running: {}, lastSeed: {}, components: {} };

  /** An element: gm.el("button", {class: "x", onclick: f, text: "Go"}, child, ...). */
  gm.el = (tag, attributes = {}, ...children) => {
    const svg = ["svg", "path", "line", "circle", "text", "g", "rect"].includes(tag);
    const node = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (value === null || value === undefined || value === false) continue;
      if (name === "text") node.textContent = value;
      else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else if (name === "value") node.value = value;
      else node.setAttribute(name, value === true ? "" : value);
    }
    node.append(...children.filter((child) => child !== null && child !== undefined));
    return node;
  };
  /** At most three significant digits, no trailing zeros. */
  gm.digits = (x) => (Number.isInteger(x) ? String(x) : String(+x.toPrecision(3)));
  gm.big = (x) => (x >= 1e6 ? `${gm.digits(x / 1e6)} M` : x >= 1e3 ? `${gm.digits(+(x / 1e3).toPrecision(3))} k` : gm.digits(+x.toPrecision(3)));
  gm.color = (name) => getComputedStyle(document.body).getPropertyValue(`--gm-${name}`).trim();
  gm.plain = (value) => JSON.parse(JSON.stringify(value ?? null));

  /* ---- the visit: its key travels with every live call -------------------------------------------------------- */
  let known;
  gm.visit = new Promise((resolve) => (known = resolve));
  /** Asks a server function; resolves to {value}, {error} or {busy}. */
  gm.ask = async (serve, asked = {}) => {
    const answer = await serve({ ...asked, visit: await gm.visit });
    return answer ?? { error: "The server does not answer. Is it still running?" };
  };
  /**
   * The pump: `put(asked)` as often as you like. The newest wins, up to four calls are in flight, answers that come
   * out of order are dropped. show(value, asked) draws, fail(message) tells.
   */
  gm.pump = (serve, show, fail, window = 4) => {
    let wanted = null, flying = 0, sent = 0, shown = 0;
    const go = () => {
      while (wanted !== null && flying < window) {
        const asked = wanted, mine = ++sent;
        wanted = null;
        flying++;
        gm.ask(serve, asked).then((answer) => {
          if (answer.busy) { if (wanted === null && mine === sent) { wanted = asked; setTimeout(go, 60); } return; }
          if (mine < shown) return;
          shown = mine;
          if (answer.error) fail(answer.error); else show(answer.value, asked);
        }).catch((error) => fail(String(error))).finally(() => { flying--; go(); });
      }
    };
    return { put: (asked) => { wanted = asked; go(); } };
  };

  /* ---- header ------------------------------------------------------------------------------------------------- */
  const dark = () => document.body.classList.contains("dark");
  const paint = (on) => {
    document.body.classList.toggle("dark", on);
    document.documentElement.style.colorScheme = on ? "dark" : "light";
    document.dispatchEvent(new CustomEvent("gm:theme"));
  };
  const remembered = () => { try { return localStorage.getItem("gm-theme"); } catch { return null; } };
  gm.header = (element, props, server, trigger, watch) => {
    const wanted = new URL(location).searchParams.get("__theme") ?? remembered();
    if (wanted === "dark" || wanted === "light") paint(wanted === "dark");
    const { root: memory, chip } = gm.memory(server);
    const theme = gm.el("button", { class: "gm-chip", id: "theme", type: "button" });
    const name = () => (theme.textContent = dark() ? "Light" : "Dark");
    theme.onclick = () => {
      paint(!dark());
      try { localStorage.setItem("gm-theme", dark() ? "dark" : "light"); } catch { /* a private window forgets */ }
      name();
    };
    name();
    gm.entries = props.entries;
    const said = gm.el("p", { class: "gm-said", role: "status" });
    let quiet;
    const tell = (message) => { said.textContent = message; clearTimeout(quiet); quiet = setTimeout(() => { said.textContent = ""; }, 8000); };
    gm.tell = tell;
    const file = gm.el("input", { type: "file", accept: "image/png", class: "gm-file", id: "recipe-file", tabindex: -1, "aria-label": "a picture saved here" });
    file.onchange = () => { if (file.files[0]) gm.openPicture(file.files[0], tell); file.value = ""; };
    const open = gm.el("button", { class: "gm-chip", type: "button", id: "recipe", text: "Open picture", onclick: () => file.click(),
      title: "restores the settings of a PNG that was saved here; or drop it anywhere on the page" });
    document.ondragover = (event) => { if (event.dataTransfer?.types.includes("Files")) event.preventDefault(); };
    document.ondrop = (event) => {
      const dropped = event.dataTransfer?.files[0];
      if (!dropped || event.defaultPrevented) return;
      event.preventDefault();
      gm.openPicture(dropped, tell);
    };
    element.replaceChildren(gm.el("header", { class: "gm-header" },
      gm.el("h1", { text: "gen_models" }), gm.el("p", { text: "a playground of generative models" }),
      gm.el("span", { class: "gm-space" }), said, memory, file, open, theme));
    const told = () => { chip.textContent = props.chip; if (props.value) known(props.value); };
    told();
    watch(["value", "chip"], told);
    const refresh = async () => {
      if (!element.isConnected) return clearInterval(timer);
      if (document.hidden) return;
      const answer = await gm.ask(server.chip);
      if (answer.value) chip.textContent = answer.value;
    };
    const timer = setInterval(refresh, 10000);
  };

  /* ---- the picker of entries ---------------------------------------------------------------------------------- */
  gm.strips = {}; // family -> {element, has(entry), chosen(), choose(entry)}
  gm.strip = (element, props, server, trigger, watch) => {
    const draw = () => {
      const list = gm.el("div", { class: "gm-strip", role: "radiogroup", "aria-label": "Entry" });
      for (const card of props.cards) {
        const chosen = card.key === props.value;
        const name = card.at
          ? `yours, ${new Date(card.at * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hour12: false })}`
          : card.name;
        list.append(gm.el("button", {
          class: "gm-card", type: "button", role: "radio", "aria-checked": String(chosen), "data-entry": card.key,
          tabindex: chosen ? 0 : -1, disabled: Boolean(card.missing), title: card.missing || card.name,
          onclick: () => choose(card.key),
        },
        card.picture ? gm.el("span", { class: `gm-thumb ${card.kind === "image" ? "" : "gm-whole"} ${["text", "music"].includes(card.kind) ? `gm-${card.kind}` : ""}`, style: `background-image:url(${card.picture})` })
          : gm.el("span", { class: "gm-thumb gm-empty" }),
        gm.el("span", { class: "gm-card-text" }, gm.el("b", { text: name }),
          gm.el("small", { text: card.missing || card.line }))));
      }
      element.replaceChildren(list);
      element.closest(".tabitem")?.classList.toggle("gm-bare", !props.cards.length); // nothing to choose: no panels
      list.querySelector("[aria-checked=true]")?.scrollIntoView({ block: "nearest", inline: "nearest" });
    };
    const choose = (key) => {
      if (key === props.value) return;
      props.value = key;
      draw();
      element.querySelector("[aria-checked=true]")?.focus({ preventScroll: true });
      gm.address({ tab: props.family, entry: key, seed: null });
      trigger("pick");
    };
    element.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      const open = props.cards.filter((card) => !card.missing);
      const at = open.findIndex((card) => card.key === props.value);
      if (open.length) choose(open[(at + step + open.length) % open.length].key);
    });
    gm.strips[props.family] = { element, choose, chosen: () => props.value, has: (key) => props.cards.some((card) => card.key === key && !card.missing) };
    draw();
    watch(["cards", "value"], draw);
  };

  /* ---- a panel that the chosen entry cannot have says why, and gives way ------------------------------------- */
  gm.reasons = (element, props, server, trigger, watch) => {
    const settle = () => {
      const tabs = [...document.querySelectorAll(`#${props.family}-panels > .tab-wrapper [role=tab]`)];
      const reason = (tab) => props.value?.[tab.dataset.tabId] ?? "";
      for (const tab of tabs) tab.title = reason(tab);
      if (tabs.some((tab) => tab.getAttribute("aria-selected") === "true" && reason(tab))) {
        tabs.find((tab) => !reason(tab))?.click();
      }
    };
    setTimeout(settle, 50);
    watch("value", () => setTimeout(settle, 50));
  };

  /* ---- samples that were taken -------------------------------------------------------------------------------- */
  gm.takenOf = {}; // family -> {items(), toggle(item), on(f)}
  gm.sameSample = (a, b) => a.entry === b.entry && a.seed === b.seed && (a.label ?? null) === (b.label ?? null)
    && JSON.stringify(a.options) === JSON.stringify(b.options);
  gm.taken = (element, props, server, trigger, watch) => {
    const family = props.family, old = gm.takenOf[family];
    const listeners = old ? old.listeners : new Set();
    const draw = () => {
      const items = props.value ?? [];
      const chips = items.map((item) => gm.el("span", { class: "gm-chip gm-taken" },
        item.picture ? gm.el("img", { src: item.picture, alt: "" }) : null,
        gm.el("span", { text: `seed ${item.seed}` }),
        gm.el("button", {
          type: "button", "aria-label": `remove seed ${item.seed}`, text: "×", onclick: () => toggle(item),
        })));
      element.replaceChildren(...(items.length ? [gm.el("div", { class: "gm-chips", role: "group", "aria-label": "Taken samples" },
        gm.el("span", { class: "gm-muted", text: "taken" }), ...chips)] : []));
      for (const listener of listeners) listener(items);
    };
    const toggle = (item) => {
      const items = props.value ?? [];
      const rest = items.filter((other) => !gm.sameSample(other, item));
      props.value = rest.length < items.length ? rest : [...rest, item].slice(-8);
      draw();
      trigger("input");
    };
    gm.takenOf[family] = { items: () => props.value ?? [], toggle, listeners, on: (f) => (listeners.add(f), () => listeners.delete(f)) };
    draw();
    watch("value", draw);
  };

  /* ---- downloads ---------------------------------------------------------------------------------------------- */
  gm.download = (id) => {
    const link = document.querySelector(`#${id} a, a#${id}`) ?? document.querySelector(`#${id}`);
    if (link && (link.tagName !== "A" || link.getAttribute("href"))) link.click();
  };

  /* ---- keys: only when no field has the focus ------------------------------------------------------------------ */
  const visible = (selector) => [...document.querySelectorAll(selector)].find((node) => node.offsetParent !== null);
  const writing = "input:not([type=range], [type=checkbox], [type=radio]), textarea, select, [contenteditable=true]";
  document.addEventListener("keydown", (event) => {
    if (event.target.closest?.(writing)) return;
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      return visible(".gm-run")?.click();
    }
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape") return visible(".gm-stop")?.click();
    if (event.target.closest?.("input, [role=radiogroup], [role=slider], [role=tablist]")) return;
    const act = { " ": "play", ArrowRight: "next", ArrowLeft: "previous", Home: "first", End: "last" }[event.key];
    if (!act || (event.key === " " && event.target.closest?.("button, summary, a"))) return;
    const player = visible(".gm-player");
    if (!player) return;
    event.preventDefault();
    player.dispatchEvent(new CustomEvent("gm:key", { detail: act }));
  });
  return gm;
})();
