"use strict";
// Draws the gallery a page at a time from the JSON in the document.  Text enters only as text nodes.
const data = JSON.parse(document.getElementById("data").textContent);
const PAGE = 24;
const form = document.getElementById("controls");
const cards = document.getElementById("cards");
let page = 0;

function el(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== null && value !== "") node.setAttribute(key, value);
  }
  node.append(...children);
  return node;
}

function image(number, alt) {
  const p = data.pictures[number];
  return el("img", { src: p.src, width: p.w, height: p.h, class: p.crisp ? "crisp" : "", alt });
}

function bubble(message) {
  const node = el("li", { class: message.role }, el("span", { class: "who" }, message.role),
    el("span", { dir: "auto" }, message.text));
  for (const number of message.pictures) node.append(image(number, "reference picture sent with this message"));
  if (message.unseen > 0) node.append(el("span", { class: "who" }, `${message.unseen} reference picture(s) not embedded`));
  return node;
}

function figure(number, alt, caption, absent) {
  if (number === null && absent === null) return null;
  const picture = number === null ? el("div", { class: "absent", dir: "auto" }, absent) : image(number, alt);
  return el("figure", {}, picture, el("figcaption", {}, caption));
}

function pieces(parts) {
  const box = el("div", { dir: "auto" });
  if (parts === null) box.append("no plan");
  else if (parts.length === 0) box.append("–");
  else for (const [text, differs] of parts) box.append(differs ? el("mark", {}, text) : text);
  return el("td", {}, box);
}

function plan(card) {
  const body = el("tbody");
  for (const row of card.plan) {
    body.append(el("tr", {}, el("th", { scope: "row" }, row.name), pieces(row.own), pieces(row.gold)));
  }
  const head = el("tr", {}, el("td"), el("th", { scope: "col" }, data.system), el("th", { scope: "col" }, "demonstration"));
  return el("table", { class: "plan" }, el("colgroup", {}, el("col"), el("col"), el("col")), el("thead", {}, head), body);
}

function scores(card) {
  const list = el("dl", { class: "scores" });
  data.columns.forEach((column, i) => {
    list.append(el("div", {}, el("dt", {}, `${column.title} ${column.arrow}`), el("dd", {}, card.texts[i])));
  });
  return list;
}

function draw(card) {
  const header = el("header", {}, el("h3", {}, card.id),
    el("span", { class: card.outcome === "ok" ? "badge ok" : "badge" }, card.outcome),
    el("span", { class: "soft small" }, [card.split, card.kind, ...card.slices].join(" · ")));
  const node = el("article", { class: "card", "aria-label": `item ${card.id}` }, header);
  node.append(el("ul", { class: "chat" }, ...card.messages.map(bubble)));
  const pair = [
    figure(card.drawn, `drawn by ${data.system} for item ${card.id}`, data.drew ? `drawn by ${data.system}` : data.system, card.absent),
    figure(card.gold, `demonstration of item ${card.id}`, "demonstration", data.drew ? "not embedded" : null),
  ].filter((found) => found !== null);
  if (pair.length > 0) node.append(el("div", { class: "pair" }, ...pair));
  if (card.approximated) node.append(el("p", { class: "small soft" }, `Approximated sampler: ${card.approximated}`));
  node.append(plan(card), scores(card), el("p", { class: "small soft" }, data.label));
  return node;
}

function haystack(card) {
  const words = [card.id, ...card.slices, ...card.messages.map((m) => m.text)];
  for (const row of card.plan) for (const side of [row.own, row.gold]) words.push((side || []).map((p) => p[0]).join(""));
  return words.join("\n").toLowerCase();
}

function chosen() {
  const wanted = Object.fromEntries(new FormData(form));
  const text = wanted.text.trim().toLowerCase();
  const found = data.items.filter((card) =>
    ["split", "kind", "outcome", "model"].every((key) => !wanted[key] || card[key] === wanted[key]) &&
    (!text || (card.haystack ??= haystack(card)).includes(text)));
  if (wanted.sort) {
    const [column, order] = wanted.sort.split(" ");
    const sign = order === "high" ? -1 : 1;
    const value = (card) => card.scores[Number(column)];
    found.sort((a, b) => value(a) === null || value(b) === null
      ? (value(a) === null) - (value(b) === null) : sign * (value(a) - value(b)));
  }
  return found;
}

function show() {
  const found = chosen();
  const last = Math.max(0, Math.ceil(found.length / PAGE) - 1);
  page = Math.min(Math.max(page, 0), last);
  const part = found.slice(page * PAGE, (page + 1) * PAGE);
  cards.replaceChildren(...part.map(draw));
  const first = page * PAGE + 1;
  const where = part.length ? `${first}–${first + part.length - 1} of ${found.length} items` : "no item matches";
  for (const node of document.querySelectorAll(".where")) node.textContent = where;
  for (const button of document.querySelectorAll(".pager button")) {
    button.disabled = button.dataset.step === "-1" ? page === 0 : page === last;
  }
}

form.addEventListener("input", () => { page = 0; show(); });
form.addEventListener("submit", (event) => event.preventDefault());
for (const button of document.querySelectorAll(".pager button")) {
  button.addEventListener("click", () => {
    page += Number(button.dataset.step);
    show();
    document.getElementById("h-gallery").focus();
  });
}
show();
