
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const LEVELS = ["claimed", "checked", "spot-rerun", "reproduced"];
  const COSTS = ["seconds", "tokens", "usd"];
  const $ = (id) => document.getElementById(id);
  for (const node of document.querySelectorAll(".needs-script")) node.hidden = false;
  for (const node of document.querySelectorAll(".no-script")) node.hidden = true;

  const print = (metric, value) => {
    if (value === null || value === undefined) return "–";
    const [, , digits, suffix] = data.metrics[metric];
    return value.toFixed(suffix === "%" && value === 100 ? 0 : digits) + suffix;
  };
  const bare = (metric, value) => print(metric, value).replace(/%$/, "");
  const cellOf = (entry, metric) => (entry.cells[$("slice").value] || {})[metric];
  const better = (metric) => (data.metrics[metric][1] ? "descending" : "ascending");

  const state = {};
  const tables = [...document.querySelectorAll("table[data-tab]")];
  for (const table of tables) {
    state[table.dataset.tab] = { metric: table.dataset.by, order: better(table.dataset.by) };
    for (const head of table.querySelectorAll("th[data-metric]")) {
      const unit = head.querySelector("small");
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = head.firstChild.textContent.trim();
      head.firstChild.remove();
      head.insertBefore(button, unit);
      button.addEventListener("click", () => {
        const now = state[table.dataset.tab], metric = head.dataset.metric;
        const turn = now.order === "descending" ? "ascending" : "descending";
        state[table.dataset.tab] = { metric, order: now.metric === metric ? turn : better(metric) };
        show();
      });
    }
  }

  const shown = (entry) => {
    const words = $("find").value.toLowerCase().split(/\s+/).filter(Boolean);
    const text = entry.find;
    return words.every((word) => text.includes(word)) && (entry.reference ? $("references").checked : true)
      && LEVELS.indexOf(entry.level) >= Number($("level").value);
  };
  for (const entry of data.entries) entry.find = `${entry.name} ${entry.revision} ${entry.authors}`.toLowerCase();

  const ranked = (metric, order) => {
    const sign = order === "descending" ? -1 : 1;
    return data.entries.map((entry, at) => [at, cellOf(entry, metric)])
      .sort((a, b) => {
        if (!a[1] || !b[1]) return (a[1] ? 0 : 1) - (b[1] ? 0 : 1) || a[0] - b[0];
        return sign * (a[1][0] - b[1][0]) || a[0] - b[0];
      }).map(([at]) => at);
  };

  function fill(table) {
    const { metric, order } = state[table.dataset.tab];
    const slice = $("slice").value;
    const body = table.tBodies[0];
    const rows = new Map([...body.rows].map((row) => [Number(row.dataset.at), row]));
    const metrics = [];
    for (const head of table.querySelectorAll("th[data-metric]")) {
      metrics.push(head.dataset.metric);
      if (head.dataset.metric === metric) head.setAttribute("aria-sort", order);
      else head.removeAttribute("aria-sort");
    }
    for (const at of ranked(metric, order)) {
      const row = rows.get(at), entry = data.entries[at];
      row.hidden = !shown(entry);
      row.cells[0].textContent = slice ? "–" : entry.place[metric] || "–";
      metrics.forEach((name, i) => {
        const cell = cellOf(entry, name), td = row.cells[2 + i];
        const flag = td.querySelector("abbr"), small = td.querySelector("small");
        if (flag) flag.hidden = Boolean(slice);
        td.firstChild.textContent = cell ? print(name, cell[0]) : "–";
        small.textContent = cell && cell[1] !== null ? `[${bare(name, cell[1])}, ${bare(name, cell[2])}]` : "";
      });
      body.append(row);
    }
  }

  function tell() {
    const seen = data.entries.filter(shown).length, slice = $("slice").value;
    const hidden = data.entries.length - seen;
    $("told").textContent = [
      hidden ? `${seen} of ${data.entries.length} entries shown.` : "",
      slice ? `Rows of ${slice.replace("=", ": ")}, as stated by the submitters; places are given for all rows only.` : "",
      seen ? "" : "Nothing fits: loosen the filters.",
    ].filter(Boolean).join(" ");
  }

  const nameOf = (entry) => {
    const several = data.entries.filter((other) => other.name === entry.name).length > 1;
    return several ? `${entry.name} ${entry.revision}` : entry.name;
  };
  const SVG = "http://www.w3.org/2000/svg";
  function node(name, attributes, text) {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    return made;
  }
  function ticks(low, high, count) {
    const rough = (high - low) / count, power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 2.5, 5, 10].map((n) => n * power).find((n) => n >= rough);
    const found = [];
    for (let n = Math.ceil(low / step - 1e-9); n * step <= high + step * 1e-9; n++) found.push(Number((n * step).toPrecision(12)));
    return found;
  }
  const clip = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
  const draw = (place, width, height, label) => {
    const svg = node("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
    place.replaceChildren(svg);
    return svg;
  };

  function intervals() {
    const metric = $("metric").value, [title, higher] = data.metrics[metric];
    const order = ranked(metric, better(metric)).map((at) => data.entries[at]).filter((e) => shown(e) && cellOf(e, metric));
    const cells = order.map((entry) => cellOf(entry, metric).map((v, i, all) => (v === null ? all[0] : v)));
    if (!order.length) { $("intervals").replaceChildren(); $("intervals-told").textContent = "Nothing to draw."; return; }
    let low = Math.min(...cells.flat()), high = Math.max(...cells.flat());
    const room = (high - low || Math.abs(high) || 1) * 0.04;
    low -= room; high += room;
    const narrow = $("intervals").clientWidth < 520, width = narrow ? 360 : 820, left = narrow ? 110 : 200, row = 24;
    const bottom = 8 + row * order.length, x = (v) => left + (v - low) / (high - low) * (width - left - 16);
    const told = order.map((e, i) => `${e.name} ${e.revision} ${print(metric, cells[i][0])}`).join("; ");
    const svg = draw($("intervals"), width, bottom + 40, `${title}, ${higher ? "higher" : "lower"} is better: ${told}`);
    for (const t of ticks(low, high, narrow ? 4 : 6)) {
      svg.append(node("line", { class: "grid", x1: x(t), x2: x(t), y1: 4, y2: bottom }));
      svg.append(node("text", { x: x(t), y: bottom + 16, "text-anchor": "middle" }, String(t)));
    }
    order.forEach((entry, i) => {
      const y = 8 + row * (i + 0.5), mark = node("g", { class: entry.reference ? "reference" : "" });
      mark.append(node("title", {}, `${entry.name} ${entry.revision}: ${print(metric, cells[i][0])} [${bare(metric, cells[i][1])}, ${bare(metric, cells[i][2])}]`));
      mark.append(node("text", { class: "ink", x: left - 10, y: y + 4, "text-anchor": "end" }, clip(nameOf(entry), narrow ? 15 : 28)));
      mark.append(node("line", { class: "whisker", x1: x(cells[i][1]), x2: x(cells[i][2]), y1: y, y2: y }));
      mark.append(node("circle", { class: "dot", cx: x(cells[i][0]), cy: y, r: 4.5 }));
      svg.append(mark);
    });
    svg.append(node("text", { x: higher ? width - 16 : left, y: bottom + 34, "text-anchor": higher ? "end" : "start" }, higher ? "better →" : "← better"));
    $("intervals-told").textContent = `${title}: dots are values, lines 95 % intervals; grey: reference systems.`;
  }

  function scatter() {
    if (!$("scatter")) return;
    const metric = $("quality").value, kind = COSTS.indexOf($("cost").value), [title, higher] = data.metrics[metric];
    const known = data.entries.filter((e) => shown(e) && cellOf(e, metric));
    const points = known.filter((e) => e.cost[kind] !== null).map((e) => ({ e, cost: e.cost[kind], value: cellOf(e, metric)[0] }));
    const silent = known.length - points.length;
    if (!points.length) { $("scatter").replaceChildren(); $("scatter-told").textContent = "No entry shown states this cost."; return; }
    const costs = points.map((p) => p.cost), values = points.map((p) => p.value);
    const positive = Math.min(...costs) > 0, log = positive && Math.max(...costs) / Math.min(...costs) > 20;
    const scale = log ? Math.log10 : (v) => v;
    const span = (list, wide) => {
      const low = Math.min(...list), high = Math.max(...list), room = (high - low || Math.abs(high) || 1) * wide;
      return [low - room, high + room];
    };
    const narrow = $("scatter").clientWidth < 520, width = narrow ? 360 : 820, height = narrow ? 300 : 400, left = 56, bottom = height - 44;
    const [x0, x1] = span(costs.map(scale), 0.08), [y0, y1] = span(values, 0.08);
    const x = (v) => left + (scale(v) - x0) / (x1 - x0) * (width - left - 20), y = (v) => bottom - (v - y0) / (y1 - y0) * (bottom - 12);
    const unit = $("cost").selectedOptions[0].textContent;
    const svg = draw($("scatter"), width, height, `${title} against ${unit}: ${points.map((p) => `${p.e.name} ${print(metric, p.value)} at ${p.cost}`).join("; ")}`);
    for (const t of ticks(y0, y1, 7)) {
      svg.append(node("line", { class: "grid", x1: left, x2: width - 20, y1: y(t), y2: y(t) }));
      svg.append(node("text", { x: left - 6, y: y(t) + 4, "text-anchor": "end" }, String(t)));
    }
    const marks = log
      ? Array.from({ length: Math.floor(x1) - Math.ceil(x0) + 1 }, (_, i) => 10 ** (Math.ceil(x0) + i))
      : ticks(Math.max(x0, 0), x1, narrow ? 3 : 6);
    for (const t of marks) {
      svg.append(node("line", { class: "grid", x1: x(t), x2: x(t), y1: 12, y2: bottom }));
      svg.append(node("text", { x: x(t), y: bottom + 16, "text-anchor": "middle" }, String(Number(t.toPrecision(3)))));
    }
    const sign = higher ? 1 : -1;
    const front = [];
    for (const p of points.filter((one) => !one.e.oracle).sort((a, b) => a.cost - b.cost || sign * (b.value - a.value)))
      if (!front.length || sign * p.value > sign * front[front.length - 1].value) front.push(p);
    svg.append(node("polyline", { class: "front", points: front.map((p) => `${x(p.cost)},${y(p.value)}`).join(" ") }));
    const taken = [];
    for (const p of points) {
      const mark = node("g", { class: p.e.reference ? "reference" : "" });
      const px = x(p.cost), py = y(p.value), right = px > width - 110;
      const text = clip(nameOf(p.e), 18), wide = 6.6 * text.length;
      const box = (dy) => ({ x0: right ? px - 8 - wide : px + 8, x1: right ? px - 8 : px + 8 + wide, y0: py + dy - 11, y1: py + dy + 2 });
      const free = [4, -9, 17, -22, 30].map((dy) => [dy, box(dy)])
        .find(([, b]) => b.y0 > 0 && b.y1 < bottom && !taken.some((t) => t.x0 < b.x1 && b.x0 < t.x1 && t.y0 < b.y1 && b.y0 < t.y1));
      mark.append(node("title", {}, `${p.e.name} ${p.e.revision}: ${print(metric, p.value)} at ${p.cost} ${unit}`));
      mark.append(node("circle", { class: "dot", cx: px, cy: py, r: 5 }));
      if (free) {
        taken.push(free[1]);
        mark.append(node("text", { class: "ink", x: right ? px - 8 : px + 8, y: py + free[0], "text-anchor": right ? "end" : "start" }, text));
      }
      svg.append(mark);
    }
    svg.append(node("text", { x: width - 20, y: height - 6, "text-anchor": "end" }, `${unit}${log ? " (logarithmic)" : ""}`));
    $("scatter-told").textContent = `Costs are as stated by the submitters. The dashed line joins entries that nothing cheaper beats; the oracle, which knows the answers, is left aside.${silent ? ` ${silent} ${silent === 1 ? "entry states" : "entries state"} no such cost.` : ""}`;
  }

  function show() { tables.forEach(fill); tell(); intervals(); scatter(); }

  const tabs = [...document.querySelectorAll("[role=tab]")];
  function choose(tab, focus) {
    for (const other of tabs) {
      const on = other === tab, panel = $(other.getAttribute("aria-controls"));
      other.setAttribute("aria-selected", String(on));
      other.tabIndex = on ? 0 : -1;
      panel.setAttribute("role", "tabpanel");
      panel.hidden = !on;
    }
    if (focus) tab.focus();
  }
  tabs.forEach((tab, i) => {
    tab.addEventListener("click", () => choose(tab, false));
    tab.addEventListener("keydown", (event) => {
      const to = { ArrowRight: i + 1, ArrowLeft: i - 1, Home: 0, End: tabs.length - 1 }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      choose(tabs[(to + tabs.length) % tabs.length], true);
    });
  });
  if (tabs.length) choose(tabs[0], false);
  for (const id of ["slice", "level", "references"]) $(id).addEventListener("change", show);
  $("find").addEventListener("input", show);
  $("metric").addEventListener("change", intervals);
  for (const id of ["quality", "cost"]) if ($(id)) $(id).addEventListener("change", scatter);
  let waiting = 0;
  window.addEventListener("resize", () => { cancelAnimationFrame(waiting); waiting = requestAnimationFrame(() => { intervals(); scatter(); }); });
  show();
})();
