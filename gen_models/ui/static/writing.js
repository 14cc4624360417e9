/* Write: a text symbol by symbol. Each one's shade says how likely it was; any can be replaced, and the text goes on.

   value (panels/writing.py: Page.sent): {run, entry, seed, fresh, first, known, total, options, rows: [{text, costs}], over};
   entry, lines, context, symbols, alphabet, form, version come from Python. Texts live in gm.writings[form][entry] while
   the page is open: {rows, at, caret, past, wanted, run}. A row is {symbols, costs, prompt, chosen, pieces, seed}: the
   first `prompt` symbols were typed, those at `chosen` were chosen, from each of `pieces` on its options were in force. */
(() => {
  const gm = window.gm, el = gm.el;
  const SHADES = [[0.5, "≥ 50 %"], [0.2, "≥ 20 %"], [0.05, "≥ 5 %"], [0.01, "≥ 1 %"], [0, "less"]]; // from this probability on
  const UNKNOWN = 65535, UNIT = 1000, PAST = 30, KEPT = 800, FOLLOW = 300;
  gm.writings = {};
  gm.floats = (coded) => new Float32Array(Uint8Array.from(atob(coded), (c) => c.charCodeAt(0)).buffer);
  gm.saveFile = (content, name, type) => {
    const url = URL.createObjectURL(new Blob([content], { type }));
    el("a", { href: url, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10000);
  };
  const costsOf = (coded) => Array.from(new Uint16Array(Uint8Array.from(atob(coded), (c) => c.charCodeAt(0)).buffer), (c) => (c === UNKNOWN ? null : c / UNIT));
  const level = (cost) => SHADES.findIndex(([least]) => Math.exp(-cost) >= least);
  const fresh = () => ({ rows: [], at: 0, caret: null, past: [], wanted: 0, run: null, over: null });

  gm.writing = (element, props, server, trigger, watch) => {
    const id = props.form, texts = (gm.writings[id] ??= {});
    let store = fresh(), likely = new Map(), alphabet = [], spans = [], turn = 0, seen = { at: 0, key: null }, looked = 0;
    const form = () => gm.forms[id], settings = () => form()?.value() ?? {}, busy = () => Boolean(gm.running[id]);
    const row = () => store.rows[store.at] ?? { symbols: Array.from(settings().prompt ?? ""), costs: [], prompt: Infinity, chosen: [], pieces: [], seed: settings().seed };
    const over = (r = row()) => props.lines && r.symbols.at(-1) === "\n";
    const most = (r = row()) => r.symbols.length - (over(r) ? 1 : 0); // the last place for the caret: the next symbol, or the end of a line
    const caret = () => Math.min(store.caret ?? most(), most());
    const plain = (r) => r.symbols.join("").replace(/\n$/, props.lines ? "" : "\n");

    /* ---- running ---- */
    /** Ends what is being written; nothing that it still says is taken. */
    const stop = () => {
      turn++;
      store.run = null;
      if (!busy()) return;
      store.over = gm.running[id];
      document.getElementById(`${id}-stop`)?.click();
    };
    const begin = async (more) => {
      const mine = ++turn, r = row(), start = { text: r.symbols.join(""), more, row: store.at };
      await gm.until(() => !busy(), 20000);
      if (!element.isConnected || mine !== turn) return;
      form().fill({ start, seed: r.seed - store.at });
      form().run();
      const token = gm.running[id];
      await gm.until(() => gm.running[id] !== token, 1e9);
      if (mine === turn) form()?.fill({ start: null });
    };
    const room = (r = row()) => (props.lines ? props.context - r.symbols.length : Infinity);
    const left = (r = row()) => (over(r) ? 0 : props.lines ? room(r) : Math.max(0, store.wanted - r.symbols.length));
    const remember = (what) => { store.past = [...store.past, { what, rows: gm.plain(store.rows), at: store.at, caret: store.caret, wanted: store.wanted }].slice(-PAST); };
    const cut = (r, n) => { r.symbols.length = n; r.costs.length = Math.min(n, r.costs.length); r.chosen = r.chosen.filter((i) => i < n); r.pieces = r.pieces.filter((piece) => piece.at < n); };
    /** With nothing written yet, the prompt is what stands there. */
    const settled = () => {
      if (store.rows.length) return row();
      const r = row();
      store.rows = [{ ...r, prompt: r.symbols.length, seed: Number.isInteger(r.seed) ? r.seed : gm.dice() }];
      store.wanted = r.symbols.length + (settings().length ?? 0);
      return row();
    };
    const choose = (k, i) => {
      const symbol = alphabet[k], known = likely.get(key(i)), { name } = gm.seen(symbol, props.lines);
      remember(`the choice of ${name}`);
      const r = settled();
      stop();
      cut(r, i);
      r.prompt = Math.min(r.prompt, i);
      r.symbols.push(symbol); r.costs[i] = known ? -known[k] : null; r.chosen.push(i);
      store.caret = i;
      draw();
      if (left(r)) begin(left(r));
    };
    const back = (n) => {
      remember(n === 1 ? "the step back" : "the steps back");
      const r = settled();
      stop();
      cut(r, Math.max(0, r.symbols.length - n));
      r.prompt = Math.min(r.prompt, r.symbols.length);
      store.caret = null;
      draw();
    };
    const undo = () => {
      const last = store.past.pop();
      if (!last) return;
      stop();
      Object.assign(store, { rows: last.rows, at: last.at, caret: last.caret, wanted: last.wanted });
      draw();
    };

    /* ---- news from the server ---- */
    const news = () => {
      const v = gm.plain(props.value);
      if (!v?.rows || v.entry !== props.entry || v.run === store.over) return;
      if (busy() && v.run !== gm.running[id]) return; // an earlier run's last words
      const first = v.run !== store.run;
      if (first && !busy()) return;
      if (first && v.fresh) { if (store.rows.length) remember("the new text"); Object.assign(store, { rows: [], at: 0, caret: null, wanted: v.total }); }
      store.run = v.run;
      if (v.over) store.over = v.run;
      v.rows.forEach((sent, k) => {
        const at = v.first + k, r = (store.rows[at] ??= { prompt: v.known, chosen: [], pieces: [] });
        r.symbols = Array.from(sent.text); r.costs = costsOf(sent.costs); r.seed = v.seed + at;
        const piece = { at: v.known, ...v.options }, same = r.pieces.at(-1) && JSON.stringify({ ...r.pieces.at(-1), at: 0 }) === JSON.stringify({ ...piece, at: 0 });
        if (first && !same) r.pieces = [...r.pieces.filter((other) => other.at < v.known), piece];
      });
      draw();
    };

    /* ---- what comes next ---- */
    const key = (i) => row().symbols.slice(0, i).join("");
        const pump = gm.pump(server.next, (value, asked) => {
      if (asked.entry !== props.entry) return;
      if (likely.size > KEPT) likely.clear();
      likely.set(asked.text, gm.floats(value.log));
      if (asked.text === key(place())) return look();
      if (following() && key(asked.at) === asked.text) look(asked.at); // it has gone on meanwhile
    }, (text) => next.draw(null, text), 2);
    /** While it writes, the bars follow the last symbol, unless a place was pressed. */
    const following = () => busy() && store.caret === null && row().symbols.length > 0;
    const place = () => (following() ? row().symbols.length - 1 : caret());
    const look = (i = place()) => {
      if (!props.entry || !element.isConnected) return;
      const r = row(), log = likely.get(key(i)), { temperature = 1, top_k = 0, top_p = 1 } = settings();
      if (!log) {
        const now = performance.now();
        if (following() && now - looked < FOLLOW) return;
        looked = now;
        pump.put({ entry: props.entry, text: key(i), at: i });
        return;
      }
      const draft = !store.rows.length, title = i < r.symbols.length ? `Symbol ${i + 1} of ${r.symbols.length}` : draft && !i ? "The first symbol" : "The next symbol";
      const written = i < r.symbols.length ? alphabet.indexOf(r.symbols[i]) : -1;
      next.draw({ log, alphabet, lines: props.lines, written, chosen: r.chosen.includes(i), title, temperature, top_k, top_p });
      seen = { at: i, key: key(i) };
      next.node.dataset.at = i;
    };
    const next = gm.nextSymbol({ id, onpick: (k) => { if (key(seen.at) === seen.key) choose(k, seen.at); } }); // else the bars are of a text that is no more

    /* ---- the text ---- */
    const page = el("div", { class: "gm-write-text", id: `${id}-text`, role: "textbox", tabindex: 0, "aria-multiline": "true", "aria-readonly": "true",
      "aria-label": "the text: arrow keys move, a typed symbol is chosen, Backspace steps back" });
    const block = el("span", { class: "gm-ch gm-block", title: "the next symbol" });
    const show = () => {
      const r = row(), at = caret(), draft = !store.rows.length, low = page.scrollHeight - page.scrollTop - page.clientHeight < 40;
      while (spans.length > r.symbols.length) spans.pop().remove();
      r.symbols.forEach((symbol, i) => {
        let span = spans[i];
        if (!span) { span = spans[i] = el("span"); span.place = i; block.before(span); }
        if (span.symbol !== symbol) {
          span.symbol = symbol;
          if (symbol === "\n") span.replaceChildren(el("i", { class: "gm-break", text: gm.seen(symbol, props.lines).mark }), props.lines ? "" : "\n"); else span.textContent = symbol;
        }
        const cost = r.costs[i] ?? null, mark = i < r.prompt ? "gm-typed" : r.chosen.includes(i) ? "gm-chosen" : `gm-written gm-p${cost === null ? "x" : level(cost)}`;
        const name = `gm-ch ${mark}${i === at ? " gm-at" : ""}`;
        if (span.className !== name) span.className = name;
        const tip = i < r.prompt ? "" : r.chosen.includes(i) ? `chosen, ${cost === null ? "" : gm.percent(Math.exp(-cost))}` : cost === null ? "" : gm.percent(Math.exp(-cost));
        if (span.title !== tip) span.title = tip;
      });
      block.className = `gm-ch gm-block${at === r.symbols.length ? " gm-at" : ""}`;
      block.hidden = over(r); block.place = r.symbols.length;
      invite.hidden = !draft || r.symbols.length > 0;
      if (low && busy()) page.scrollTop = page.scrollHeight;
    };
    const move = (to) => {
      store.caret = Math.max(0, Math.min(most(), to));
      draw();
      (spans[store.caret] ?? block).scrollIntoView({ block: "nearest" });
    };
    const above = (by) => { // the nearest place in the line above or below
      const box = (i) => (spans[i] ?? block).getBoundingClientRect(), here = box(caret());
      let line = null, best = caret();
      for (let i = caret() + by; i >= 0 && i <= most(); i += by) {
        const b = box(i);
        if (Math.abs(b.top - here.top) < 4) continue;
        line ??= b.top;
        if (Math.abs(b.top - line) > 4) break;
        if (best === caret() || Math.abs(b.left - here.left) < Math.abs(box(best).left - here.left)) best = i;
      }
      return best;
    };
    page.addEventListener("click", (event) => { const span = event.target.closest(".gm-ch"); if (span) move(span.place); });
    page.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const act = { ArrowLeft: () => move(caret() - 1), ArrowRight: () => move(caret() + 1), ArrowUp: () => move(above(-1)), ArrowDown: () => move(above(1)),
        Home: () => move(0), End: () => move(most()), Backspace: () => store.rows.length && row().symbols.length && back(1) }[event.key];
      const typed = alphabet.indexOf(event.key === "Enter" ? "\n" : event.key);
      if (!act && typed < 0) return;
      event.preventDefault(); event.stopPropagation();
      if (act) act(); else choose(typed, caret());
    });
    const invite = el("p", { class: "gm-write-invite", text: "Type a beginning on the left and press Write, or press a first symbol on the bars." });
    page.append(block);

    /* ---- the other lines ---- */
    const list = el("div", { class: "gm-write-list", role: "group", "aria-label": "all lines: press one to look at it" });
    const lines = () => {
      list.hidden = !props.lines;
      if (!props.lines) return;
      while (list.children.length > store.rows.length) list.lastChild.remove();
      store.rows.forEach((r, k) => {
        const button = list.children[k] ?? list.appendChild(el("button", { type: "button", class: "gm-write-line", onclick: () => { store.at = k; store.caret = null; draw(); } }));
        const now = r.symbols.join("") + r.costs.join() + r.chosen.join();
        if (button.now !== now) {
          button.now = now;
          button.replaceChildren(...r.symbols.filter((s) => s !== "\n").map((symbol, i) => el("span", { class: `gm-ch ${i < r.prompt ? "gm-typed" : r.chosen.includes(i) ? "gm-chosen" : `gm-written gm-p${(r.costs[i] ?? null) === null ? "x" : level(r.costs[i])}`}`, text: symbol })), plain(r) ? "" : "(empty)");
          button.title = `seed ${r.seed}, ${r.costs.reduce((a, b) => a + (b ?? 0), 0).toFixed(1)} nats`;
        }
        button.setAttribute("aria-pressed", String(k === store.at));
      });
    };

    /* ---- the bar ---- */
    const button = (text, name, onclick) => el("button", { type: "button", class: "gm-button", id: `${id}-${name}`, text, onclick });
    const lastChoice = () => row().chosen.at(-1) ?? -1;
    const steps = {
      one: button("Back 1", "back-1", () => back(1)), ten: button("Back 10", "back-10", () => back(10)),
      choice: button("To the choice", "back-choice", () => back(row().symbols.length - lastChoice() - 1)), here: button("Cut here", "cut", () => back(row().symbols.length - caret())),
      step: button("Step", "step", () => { settled(); store.caret = null; begin(1); }),
      go: button("Continue", "continue", () => { const r = settled(), more = left(r) || settings().length || 100; if (!props.lines) store.wanted = Math.max(store.wanted, r.symbols.length + more); begin(more); }),
      undo: button("Undo", "undo", undo),
    };
    const files = {
      copy: button("Copy", "copy", async () => { const ok = await gm.copied(whole()); files.copy.textContent = ok ? "Copied" : "Not allowed"; setTimeout(() => { files.copy.textContent = "Copy"; }, 1500); }),
      txt: button("Text", "txt", () => gm.saveFile(whole(), `${props.entry}-seed${store.rows[0].seed}.txt`, "text/plain;charset=utf-8")),
      json: button("Recipe", "recipe", () => gm.saveFile(JSON.stringify(recipe(), null, 1), `${props.entry}-seed${row().seed}.json`, "application/json")),
    };
    const whole = () => (props.lines ? store.rows.map(plain).join("\n") + "\n" : plain(row()));
    const recipe = () => {
      const r = row();
      return { entry: props.entry, seed: r.seed, prompt: r.symbols.slice(0, r.prompt).join(""), text: r.symbols.join(""),
        choices: r.chosen.map((at) => ({ at, symbol: r.symbols[at] })), pieces: gm.plain(r.pieces), version: props.version };
    };
    const count = el("b", { class: "gm-count", id: `${id}-count` }), told = el("span", { class: "gm-muted gm-write-told" });
    const bar = el("div", { class: "gm-bar gm-write-bar" }, el("div", { class: "gm-write-acts", role: "group", "aria-label": "change the text" }, ...Object.values(steps)),
      el("div", { class: "gm-write-files", role: "group", "aria-label": "keep the text" }, ...Object.values(files)));
    const off = (node, why, title = "") => { node.disabled = Boolean(why); node.title = why || title; };
    const allow = () => {
      const r = row(), n = r.symbols.length, none = store.rows.length ? "" : "nothing is written yet", bare = none || (n ? "" : "nothing stands here any more");
      off(steps.one, bare, "takes the last symbol back"); off(steps.ten, bare, "takes the last ten symbols back");
      off(steps.choice, lastChoice() < 0 ? "nothing was chosen yet: press a symbol on the bars" : lastChoice() === n - 1 ? "the choice is the last symbol" : "", "takes back all that follows the last choice");
      off(steps.here, none || (caret() >= n ? "click a symbol first" : ""), "takes back this symbol and all that follow");
      const full = over(r) || room(r) < 1 ? "this line has ended: step back first" : "", now = busy() ? "it is writing: press Stop first" : "";
      off(steps.step, now || full, "writes one symbol"); off(steps.go, now || full, "writes on");
      const last = store.past.at(-1);
      off(steps.undo, last ? "" : "nothing to undo", last ? `undo ${last.what}` : "");
      for (const file of Object.values(files)) off(file, none);
      const written = Math.max(0, n - Math.min(r.prompt, n)), chosen = r.chosen.length ? `, ${r.chosen.length} chosen by you` : "";
      count.textContent = none ? "" : props.lines ? `${store.rows.length} line${store.rows.length > 1 ? "s" : ""}` : `${written} of ${Math.max(written, store.wanted - r.prompt)} characters`;
      told.textContent = none ? "" : `seed ${r.seed}${chosen}${props.lines ? `, line ${store.at + 1}` : ""}`;
    };
    const legend = el("div", { class: "gm-write-legend", "aria-label": "how likely each symbol was" }, el("span", { class: "gm-muted", text: "how likely each symbol was:" }),
      ...SHADES.map(([, name], k) => el("span", { class: `gm-written gm-p${k}`, text: name })), el("span", { class: "gm-chosen", text: "your choice" }));

    /* ---- all of it ---- */
    const draw = () => { if (!props.entry) return; show(); lines(); allow(); look(); };
    const body = [bar, el("div", { class: "gm-write-both" }, el("div", { class: "gm-write-left" }, el("div", { class: "gm-write-head" }, count, told), legend, el("div", { class: "gm-write-page" }, page, invite), list), next.node)];
    const open = () => {
      element.classList.add("gm-writing"); element.classList.toggle("gm-lines", props.lines);
      if (!props.entry) return element.replaceChildren(el("div", { class: "gm-nothing", text: "This entry writes no text, or has no checkpoint yet. Choose another one." }));
      alphabet = Array.from(props.alphabet); likely = new Map(); spans.forEach((span) => span.remove()); spans = [];
      store = texts[props.entry] ??= fresh();
      element.replaceChildren(...body);
      draw();
    };
    const listen = async () => {
      const now = await gm.until(() => form()?.element.isConnected && form());
      if (!now || !element.isConnected) return;
      const unsubscribe = now.on((values, changed) => { if (!element.isConnected) unsubscribe(); else if (changed === null || (changed === "prompt" && !store.rows.length)) draw(); else look(key(seen.at) === seen.key ? seen.at : place()); });
      let was = busy();
      const watcher = new MutationObserver(() => { if (!element.isConnected) return watcher.disconnect(); if (was !== busy()) { was = busy(); draw(); } });
      watcher.observe(now.element, { childList: true });
      draw();
    };
    open();
    listen();
    news();
    watch("value", news);
    watch(["entry"], open);
  };
  /** Puts text on the clipboard; resolves to whether that was allowed. */
  gm.copied = async (text) => {
    try { await navigator.clipboard.writeText(text); return true; } catch { /* the older way, below */ }
    const box = el("textarea", { value: text, style: "position: fixed; opacity: 0" });
    document.body.append(box); box.select();
    const done = document.execCommand("copy");
    box.remove();
    return done;
  };
})();
