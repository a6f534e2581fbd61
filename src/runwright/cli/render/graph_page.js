"use strict";
(() => {
  const main = document.querySelector("main");
  const svg = main.querySelector("svg");
  const aside = document.querySelector("aside");
  const search = document.querySelector("input");
  const found = document.getElementById("found");
  const blocks = [...svg.querySelectorAll(".b")];
  const edges = [...svg.querySelectorAll(".e")];
  const full = svg.viewBox.baseVal;
  const whole = { x: full.x, y: full.y, w: full.width, h: full.height };
  let view = { ...whole };
  let pinned = null;

  svg.removeAttribute("width");
  svg.removeAttribute("height");
  // Beyond this the paper would end inside the window.
  svg.querySelector(".paper").remove();

  const show = () => svg.setAttribute("viewBox", `${view.x} ${view.y} ${view.w} ${view.h}`);

  const toPaper = (x, y) => {
    const box = svg.getBoundingClientRect();
    const scale = Math.max(view.w / box.width, view.h / box.height);
    const left = view.x - (box.width * scale - view.w) / 2;
    const top = view.y - (box.height * scale - view.h) / 2;
    return { x: left + (x - box.left) * scale, y: top + (y - box.top) * scale, scale };
  };

  const zoom = (factor, x, y) => {
    const size = Math.min(Math.max(view.w * factor, 120), whole.w * 4);
    const real = size / view.w;
    const at = toPaper(x, y);
    view = {
      x: at.x - (at.x - view.x) * real,
      y: at.y - (at.y - view.y) * real,
      w: view.w * real,
      h: view.h * real,
    };
    show();
  };

  const middle = () => {
    const box = svg.getBoundingClientRect();
    return [box.left + box.width / 2, box.top + box.height / 2];
  };

  // A small graph is not blown up, and a large one begins where it begins, at a size that can be read.
  const fit = () => {
    const box = svg.getBoundingClientRect();
    const scale = Math.min(Math.max(whole.w / box.width, whole.h / box.height, 0.8), 2.2);
    const w = box.width * scale;
    const h = box.height * scale;
    view = {
      x: w > whole.w ? (whole.w - w) / 2 : 0,
      y: h > whole.h ? (whole.h - h) / 2 : 0,
      w,
      h,
    };
    show();
  };

  const overview = () => { view = { ...whole }; show(); };

  const line = (list, name, value) => {
    const dt = document.createElement("dt");
    const dd = document.createElement("dd");
    dt.textContent = name;
    dd.textContent = value;
    list.append(dt, dd);
  };

  const describe = (block) => {
    const title = document.createElement("h2");
    const brief = document.createElement("p");
    const list = document.createElement("dl");
    title.textContent = block.dataset.name;
    brief.textContent = block.dataset.line;
    for (const fact of block.dataset.facts ? block.dataset.facts.split("\n") : []) {
      const [name, ...value] = fact.split("\t");
      line(list, name, value.join("\t"));
    }
    aside.replaceChildren(title, brief, list);
    aside.hidden = false;
  };

  const light = (block) => {
    for (const other of blocks) other.classList.toggle("on", other === block);
    for (const edge of edges) {
      const touches = block && [edge.dataset.from, edge.dataset.to].includes(block.dataset.n);
      edge.classList.toggle("lit", Boolean(touches));
    }
  };

  const look = (block) => {
    const shown = block || pinned;
    light(shown);
    aside.classList.toggle("pinned", Boolean(pinned));
    if (shown) describe(shown); else aside.hidden = true;
  };

  const pin = (block) => { pinned = block === pinned ? null : block; look(null); };

  const centre = (block) => {
    const box = block.getBBox();
    const graph = svg.querySelector("#graph").transform.baseVal.consolidate().matrix;
    view.x = box.x + graph.e + box.width / 2 - view.w / 2;
    view.y = box.y + graph.f + box.height / 2 - view.h / 2;
    show();
  };

  const off = () => new Set(
    [...document.querySelectorAll(".chip[aria-pressed='false']")].map((chip) => chip.dataset.state));

  const matches = (part, words, hidden) => {
    const text = `${part.dataset.id} ${part.dataset.name}`.toLowerCase();
    return words.every((word) => text.includes(word)) && !hidden.has(part.dataset.state);
  };

  const filter = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const hidden = off();
    const active = words.length > 0 || hidden.size > 0;
    const kept = new Set();
    for (const block of blocks) {
      const cells = [...block.querySelectorAll(".c")];
      const inside = cells.filter((cell) => matches(cell, words, hidden));
      for (const cell of cells) cell.classList.toggle("dim", active && !inside.includes(cell));
      const keep = inside.length > 0 || matches(block, words, hidden);
      if (keep) kept.add(block.dataset.n);
      block.classList.toggle("dim", !keep);
    }
    for (const edge of edges) {
      edge.classList.toggle("dim", !(kept.has(edge.dataset.from) && kept.has(edge.dataset.to)));
    }
    found.textContent = active ? `${kept.size} of ${blocks.length}` : "";
    return blocks.filter((block) => kept.has(block.dataset.n));
  };

  for (const block of blocks) {
    block.querySelector("title").remove();
    block.addEventListener("pointerenter", () => look(block));
    block.addEventListener("pointerleave", () => look(null));
    block.addEventListener("focus", () => look(block));
    block.addEventListener("blur", () => look(null));
    block.addEventListener("keydown", (event) => { if (event.key === "Enter") pin(block); });
  }

  let next = 0;
  search.addEventListener("input", () => { next = 0; const hits = filter(); if (search.value && hits[0]) centre(hits[0]); });
  search.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    const hits = filter();
    if (hits.length) { next = (next + 1) % hits.length; centre(hits[next]); light(hits[next]); describe(hits[next]); }
  });
  for (const chip of document.querySelectorAll(".chip")) {
    chip.addEventListener("click", () => {
      chip.setAttribute("aria-pressed", String(chip.getAttribute("aria-pressed") === "false"));
      filter();
    });
  }

  let held = null;
  let moved = false;
  main.addEventListener("pointerdown", (event) => {
    if (event.target.closest("aside")) return;
    held = { x: event.clientX, y: event.clientY, block: event.target.closest(".b") };
    moved = false;
  });
  window.addEventListener("pointermove", (event) => {
    if (!held) return;
    const { scale } = toPaper(event.clientX, event.clientY);
    const dx = event.clientX - held.x;
    const dy = event.clientY - held.y;
    if (!moved && Math.hypot(dx, dy) < 4) return;
    moved = true;
    main.classList.add("drag");
    view.x -= dx * scale;
    view.y -= dy * scale;
    held.x = event.clientX;
    held.y = event.clientY;
    show();
  });
  window.addEventListener("pointerup", () => {
    if (held && !moved) pin(held.block);
    held = null;
    main.classList.remove("drag");
  });
  main.addEventListener("wheel", (event) => {
    if (event.target.closest("aside")) return;
    event.preventDefault();
    zoom(Math.exp(event.deltaY * 0.0014), event.clientX, event.clientY);
  }, { passive: false });

  const actions = { "+": () => zoom(0.8, ...middle()), "-": () => zoom(1.25, ...middle()), 0: overview, 1: fit };
  document.getElementById("in").addEventListener("click", actions["+"]);
  document.getElementById("out").addEventListener("click", actions["-"]);
  document.getElementById("all").addEventListener("click", overview);
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") { search.value = ""; pinned = null; look(null); filter(); search.blur(); return; }
    if (event.target === search || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "/") { event.preventDefault(); search.focus(); }
    else if (actions[event.key]) actions[event.key]();
  });
  fit();
})();
