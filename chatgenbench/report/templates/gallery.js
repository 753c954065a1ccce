"use strict";
// The gallery: filters, sorts and pages over all rows; what is shown is written in the address (#outcome=ok&sort=...),
// so that a number on this page can link to exactly its rows.  Text enters the page only as text nodes.
const read = (id) => JSON.parse(document.getElementById(id).textContent);
const index = read("index");
const facets = new Map(index.facets.map((facet) => [facet.key, facet]));
const columns = new Map(index.columns.map((column) => [column.key, column]));
const form = document.getElementById("controls");
const cards = document.getElementById("cards");
const heading = document.getElementById("h-gallery");
const parts = new Map();
const texts = new Map();
let state = new URLSearchParams();

// A card's texts lie in parts of the page, each read when a row of it is shown or searched.
function part(number) {
  if (!parts.has(number)) parts.set(number, read(`part-${number}`));
  return parts.get(number);
}
const card = (row) => part(Math.floor(row / index.part))[row % index.part];

function el(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== null && value !== "") node.setAttribute(key, value);
  }
  node.append(...children);
  return node;
}

// ---- which rows ----
function facetOf(row, key) {
  const facet = facets.get(key);
  return facet && facet.codes[row] >= 0 ? facet.values[facet.codes[row]] : null;
}

function within(column, wanted) {
  const [low, high] = wanted.includes("..") ? wanted.split("..") : [wanted, wanted];
  return (row) => {
    const value = column.values[row];
    return value !== null && (low === "" || value >= Number(low)) && (high === "" || value <= Number(high));
  };
}

function haystack(row) {
  if (!texts.has(row)) {
    const one = card(row);
    const words = [index.ids[row], ...index.facets.map((facet) => facetOf(row, facet.key) ?? ""),
      ...one.messages.map((message) => message.text), ...one.plan.flat().map((side) => (side ?? []).join(""))];
    texts.set(row, words.join("\n").toLowerCase());
  }
  return texts.get(row);
}

function tests() {
  const found = [];
  for (const key of new Set(state.keys())) {
    const wanted = state.getAll(key);
    if (facets.has(key)) {
      const facet = facets.get(key);
      const codes = new Set(wanted.map((value) => facet.values.indexOf(value)).filter((code) => code >= 0));
      if (wanted.includes("")) codes.add(-1);
      found.push((row) => codes.has(facet.codes[row]));
    } else if (columns.has(key)) found.push(...wanted.map((value) => within(columns.get(key), value)));
    else if (key === "item") found.push((row) => wanted.includes(index.ids[row]));
  }
  const text = (state.get("text") ?? "").trim().toLowerCase();
  if (text) found.push((row) => haystack(row).includes(text)); // last: it reads the most
  return found;
}

function chosen() {
  const wanted = tests();
  const rows = [];
  for (let row = 0; row < index.ids.length; row += 1) if (wanted.every((test) => test(row))) rows.push(row);
  const column = columns.get(state.get("sort"));
  if (column) {
    const sign = state.get("order") === "low" ? 1 : -1;
    const value = column.values;
    rows.sort((a, b) => value[a] === null || value[b] === null
      ? (value[a] === null) - (value[b] === null) : sign * (value[a] - value[b]));
  }
  return rows;
}

// ---- one card ----
function image(number, alt) {
  const [src, width, height, crisp] = index.pictures[number];
  return el("img", { src, width, height, class: crisp ? "crisp" : "", loading: "lazy", decoding: "async", alt });
}

function bubble(message) {
  const node = el("li", { class: message.role }, el("span", { class: "who" }, message.role),
    el("span", { dir: "auto" }, message.text));
  for (const number of message.pictures) node.append(image(number, "reference picture sent with this message"));
  if (message.unseen > 0) node.append(el("span", { class: "who" }, `${message.unseen} reference picture(s) cannot be read`));
  return node;
}

function figure(number, alt, caption, absent) {
  if (number === null && absent === null) return null;
  const picture = number === null ? el("div", { class: "absent", dir: "auto" }, absent) : image(number, alt);
  return el("figure", {}, picture, el("figcaption", {}, caption));
}

// Texts come by turns: as the demonstration has it, then otherwise, and so on.
function pieces(turns) {
  const box = el("div", { dir: "auto" });
  if (turns === null) box.append("no plan");
  else if (turns.length === 0) box.append("–");
  else turns.forEach((text, i) => { if (text) box.append(i % 2 ? el("mark", {}, text) : text); });
  return el("td", {}, box);
}

function plan(one) {
  const body = el("tbody");
  one.plan.forEach(([own, gold], i) => {
    body.append(el("tr", {}, el("th", { scope: "row" }, index.plan[i]), pieces(own), pieces(gold)));
  });
  const head = el("tr", {}, el("td"), el("th", { scope: "col" }, index.system), el("th", { scope: "col" }, "demonstration"));
  return el("table", { class: "plan" }, el("colgroup", {}, el("col"), el("col"), el("col")), el("thead", {}, head), body);
}

function written(column, row) {
  const value = column.values[row];
  return value === null ? "–" : `${(value * column.scale).toFixed(column.digits)}${column.suffix}`;
}

function scores(row, keys) {
  const list = el("dl", { class: "scores" });
  for (const key of keys) {
    const column = columns.get(key);
    list.append(el("div", {}, el("dt", {}, `${column.title} ${column.arrow}`), el("dd", {}, written(column, row))));
  }
  return list;
}

function draw(row) {
  const one = card(row);
  const id = index.ids[row];
  const [outcome, reason] = [facetOf(row, "outcome"), facetOf(row, "reason")];
  const about = index.facets.filter((f) => !["outcome", "failure", "reason", "model", "gold_model", "approximated", "choice"].includes(f.key))
    .map((f) => [f, facetOf(row, f.key)]).filter(([, value]) => value !== null)
    .map(([f, value]) => ["split", "kind"].includes(f.key) ? value : `${f.title}: ${value}`);
  const link = el("a", { href: `#${new URLSearchParams([["item", id]])}` }, id);
  const header = el("header", {}, el("h3", {}, link),
    el("span", { class: outcome === "ok" ? "badge ok" : "badge" }, outcome),
    el("span", { class: "soft small" }, about.join(" · ")));
  const node = el("article", { class: "card", id: `item-${id}`, "aria-label": `item ${id}` }, header);
  node.append(el("ul", { class: "chat", "aria-label": "chat" }, ...one.messages.map(bubble)));
  const pair = [
    figure(one.drawn, `drawn by ${index.system} for item ${id}`, index.drew ? `drawn by ${index.system}` : index.system, one.absent),
    figure(one.gold, `demonstration of item ${id}`, "demonstration", index.drew ? "the demonstration's picture is missing" : null),
  ].filter((found) => found !== null);
  if (pair.length > 0) node.append(el("div", { class: "pair" }, ...pair));
  if (reason && one.drawn !== null) node.append(el("p", { class: "small" }, reason));
  const approximated = facetOf(row, "approximated");
  if (approximated) node.append(el("p", { class: "small soft" }, `Approximated: ${approximated}`));
  const first = [...index.shown];
  if (columns.has(state.get("sort")) && !first.includes(state.get("sort"))) first.unshift(state.get("sort"));
  const rest = [...columns.keys()].filter((key) => !first.includes(key));
  node.append(plan(one), scores(row, first));
  if (rest.length > 0) node.append(el("details", {}, el("summary", {}, "All scores"), scores(row, rest)));
  node.append(el("p", { class: "small soft" }, document.body.dataset.label));
  return node;
}

// ---- the page ----
function told() {
  const lines = [];
  for (const key of new Set(state.keys())) {
    const wanted = state.getAll(key);
    if (key === "item") lines.push(`item is ${wanted.join(" or ")}`);
    else if (columns.has(key)) lines.push(...wanted.map((value) => `${columns.get(key).title} is ${range(columns.get(key), value)}`));
    else if (facets.has(key) && !(wanted.length === 1 && form.elements[key])) {
      lines.push(`${facets.get(key).title} is ${wanted.map((value) => value || "none").join(" or ")}`);
    }
  }
  return lines.join("; ");
}

function range(column, wanted) {
  const shown = (text) => text === "" ? "" : `${Number((Number(text) * column.scale).toFixed(4))}${column.suffix}`;
  if (!wanted.includes("..")) return shown(wanted);
  const [low, high] = wanted.split("..").map(shown);
  return low && high ? `${low} to ${high}` : low ? `at least ${low}` : `at most ${high}`;
}

function show() {
  const rows = chosen();
  const last = Math.max(0, Math.ceil(rows.length / index.page) - 1);
  const page = Math.min(Math.max(Number.parseInt(state.get("page") ?? "1", 10) - 1 || 0, 0), last);
  const visible = rows.slice(page * index.page, (page + 1) * index.page);
  cards.replaceChildren(...visible.map(draw));
  for (const box of cards.querySelectorAll(".chat, .absent, .plan td > div")) {
    if (box.scrollHeight > box.clientHeight) box.tabIndex = 0; // what scrolls is reached by keyboard
  }
  const first = page * index.page + 1;
  const count = rows.length.toLocaleString("en");
  const where = visible.length ? `${first}–${first + visible.length - 1} of ${count} items` : "no item matches";
  for (const node of document.querySelectorAll(".where")) node.textContent = where;
  for (const button of document.querySelectorAll(".pager button[data-step]")) {
    const to = page + Number(button.dataset.step);
    button.disabled = to < 0 || to > last;
    button.dataset.to = String(to + 1);
  }
  const line = told();
  document.getElementById("only").textContent = line ? `Only rows where ${line}.` : "";
  document.getElementById("all").disabled = ![...state.keys()].some((key) => !["page", "sort", "order"].includes(key));
  document.documentElement.dataset.ready = "yes";
}

// Selects show what the address says; what they cannot show (several values, ranges) is told in a line.
function fill() {
  for (const field of form.elements) {
    if (!field.name) continue;
    const wanted = state.getAll(field.name);
    field.value = wanted.length === 1 ? wanted[0] : field.name === "order" ? "high" : "";
  }
}

function write() {
  const text = state.toString();
  try {
    history.replaceState(null, "", text ? `#${text}` : "#gallery");
  } catch { /* a page without an address of its own still filters */ }
}

function change(key, value) {
  state.delete(key);
  if (value !== "") state.set(key, value);
  if (key !== "page") state.delete("page");
}

function follow() {
  const hash = location.hash.slice(1);
  if (!hash.includes("=")) return false;
  state = new URLSearchParams(hash);
  fill();
  show();
  heading.scrollIntoView();
  heading.focus({ preventScroll: true });
  return true;
}

let waiting = 0;
form.addEventListener("input", (event) => {
  change(event.target.name, event.target.value);
  clearTimeout(waiting);
  waiting = setTimeout(() => { write(); show(); }, event.target.type === "search" ? 200 : 0);
});
form.addEventListener("submit", (event) => event.preventDefault());
document.getElementById("all").addEventListener("click", () => {
  for (const key of [...state.keys()]) if (!["sort", "order"].includes(key)) state.delete(key);
  fill();
  write();
  show();
  heading.focus();
});
for (const button of document.querySelectorAll(".pager button[data-step]")) {
  button.addEventListener("click", () => {
    change("page", button.dataset.to === "1" ? "" : button.dataset.to);
    write();
    show();
    heading.scrollIntoView();
    heading.focus({ preventScroll: true });
  });
}
window.addEventListener("hashchange", follow);
if (!follow()) show();
