"use strict";
// Shows one pair after another and sends each choice at once.  Text enters only as text nodes.
const session = JSON.parse(document.getElementById("session").textContent);
const at = (id) => document.getElementById(id);
const KEYS = { ArrowLeft: "left", ArrowRight: "right", t: "tie", s: "skip", u: "undo" };
const SAID = { left: "left chosen", right: "right chosen", tie: "tie", skip: "skipped", undo: "taken back" };
let voter = sessionStorage.getItem("voter") || session.voter || "";
let ballot = null;
let shownAt = 0;
let busy = false;

async function post(path, body) {
  const response = await fetch(path, {
    method: "POST", headers: { "Content-Type": "application/json", "X-Session": session.token }, body: JSON.stringify({ voter, ...body }),
  });
  const answer = await response.json();
  if (response.status === 409) return post("/state", {});
  if (!response.ok) throw new Error(answer.error);
  return answer;
}

// One request at a time: a second key press while a vote is being written is dropped.
async function ask(path, body) {
  if (busy) return false;
  busy = true;
  document.body.classList.add("busy");
  try {
    await show(await post(path, body));
    at("problem").hidden = true;
    return true;
  } catch (error) {
    at("problem").textContent = error instanceof TypeError ? "The server does not answer: start it again with the same command, and open the new address it prints." : error.message;
    at("problem").hidden = false;
    return false;
  } finally {
    busy = false;
    document.body.classList.remove("busy");
  }
}

function bubble(message) {
  const node = document.createElement("li");
  node.className = message.role;
  const who = document.createElement("span");
  who.className = "who";
  who.textContent = message.role;
  const text = document.createElement("span");
  text.dir = "auto";
  text.textContent = message.text;
  node.append(who, text);
  for (const address of message.pictures) {
    const image = new Image();
    image.src = address;
    image.alt = "reference picture sent with this message";
    image.className = "crisp";
    node.append(image);
  }
  return node;
}

async function show(state) {
  at("bar").max = Math.max(1, state.total);
  at("bar").value = state.done;
  at("count").textContent = `${state.done} of ${state.total}`;
  at("name").textContent = state.voter;
  at("progress").hidden = false;
  at("enter").hidden = true;
  ballot = state.ballot;
  at("booth").hidden = ballot === null;
  at("over").hidden = ballot !== null;
  for (const button of document.querySelectorAll("[data-choice=undo]")) button.disabled = state.done === 0;
  if (ballot === null) return at("over").focus();
  at("chat").replaceChildren(...ballot.messages.map(bubble));
  // both pictures appear together: the one that comes first must not draw the eye
  await Promise.all(["left", "right"].map((side) => {
    at(side).src = ballot[side];
    return at(side).decode().catch(() => { throw new Error("A picture cannot be shown: skip this pair with s."); });
  })).finally(() => {
    if (at("chat").scrollHeight > at("chat").clientHeight) at("chat").tabIndex = 0;
    else at("chat").removeAttribute("tabindex");
    for (const side of ["left", "right"]) at(side).classList.toggle("crisp", at(side).naturalWidth <= 128);
    shownAt = performance.now();
  });
}

async function choose(choice) {
  if (choice === "undo") { if (await ask("/undo", {})) at("said").textContent = SAID.undo; return; }
  if (ballot === null || busy) return;
  const seconds = (performance.now() - shownAt) / 1000;
  if (await ask("/vote", { ballot: ballot.id, choice, seconds })) at("said").textContent = `${SAID[choice]}, ${at("count").textContent}`;
}

function enter() {
  ballot = null;
  for (const id of ["booth", "over", "progress"]) at(id).hidden = true;
  at("enter").hidden = false;
  at("voter").value = voter;
  at("voter").focus();
}

document.addEventListener("keydown", (event) => {
  const choice = KEYS[event.key] ?? KEYS[event.key.toLowerCase()];
  if (!choice || event.repeat || event.ctrlKey || event.metaKey || event.altKey || !at("enter").hidden) return;
  event.preventDefault();
  choose(choice);
});
for (const button of document.querySelectorAll("[data-choice]")) {
  button.addEventListener("click", () => choose(button.dataset.choice));
}
at("change").addEventListener("click", enter);
at("enter").addEventListener("submit", (event) => {
  event.preventDefault();
  voter = at("voter").value.trim();
  sessionStorage.setItem("voter", voter);
  ask("/state", {});
});
if (voter) ask("/state", {});
else enter();
