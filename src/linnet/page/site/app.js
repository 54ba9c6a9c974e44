// The page: pictures and camera on one side, what the model says on the other, the engine in a worker between them.

import { Camera } from "./camera.js";
import { clear, drawBoxes, drawLabels, drawMap, drawPicture } from "./drawing.js";
import { seenBox } from "./explanation.js";
import { cacheName } from "./kept.js";
import { Looker } from "./looker.js";
import { bitmapOf } from "./pixels.js";
import { Results } from "./results.js";
import { language, text } from "./strings.js";

const FILE = "model.safetensors";
const SPOKEN_EVERY = 2500; // milliseconds between what a screen reader says of a camera

const at = (id) => document.getElementById(id);
const looker = new Looker();
const camera = new Camera(at("video"));
const results = new Results(at("results"), at("note"), explainClass);

let model; // its document
let pictures = []; // {name, bitmap, thumbnail}
let chosen = -1;
let explained = null; // the class whose map is shown
let lastAnswer;
let spoken = { text: "", time: 0 };

/* Words. */

document.documentElement.lang = language;
for (const element of document.querySelectorAll("[data-text]")) element.textContent = text[element.dataset.text];
for (const element of document.querySelectorAll("[data-label]")) {
  element.setAttribute("aria-label", text[element.dataset.label]);
}

function say(sentence, isError = false) {
  at("status").textContent = sentence;
  at("status").classList.toggle("error", isError);
}

// A failure by the name that was thrown; what has no name here is the engine's own sentence.
function sayError({ message }) {
  const known = text.errors[message];
  say(typeof known === "string" ? known : text.errors.engine(message), true);
}

// For who does not see the results: at once for a picture, now and then for a camera.
function speak(sentence) {
  const now = performance.now();
  if (sentence === spoken.text || (camera.isOn && now - spoken.time < SPOKEN_EVERY)) return;
  spoken = { text: sentence, time: now };
  at("said").textContent = sentence;
}

/* One picture, or one frame. */

function show(answer, width, height, mirrored) {
  lastAnswer = answer;
  at("frame").style.setProperty("--ratio", width / height);
  const overlay = at("overlay");
  if (answer.found) {
    drawBoxes(overlay, width, height, answer.found, model.classes, mirrored);
  } else if (answer.labels) {
    drawLabels(overlay, width, height, answer.labels, model.segmentation, mirrored);
  } else if (answer.explanation) {
    drawMap(overlay, width, height, answer.explanation, seenBox(model.preprocessing, width, height), mirrored);
  } else {
    clear(overlay);
  }
  results.show(answer, model, answer.explanation?.index ?? null);
  speak(results.sentence(answer, model));
}

async function lookAtPicture() {
  const picture = pictures[chosen];
  if (!model || !picture) return;
  const { bitmap, name } = picture;
  const answer = await looker.look(await createImageBitmap(bitmap), explained);
  if (picture !== pictures[chosen] || camera.isOn) return; // another one was chosen meanwhile
  show(answer, bitmap.width, bitmap.height, false);
  at("picture").setAttribute("aria-label", name);
  at("times").textContent = text.times(answer.milliseconds, 0);
}

async function lookThroughCamera() {
  let rate = 0;
  let last = performance.now();
  while (camera.isOn) {
    const frame = await camera.frame();
    if (frame === null) break;
    const answer = await looker.look(frame, explained);
    if (!camera.isOn) break;
    const now = performance.now();
    rate = rate === 0 ? 1000 / (now - last) : 0.9 * rate + 0.1 * (1000 / (now - last));
    last = now;
    show(answer, answer.width, answer.height, camera.isMirrored);
    at("times").textContent = text.times(answer.milliseconds, rate);
  }
}

// A tap on a line: its map, or none if it was shown already.
async function explainClass(index) {
  explained = explained === index ? null : index;
  if (camera.isOn || !lastAnswer) return;
  try {
    const picture = pictures[chosen];
    const answer = await looker.again(explained);
    if (picture === pictures[chosen]) show(answer, picture.bitmap.width, picture.bitmap.height, false);
  } catch (error) {
    sayError(error);
  }
}

/* Pictures. */

async function take(files) {
  const found = [];
  for (const file of files) {
    try {
      const bitmap = await bitmapOf(file);
      found.push({ name: file.name || text.pasted, bitmap, thumbnail: URL.createObjectURL(file) });
    } catch {
      say(text.errors.picture(file.name || text.pasted), true);
    }
  }
  if (found.length === 0) return;
  if (found.length === files.length) say("");
  stopCamera();
  for (const { bitmap, thumbnail } of pictures) {
    bitmap.close();
    URL.revokeObjectURL(thumbnail);
  }
  pictures = found;
  showStrip();
  await choose(0);
}

function showStrip() {
  at("strip").hidden = pictures.length < 2;
  at("strip").replaceChildren(
    ...pictures.map(({ name, thumbnail }, place) => {
      const button = document.createElement("button");
      button.type = "button";
      button.style.backgroundImage = `url("${thumbnail}")`;
      button.setAttribute("aria-label", text.picture(name, place + 1, pictures.length));
      button.addEventListener("click", () => choose(place));
      return button;
    }),
  );
}

async function choose(place) {
  stopCamera();
  chosen = place;
  explained = null;
  const { bitmap } = pictures[place];
  [...at("strip").children].forEach((button, i) => button.setAttribute("aria-pressed", String(i === place)));
  showStage("picture");
  at("frame").style.setProperty("--ratio", bitmap.width / bitmap.height);
  drawPicture(at("picture"), bitmap);
  clear(at("overlay"));
  try {
    await lookAtPicture();
  } catch (error) {
    sayError(error);
  }
}

// What the stage shows: "picture", "video" or nothing yet.
function showStage(what) {
  at("frame").hidden = what === null;
  at("empty").hidden = what !== null;
  at("picture").hidden = what !== "picture";
  at("video").hidden = what !== "video";
}

/* The camera. */

async function startCamera(other = false) {
  try {
    await camera.start(other);
  } catch (error) {
    stopCamera();
    return sayError(error);
  }
  explained = null;
  say("");
  at("camera").textContent = text.stop;
  at("flip").hidden = !camera.hasOther;
  at("video").classList.toggle("mirrored", camera.isMirrored);
  clear(at("overlay"));
  showStage("video");
  try {
    await lookThroughCamera();
  } catch (error) {
    stopCamera();
    sayError(error);
  }
}

function stopCamera() {
  if (!camera.isOn) return;
  camera.stop();
  at("camera").textContent = text.camera;
  at("flip").hidden = true;
  showStage(pictures[chosen] ? "picture" : null);
  clear(at("overlay"));
}

/* What people do. */

function takeChosen() {
  const input = at("file");
  const files = [...input.files];
  input.value = ""; // the same file may be chosen again
  if (files.length > 0) take(files);
}

at("file").addEventListener("change", takeChosen);
takeChosen(); // what was chosen before this script was there
at("camera").addEventListener("click", () => {
  if (!camera.isOn) return startCamera();
  stopCamera();
  if (pictures[chosen]) choose(chosen);
});
at("flip").addEventListener("click", () => startCamera(true));

addEventListener("paste", ({ clipboardData }) => takeOrSay(clipboardData));
addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("dropping");
});
addEventListener("dragleave", ({ relatedTarget }) => {
  if (relatedTarget === null) document.body.classList.remove("dropping");
});
addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dropping");
  takeOrSay(event.dataTransfer);
});

function takeOrSay(transfer) {
  const files = [...(transfer?.files ?? [])];
  if (files.length > 0) take(files);
  else say(text.errors.noPicture, true);
}

// A phone that is put away needs no camera.
document.addEventListener("visibilitychange", () => {
  if (document.hidden) stopCamera();
});

/* Beginning. */

async function begin() {
  results.clear();
  say(text.loading);
  const opened = await looker.open(FILE, (share) => say(text.loaded(share)));
  model = opened.document;
  const [height, width] = model.preprocessing.size;
  document.title = model.name;
  at("name").textContent = model.name;
  at("about").textContent = text.about(model.name, model.precision, `${width} × ${height}`, opened.build);
  at("times").title = text.timesTitle;
  say(text.ready);
  document.body.dataset.ready = opened.build;
  await lookAtPicture(); // one may have been chosen already
}

async function keep() {
  if (!("serviceWorker" in navigator)) return;
  await navigator.serviceWorker.register("service-worker.js");
  await navigator.serviceWorker.ready;
  if (await (await caches.open(cacheName)).match(FILE)) at("kept").textContent = text.kept;
}

begin()
  .then(keep)
  .catch(sayError);
