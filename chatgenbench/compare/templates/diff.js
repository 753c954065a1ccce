"use strict";
// Draws rows a page at a time from the JSON in the document.  Text enters only as text nodes.
const data = JSON.parse(document.getElementById("data").textContent);
const CARDS = 12, LINES = 50;
const SIDES = ["A", "B"];
const form = document.getElementById("controls");
const list = document.getElementById("list");
let page = 0;

function el(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== null && value !== "") node.setAttribute(key, value);
  }
  node.append(...children);
  return node;
}

const wish = () => Object.fromEntries(new FormData(form));

// How far A is ahead in a row, in standard deviations; of all headline metrics their mean.
function ahead(row, metric) {
  if (metric !== "all") return row.ahead[Number(metric)];
  const part = row.ahead.slice(0, data.headline);
  return part.reduce((sum, value) => sum + value, 0) / part.length;
}

// How much the runs disagree: with all metrics the mean of the sizes, so that opposite signs do not cancel.
function size(row, metric) {
  if (metric !== "all") return Math.abs(ahead(row, metric));
  const part = row.ahead.slice(0, data.headline);
  return part.reduce((sum, value) => sum + Math.abs(value), 0) / part.length;
}

function loser(row, metric) {
  const value = ahead(row, metric);
  return value === 0 ? null : value < 0 ? 0 : 1;
}

function stages(row, metric) {
  const side = loser(row, metric);
  if (side === null) return [];
  return metric === "all" ? row.faults[side] : ofMetric(Number(metric), row.faults[side]);
}

// A metric of the plan itself names its own stage, unless the answer is missing.
function ofMetric(metric, found) {
  const own = data.metrics[metric].stage;
  return own === null || found[0] === "answer" ? found : [own];
}

function title(metric) {
  return metric === "all" ? "All headline metrics" : data.metrics[Number(metric)].title;
}

function badge(side) {
  return el("span", { class: `side ${SIDES[side].toLowerCase()}` }, SIDES[side]);
}

function image(number, alt) {
  const p = data.pictures[number];
  return el("img", { src: p.src, width: p.w, height: p.h, class: p.crisp ? "crisp" : "", alt });
}

function bubble(message) {
  const node = el("li", { class: message.role }, el("span", { class: "who" }, message.role), el("span", { dir: "auto" }, message.text));
  for (const number of message.pictures) node.append(image(number, "reference picture sent with this message"));
  if (message.unseen > 0) node.append(el("span", { class: "who" }, `${message.unseen} reference picture(s) not embedded`));
  return node;
}

function goldFigure(row) {
  const picture = row.gold === null ? el("div", { class: "absent" }, row.embedded ? "no picture" : "not embedded: this page holds no more pictures")
    : image(row.gold, `demonstration of item ${row.id}`);
  return el("figure", { class: "gold" }, picture, el("figcaption", {}, el("b", {}, "demonstration")));
}

function sideFigure(row, k, metric) {
  const side = row.sides[k];
  const picture = side.drawn === null ? el("div", { class: "absent", dir: "auto" }, side.absent ?? "no picture")
    : image(side.drawn, `drawn by ${SIDES[k]}, ${data.names[k]}, for item ${row.id}`);
  const caption = el("figcaption", {}, badge(k), ` ${data.names[k]}`);
  if (metric !== "all") {
    const about = data.metrics[Number(metric)];
    caption.append(el("br"), `${about.title} ${row.values[Number(metric)][k]}${about.suffix}`);
  }
  const lost = loser(row, metric);
  return el("figure", { class: lost === 1 - k ? "won" : "" }, picture, caption);
}

function pieces(parts) {
  const box = el("div", { dir: "auto" });
  if (parts === null) box.append("no plan");
  else if (parts.length === 0) box.append("–");
  else for (const [text, differs] of parts) box.append(differs ? el("mark", {}, text) : text);
  return box;
}

function plan(row) {
  const body = el("tbody");
  for (const part of row.plan) {
    body.append(el("tr", {}, el("th", { scope: "row" }, part.name), el("td", { "data-of": "demonstration" }, el("div", { dir: "auto" }, part.gold || "–")),
      el("td", { "data-of": "A" }, pieces(part.sides[0])), el("td", { "data-of": "B" }, pieces(part.sides[1]))));
  }
  const head = el("tr", {}, el("td"), ...["demonstration", "A", "B"].map((name) => el("th", { scope: "col" }, name)));
  return el("table", { class: "plan three" }, el("colgroup", {}, el("col"), el("col"), el("col"), el("col")), el("thead", {}, head), body);
}

function scores(row) {
  const body = el("tbody");
  data.metrics.slice(0, data.headline || data.metrics.length).forEach((metric, i) => {
    const side = loser(row, i);
    const cell = (k) => el("td", { class: side === 1 - k ? "best" : "" }, `${row.values[i][k]}${metric.suffix}`);
    body.append(el("tr", {}, el("th", { scope: "row" }, `${metric.title} ${metric.arrow}`), cell(0), cell(1), el("td", {}, sigma(row.ahead[i]))));
  });
  const head = el("tr", {}, el("td"), ...["A", "B", "A ahead"].map((name) => el("th", { scope: "col" }, name)));
  return el("table", { class: "rowscores" }, el("thead", {}, head), body);
}

function sigma(value) {
  return value === 0 ? "equal" : `${value > 0 ? "+" : "−"}${Math.abs(value).toFixed(2)} σ`;
}

function verdict(row, metric) {
  const side = loser(row, metric);
  const node = el("p", { class: "fault" });
  if (side === null) node.append(`A and B are equal in ${title(metric)}.`);
  else node.append(badge(1 - side), ` is ahead by ${Math.abs(ahead(row, metric)).toFixed(2)} σ. At fault in `, badge(side), ": ",
    el("b", {}, stages(row, metric).join(", ")));
  return node;
}

function card(row, metric) {
  const header = el("header", {}, el("h3", {}, row.id), ...row.sides.map((side, k) => side.outcome === "ok" ? "" : el("span", { class: "badge" }, `${SIDES[k]} ${side.outcome}`)),
    el("span", { class: "soft small" }, [row.split, row.kind, ...row.slices].join(" · ")));
  const node = el("article", { class: "card", "aria-label": `item ${row.id}` }, header, verdict(row, metric));
  const look = el("div", { class: "look" }, el("ul", { class: "chat" }, ...row.messages.map(bubble)));
  if (data.drew.some(Boolean)) look.append(el("div", { class: "trio" }, goldFigure(row), sideFigure(row, 0, metric), sideFigure(row, 1, metric)));
  else look.classList.add("bare");
  node.append(look);
  node.append(el("div", { class: "facts2" }, plan(row), scores(row)), el("p", { class: "small soft" }, data.label));
  return node;
}

function line(row, metric) {
  const open = el("button", { type: "button", class: "plain" }, row.id);
  open.addEventListener("click", () => { form.elements.text.value = row.id; form.elements.show.value = "cards"; page = 0; show(); focusRows(); });
  const values = metric === "all" ? ["", ""] : row.values[Number(metric)].map((v) => v + data.metrics[Number(metric)].suffix);
  const side = loser(row, metric);
  return el("tr", {}, el("th", { scope: "row" }, open), ...values.map((value) => el("td", {}, value)), el("td", {}, sigma(ahead(row, metric))),
    el("td", {}, side === null ? "equal" : SIDES[1 - side]), el("td", {}, stages(row, metric).join(", ")),
    el("td", {}, row.split), el("td", {}, row.kind));
}

function table(rows, metric) {
  const names = ["item", "A", "B", "A ahead", "better", "stage at fault", "split", "kind"];
  const caption = `${title(metric)}, row by row. ${data.label}`;
  const grid = el("table", { class: "lines" }, el("thead", {}, el("tr", {}, ...names.map((name) => el("th", { scope: "col" }, name)))),
    el("tbody", {}, ...rows.map((row) => line(row, metric))));
  return [el("p", { class: "about" }, caption), el("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": caption }, grid)];
}

function haystack(row) {
  const words = [row.id, ...row.slices, ...row.messages.map((m) => m.text)];
  for (const part of row.plan) words.push(part.gold, ...part.sides.map((side) => (side || []).map((p) => p[0]).join("")));
  return words.join("\n").toLowerCase();
}

function chosen(wanted) {
  const text = wanted.text.trim().toLowerCase();
  const { metric } = wanted;
  const found = data.rows.filter((row) => {
    const side = loser(row, metric);
    return ["split", "kind"].every((key) => !wanted[key] || row[key] === wanted[key]) &&
      (!wanted.better || wanted.better === (side === null ? "equal" : side === 1 ? "a" : "b")) &&
      (!wanted.stage || stages(row, metric).includes(wanted.stage)) &&
      (!text || (row.haystack ??= haystack(row)).includes(text));
  });
  const by = { any: (row) => -size(row, metric), a: (row) => -ahead(row, metric), b: (row) => ahead(row, metric) }[wanted.sort];
  return by ? found.sort((x, y) => by(x) - by(y)) : found;
}

// Of the rows a run loses: how often each stage is at fault, and how often no other is.
function blame(metric) {
  const node = document.getElementById("blame");
  const about = el("p", { class: "about" }, `${title(metric)}${metric === "all" ? " (mean)" : ""} decides who loses a row. `, el("span", { class: "label" }, data.label));
  const bars = SIDES.map((name, k) => {
    const lost = data.rows.filter((row) => loser(row, metric) === k).map((row) => stages(row, metric));
    const box = el("div", { class: "blamed" }, el("h3", {}, badge(k), ` loses ${lost.length} of ${data.rows.length} rows${lost.length ? "; the stage at fault is" : ""}`));
    const counted = data.stages.map((stage) => [stage, lost.filter((s) => s.includes(stage)).length, lost.filter((s) => s.length === 1 && s[0] === stage).length]);
    for (const [stage, among, alone] of counted.filter((c) => c[1] > 0).sort((x, y) => y[1] - x[1])) {
      const share = Math.round((100 * among) / lost.length);
      const bar = el("span", { class: "bar" }, el("span", {}));
      bar.firstChild.style.width = `${share}%`;
      const button = el("button", { type: "button", class: "plain" }, stage);
      button.addEventListener("click", () => {
        form.elements.better.value = k === 0 ? "b" : "a";
        form.elements.stage.value = stage;
        page = 0;
        show();
        focusRows();
      });
      box.append(el("div", { class: "stage" }, button, bar, el("span", { class: "small" }, `${among} (${share}%), ${alone} alone`)));
    }
    return box;
  });
  node.replaceChildren(about, el("div", { class: "blames" }, ...bars));
}

function focusRows() {
  document.getElementById("h-rows").focus();
}

function show() {
  const wanted = wish();
  const found = chosen(wanted);
  const many = wanted.show === "cards" ? CARDS : LINES;
  const last = Math.max(0, Math.ceil(found.length / many) - 1);
  page = Math.min(Math.max(page, 0), last);
  const part = found.slice(page * many, (page + 1) * many);
  list.className = wanted.show === "cards" ? "cards wide" : "";
  list.replaceChildren(...(wanted.show === "cards" ? part.map((row) => card(row, wanted.metric)) : table(part, wanted.metric)));
  // a box with more text than room must be reachable by keyboard
  for (const box of list.querySelectorAll(".chat, .plan td > div, .absent")) if (box.scrollHeight > box.clientHeight) box.tabIndex = 0;
  const first = page * many + 1;
  const where = part.length ? `${first}–${first + part.length - 1} of ${found.length} rows` : "no row matches";
  for (const node of document.querySelectorAll(".where")) node.textContent = where;
  for (const button of document.querySelectorAll(".pager button")) {
    button.disabled = button.dataset.step === "-1" ? page === 0 : page === last;
  }
}

form.addEventListener("input", (event) => {
  page = 0;
  if (event.target.name === "metric") blame(form.elements.metric.value);
  show();
});
form.addEventListener("submit", (event) => event.preventDefault());
for (const button of document.querySelectorAll(".pager button")) {
  button.addEventListener("click", () => {
    page += Number(button.dataset.step);
    show();
    focusRows();
  });
}
blame(form.elements.metric.value);
show();
