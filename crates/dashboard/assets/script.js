// What makes the pages live. They work without it; it takes what the server sends and puts it in
// place, and moves nothing that did not change.
"use strict";
(() => {
  const body = document.body;
  const find = (selector, root = document) => root.querySelector(selector);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];

  // ---- putting new markup in place -----------------------------------------------------------
  const parsed = (html) => {
    const template = document.createElement("template");
    template.innerHTML = html;
    return template.content;
  };
  // Keeps the focus where it was, on the same button of the new markup.
  const replace = (old, fresh) => {
    if (old.isEqualNode(fresh)) return;
    const focused = old.contains(document.activeElement) ? document.activeElement : null;
    old.replaceWith(fresh);
    if (!focused) return;
    const same = focused.id ? find("#" + CSS.escape(focused.id), fresh)
      : focused.value ? all("button", fresh).find((b) => b.value === focused.value) || find("button", fresh)
      : null;
    if (same) same.focus({ preventScroll: true });
  };

  // The rows of a table stay where they are: what is under the pointer must not become another's
  // button. New ones come last; loading the page again sorts them.
  const merge = (rows, fresh) => {
    const named = (body) => new Map(all("tr[data-n]", body).map((row) => [row.dataset.n, row]));
    const old = named(rows), next = named(fresh);
    if (!old.size || !next.size) return replace(rows, fresh);
    for (const [name, row] of old) if (!next.has(name)) row.remove();
    for (const [name, row] of next) {
      if (old.has(name)) updateCells(old.get(name), row); else rows.append(row);
    }
  };
  const updateCells = (old, fresh) => {
    const after = [...fresh.children];
    [...old.children].forEach((cell, index) => { if (after[index]) replace(cell, after[index]); });
  };

  let wanted = 0;
  // The parts of this page, asked for again; many reasons at once make one question.
  const refresh = () => {
    if (wanted) return;
    wanted = setTimeout(async () => {
      wanted = 0;
      try {
        const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
        if (answer.redirected && new URL(answer.url).pathname === "/login") return location.reload();
        if (!answer.ok) return;
        const page = new DOMParser().parseFromString(await answer.text(), "text/html");
        for (const part of all("[data-part]")) {
          if (part.id === "rows" && filter && filter.value !== (new URLSearchParams(location.search).get("q") || "")) {
            // What is typed and not sent yet stays in force.
            setTimeout(narrow);
          }
          const fresh = part.id && page.getElementById(part.id);
          if (!fresh) continue;
          if (part.id === "rows") merge(part, document.adoptNode(fresh));
          else replace(part, document.adoptNode(fresh));
        }
        entitle();
      } catch { /* the stream tells when the server is back */ }
    }, 250 + Math.random() * 250);
  };

  // ---- numbers ---------------------------------------------------------------------------------
  const span = (seconds) => {
    const s = Math.max(0, Math.floor(seconds));
    const two = (n) => String(n).padStart(2, "0");
    if (s < 120) return s + "s";
    if (s < 7200) return Math.floor(s / 60) + "m";
    if (s < 172800) return Math.floor(s / 3600) + "h " + two(Math.floor((s % 3600) / 60)) + "m";
    return Math.floor(s / 86400) + "d " + Math.floor((s % 86400) / 3600) + "h";
  };
  const bytes = (count) => {
    const units = ["B", "kB", "MB", "GB", "TB"];
    let unit = 0;
    while (count >= 1000 && unit < 4) { count /= 1000; unit++; }
    const cut = Math.floor(count * 10) / 10;
    return (unit && cut < 10 ? cut.toFixed(1) : Math.floor(count)) + " " + units[unit];
  };
  const percent = (share) => (share < 9.95 ? share.toFixed(1) : share.toFixed(0)) + " %";
  const set = (node, text) => { if (node && node.textContent !== text) node.textContent = text; };
  setInterval(() => {
    for (const time of all("time[data-s]")) {
      set(time, span((Date.now() - time.dataset.s) / 1000) + (time.dataset.then ?? ""));
    }
  }, 1000);

  // What is in trouble is seen on the browser's tab too.
  const title = document.title;
  const entitle = () => {
    const count = Number(find(".headline")?.dataset.count || 0);
    document.title = count ? `(${count}) ${title}` : title;
  };
  entitle();

  // ---- the overview ------------------------------------------------------------------------------
  const rowOf = (name) => find(`#rows tr[data-n="${CSS.escape(name)}"]`);
  const updateRow = (name, html) => {
    const old = rowOf(name);
    const fresh = find("tr", parsed("<table><tbody>" + html + "</tbody></table>"));
    if (!fresh) return;
    if (!old) return refresh();
    updateCells(old, fresh);
    refresh();
  };
  const push = (cell, value, top) => {
    const path = cell && find("path", cell);
    if (!path) return;
    const ys = (path.getAttribute("d") || "").replace("M", "").trim().split(" ").filter((_, i) => i % 2).map(Number);
    const y = Math.round(19 - Math.min(1, Math.max(0, value / top)) * 18);
    const kept = [...ys, y].slice(-16);
    const first = 16 - kept.length;
    path.setAttribute("d", "M" + kept.map((v, i) => (first + i) * 4 + " " + v).join(" "));
  };
  const samples = (values) => {
    for (const [name, [memory, cpu]] of Object.entries(values)) {
      const row = rowOf(name);
      if (!row) continue;
      const c = find("td.c", row), m = find("td.m", row);
      if (!c || !m) { refresh(); continue; }
      set(find("span", c), percent(cpu));
      set(find("span", m), bytes(memory));
      push(c, cpu, Math.max(20, cpu));
      push(m, memory, memory * 1.25);
    }
    const charts = find("#charts");
    if (charts) lengthen(charts, values[charts.dataset.n]);
  };
  // The charts of one service go on as the server would draw them; where samples are missing, it is asked.
  const lengthen = (charts, sample) => {
    const cards = all(".card", charts);
    const had = cards.map((card) => card.dataset.v.split(" ").filter(Boolean).map(Number));
    if (!sample) { if (had[0].length) refresh(); return; }
    const [memory, cpu, count] = sample;
    if (had[0].length + 1 < Math.max(count, 3)) return refresh();
    draw(cards[0], [...had[0], cpu].slice(-count), percent);
    draw(cards[1], [...had[1], memory].slice(-count), bytes);
  };
  const draw = (card, values, words) => {
    const most = Math.max(Number(card.dataset.floor), ...values);
    const top = most * Number(card.dataset.room) || 1;
    const first = 60 - values.length;
    const line = values.map((v, i) => (first + i) * 5 + " " + Math.round(59 - Math.max(0, v / top) * 58)).join(" ");
    card.dataset.v = values.join(" ");
    set(find(".big", card), words(values.at(-1)));
    set(find(".most", card), words(most));
    find(".line", card)?.setAttribute("d", "M" + line);
    find(".area", card)?.setAttribute("d", `M${first * 5} 60 L${line} 295 60 Z`);
  };
  const filter = find("#q");
  const narrow = () => {
    const needle = filter.value.trim().toLowerCase();
    for (const row of all("#rows tr[data-n]")) {
      row.hidden = !row.textContent.toLowerCase().includes(needle);
    }
  };
  if (filter) filter.addEventListener("input", narrow);

  // ---- the stream ------------------------------------------------------------------------------
  const state = find(".live");
  const isLive = (live) => {
    if (!state) return;
    state.classList.toggle("is-live", live);
    set(find(".words", state), live ? "live" : "not live");
  };
  const hello = (event) => {
    isLive(true);
    // Another run of the dashboard: its pages' tokens are others.
    if (JSON.parse(event.data).run !== body.dataset.run) location.reload();
  };
  if (state) {
    const stream = new EventSource("/live");
    let lost = false;
    stream.addEventListener("hello", (event) => { hello(event); if (lost) refresh(); lost = false; });
    stream.addEventListener("service", (event) => {
      const { name, verdict, row } = JSON.parse(event.data);
      const sign = find("#verdict");
      if (sign) {
        const fresh = sign.cloneNode(false);
        fresh.append(parsed(verdict));
        replace(sign, fresh);
        entitle();
      }
      if (row && find("#rows")) updateRow(name, row);
      if (all("[data-of]").some((part) => part.dataset.of === name || part.dataset.of === "*")) refresh();
    });
    stream.addEventListener("removed", refresh);
    stream.addEventListener("whole", refresh);
    stream.addEventListener("samples", (event) => samples(JSON.parse(event.data)));
    stream.addEventListener("error", () => { lost = true; isLive(false); });
    addEventListener("pagehide", () => stream.close());
  }

  // ---- actions without leaving the page ------------------------------------------------------------
  let fading = 0;
  const toast = (text, bad) => {
    const place = find("#toast");
    const line = document.createElement("p");
    if (bad) line.className = "bad";
    line.textContent = text;
    place.replaceChildren(line);
    clearTimeout(fading);
    fading = setTimeout(() => place.replaceChildren(), bad ? 12000 : 5000);
  };
  document.addEventListener("submit", async (event) => {
    const form = event.target;
    if (!form.matches("[data-quiet]")) return;
    event.preventDefault();
    const button = event.submitter;
    if (button?.ariaDisabled === "true") return;
    const data = new URLSearchParams(new FormData(form));
    if (button && button.name) data.set(button.name, button.value);
    // One that is disabled for good would lose the focus.
    if (button) button.ariaDisabled = "true";
    try {
      const answer = await fetch(form.action, { method: "POST", body: data, headers: { Accept: "application/json" } });
      const said = await answer.json();
      toast(answer.ok ? said.message : said.error.message, !answer.ok);
    } catch {
      toast("The dashboard did not answer.", true);
    }
    if (button) button.ariaDisabled = null;
    refresh();
  });
  document.addEventListener("click", (event) => {
    for (const menu of all(".menu[open]")) if (!menu.contains(event.target)) menu.open = false;
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      for (const menu of all(".menu[open]")) { menu.open = false; find("summary", menu).focus(); }
    }
    if (event.key === "/" && filter && !event.target.matches("input, select, textarea")) {
      event.preventDefault();
      filter.focus();
    }
  });

  // ---- the log -----------------------------------------------------------------------------------
  const log = find(".log");
  if (!log) return;
  const atEnd = () => log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  const toEnd = () => { log.scrollTop = log.scrollHeight; };
  toEnd();
  const MOST = 3000;
  let paused = false, waiting = [], missed = 0;
  const search = find(".logbar .search input");
  const shown = (line) => {
    const needle = search.value.toLowerCase();
    line.classList.toggle("off", needle !== "" && !line.textContent.toLowerCase().includes(needle));
  };
  const add = (html) => {
    const follow = atEnd();
    const lines = parsed(html);
    all(".l", lines).forEach(shown);
    all("p.hint", log).forEach((hint) => hint.remove());
    log.append(lines);
    while (log.childElementCount > MOST) log.firstElementChild.remove();
    if (follow) toEnd();
  };
  search.addEventListener("input", () => all(".l", log).forEach(shown));
  for (const box of all("[data-level]")) {
    box.addEventListener("change", () => log.classList.toggle("no-" + box.dataset.level, !box.checked));
  }
  const pause = find("[data-pause]");
  if (log.dataset.live) {
    pause.hidden = false;
    const lines = new EventSource(log.dataset.live);
    lines.addEventListener("lines", (event) => {
      const html = JSON.parse(event.data);
      if (!paused) return add(html);
      waiting.push(html);
      if (waiting.length > 500) waiting.shift();
      missed += parsed(html).childElementCount;
      set(pause, `Continue (${missed})`);
    });
    addEventListener("pagehide", () => lines.close());
    pause.addEventListener("click", () => {
      paused = !paused;
      pause.setAttribute("aria-pressed", String(paused));
      set(pause, paused ? "Continue" : "Pause");
      if (paused) return;
      add(waiting.join(""));
      waiting = [];
      missed = 0;
      toEnd();
    });
  }
})();
