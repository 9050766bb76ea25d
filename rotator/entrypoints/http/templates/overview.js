"use strict";
(() => {
  const said = document.getElementById("said");
  const every = 1000 * Number(document.getElementById("live").dataset.every);
  async function draw() {
    const before = document.getElementById("live");
    const answer = await fetch(location.href, {cache: "no-store", signal: AbortSignal.timeout(4 * every)});
    // The rest of the page has styles with another nonce, which this page may not even read.
    const [part] = (await answer.text()).match(/<main [^]*<\/main>/) ?? [];
    if (!part) throw new Error(answer.status);
    const after = new DOMParser().parseFromString(part, "text/html").getElementById("live");
    for (const one of before.querySelectorAll("details[open]")) {
      const same = one.id && after.querySelector("#" + CSS.escape(one.id));
      if (same) same.open = true;
    }
    const held = document.activeElement;
    const places = "a, summary, [tabindex]";
    const key = (node) => node.id || node.closest("details")?.id + node.tagName + node.getAttribute("href");
    const focused = before.contains(held) ? key(held) : "";
    document.adoptNode(after);
    before.replaceWith(after);
    document.title = after.dataset.title;
    if (focused) [...after.querySelectorAll(places)].find((node) => key(node) === focused)?.focus({preventScroll: true});
  }
  async function round() {
    const began = performance.now();
    if (!document.hidden && !document.getSelection().toString()) {
      try {
        await draw();
        if (said.textContent) said.textContent = "";
      } catch {
        const since = document.getElementById("as-of").textContent;
        said.textContent = "The service does not answer. What is below is as of " + since + " UTC.";
      }
    }
    setTimeout(round, Math.max(every, 20 * (performance.now() - began)));  // whoever looks costs a busy service little
  }
  setTimeout(round, every);
})();
