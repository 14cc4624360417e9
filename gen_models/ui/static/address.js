/* The address says which tab and entry are open (?tab=..&entry=..): read once, written when a person chooses. */
(() => {
  const gm = window.gm;
  /** Waits until `ready()` gives something; null when patience ends. */
  gm.until = async (ready, patience = 5000) => {
    const begun = performance.now();
    while (performance.now() - begun < patience) {
      const value = ready();
      if (value) return value;
      await new Promise((resolve) => setTimeout(resolve, 40));
    }
    return null;
  };
  /** Writes parameters into the address; null removes one, all others stay. */
  gm.address = (values) => {
    const url = new URL(location);
    for (const [name, value] of Object.entries(values)) {
      if (value === null || value === undefined) url.searchParams.delete(name); else url.searchParams.set(name, value);
    }
    history.replaceState(history.state, "", url);
  };
  /** Opens a tab of the top row; resolves to whether it is there. */
  gm.openTab = (key) => gm.until(() => {
    const tab = document.getElementById(`family-${key}-button`);
    if (tab?.getAttribute("aria-selected") === "true") return true;
    tab?.click();
    return false;
  });
  /** Opens a family's tab with an entry chosen; resolves to whether the entry is there. */
  gm.open = async (family, entry) => {
    await gm.openTab(family);
    const strip = await gm.until(() => gm.strips[family]?.element.isConnected && gm.strips[family]);
    if (!strip?.has(entry)) return false;
    strip.choose(entry);
    gm.address({ tab: family, entry, seed: null });
    return true;
  };
  document.addEventListener("click", (event) => {
    const key = event.isTrusted && event.target.closest?.("#families > .tab-wrapper [role=tab]")?.dataset.tabId;
    if (key) gm.address({ tab: key, entry: key === "compare" ? gm.dataSet.value : gm.strips[key]?.chosen(), seed: null });
  });
  const start = async () => {
    const asked = new URLSearchParams(location.search), tab = asked.get("tab"), entry = asked.get("entry");
    if (tab === "compare") {
      Object.assign(gm.dataSet, { value: entry, seed: asked.get("seed") });
      return gm.openTab(tab);
    }
    if (tab === "arena") return gm.openTab(tab);
    if (!tab || !gm.entries[tab]) return null;
    if (!entry) return gm.openTab(tab);
    if (!(await gm.open(tab, entry))) gm.tell(`The address names ${entry}, which has no checkpoint here.`);
    return null;
  };
  gm.visit.then(start);
})();
