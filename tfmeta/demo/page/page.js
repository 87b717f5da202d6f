"use strict";
// The page: characters with their examples, one question, and the answer as bars.

const FEWEST = 3;
const MOST = 5;
const MOST_EXAMPLES = 5; // of a character, the pad's among them
const characters = []; // {item, pad, kept: drawings}
let question;
let waiting = null; // the timer of the next question
let asked = null; // aborts the question that is on its way

const find = (selector, within = document) => within.querySelector(selector);
const say = (words) => (find("#said").textContent = words);
const sayPen = (words) => (find("#pen").textContent = words);
const made = (template) => find(template).content.cloneNode(true).firstElementChild;
const title = (i) => `Character ${i + 1}`;

function examples(character) {
  const now = character.pad.drawing();
  return now.length ? [...character.kept, now] : character.kept;
}

function addCharacter() {
  const item = made("#character");
  const character = { item, kept: [] };
  const number = characters.length;
  find("h3", item).textContent = title(number);
  find(".pad", item).setAttribute("aria-label", `Pad for ${title(number).toLowerCase()}`);
  for (const [button, words] of [[".undo", "undo"], [".another", "one more example"]])
    find(button, item).setAttribute("aria-label", `${title(number)}: ${words}`);
  find("#characters").append(item);
  character.pad = new Pad(find(".pad", item), () => changed(), sayPen);
  find(".undo", item).addEventListener("click", () => character.pad.undo());
  find(".another", item).addEventListener("click", () => keep(character));
  characters.push(character);
  find("#answers").append(made("#answer"));
  changed();
}

function removeCharacter() {
  characters.pop().item.remove();
  find("#answers").lastElementChild.remove();
  changed();
}

// The drawing on the pad goes to the examples, and the pad is free for another.
function keep(character) {
  character.kept.push(character.pad.drawing());
  character.pad.clear();
  character.pad.canvas.focus();
}

function showExamples(character, number) {
  const list = find(".examples", character.item);
  list.replaceChildren(
    ...character.kept.map((drawing, i) => {
      const item = document.createElement("li");
      const button = document.createElement("button");
      const small = document.createElement("canvas");
      button.type = "button";
      button.setAttribute("aria-label", `${title(number)}: remove example ${i + 1}`);
      small.className = "small";
      button.append(small);
      item.append(button);
      button.addEventListener("click", () => {
        character.kept.splice(i, 1);
        changed();
        character.pad.canvas.focus();
      });
      return item;
    }),
  );
  character.kept.forEach((drawing, i) => paint(list.children[i].querySelector("canvas"), drawing));
}

// Called whenever anything was drawn, or taken back.
function changed() {
  if (!question) return;
  characters.forEach((character, i) => {
    const drawn = character.pad.drawing().length > 0;
    showExamples(character, i);
    find(".undo", character.item).disabled = !drawn;
    find(".another", character.item).disabled =
      !drawn || character.kept.length + 1 >= MOST_EXAMPLES;
    const row = find("#answers").children[i];
    find(".name", row).textContent = title(i);
    paint(find(".small", row), examples(character)[0] || []);
  });
  find("#more").disabled = characters.length >= MOST;
  find("#fewer").disabled = characters.length <= FEWEST;
  find("#undo").disabled = find("#next").disabled = !question.drawing().length;
  clearTimeout(waiting);
  if (asked) asked.abort();
  const missing = characters.flatMap((c, i) => (examples(c).length ? [] : [i + 1]));
  if (missing.length || !question.drawing().length) {
    show(null);
    say(
      missing.length
        ? `Draw ${missing.length > 1 ? "characters" : "character"} ${listed(missing)} first.`
        : "Now draw one of them here.",
    );
  } else waiting = setTimeout(ask, 120);
}

function listed(numbers) {
  return numbers.length > 1
    ? `${numbers.slice(0, -1).join(", ")} and ${numbers.at(-1)}`
    : `${numbers[0]}`;
}

async function ask() {
  const mine = (asked = new AbortController());
  try {
    const answer = await fetch("answer", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({
        examples: characters.map(examples),
        drawing: question.drawing(),
      }),
      signal: mine.signal,
    });
    const found = await answer.json();
    if (mine.signal.aborted) return;
    if (!answer.ok) throw new Error(found.error);
    show(found.probabilities);
  } catch (error) {
    if (mine.signal.aborted) return;
    show(null);
    const gone = error instanceof TypeError;
    say(gone ? "No answer. Is tfmeta-draw still running?" : error.message);
  }
}

// Probabilities as bars; null: there are none.
function show(probabilities) {
  const best = probabilities ? probabilities.indexOf(Math.max(...probabilities)) : -1;
  [...find("#answers").children].forEach((row, i) => {
    const percent = probabilities ? Math.round(100 * probabilities[i]) : 0;
    const track = find(".track", row);
    row.className = i === best ? "best" : "";
    find(".bar", row).style.width = `${probabilities ? 100 * probabilities[i] : 0}%`;
    find(".percent", row).textContent = probabilities ? `${percent} %` : "";
    track.setAttribute("aria-label", title(i));
    track.setAttribute("aria-valuenow", percent);
    track.setAttribute("aria-valuetext", probabilities ? `${percent} percent` : "no answer yet");
  });
  if (best >= 0) say(`${title(best)}, ${Math.round(100 * probabilities[best])} %`);
}

for (let i = 0; i < FEWEST; i++) addCharacter();
question = new Pad(find("#question"), () => changed(), sayPen);
find("#more").addEventListener("click", addCharacter);
find("#fewer").addEventListener("click", removeCharacter);
find("#undo").addEventListener("click", () => question.undo());
find("#next").addEventListener("click", () => {
  question.clear();
  question.canvas.focus();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  for (const pad of [question, ...characters.map((character) => character.pad)]) pad.paint();
  changed();
});
changed();
