// Every word that the page shows or says. To translate the page, translate this file and set `language`.

export const language = "en";

const number = new Intl.NumberFormat(language, { maximumFractionDigits: 1 });
const percent = new Intl.NumberFormat(language, { style: "percent", maximumFractionDigits: 0 });
const finePercent = new Intl.NumberFormat(language, {
  style: "percent",
  minimumFractionDigits: 1,
  maximumFractionDigits: 1,
});

export const text = {
  loading: "Loading the model …",
  loaded: (share) => `Loading the model: ${percent.format(share)}`,
  ready: "Ready. Choose a picture, or point the camera at something.",
  kept: "Works without a network from now on.",
  promise: "Your pictures never leave this device.",
  choose: "Choose pictures",
  camera: "Camera",
  stop: "Stop camera",
  flip: "Other camera",
  drop: "Drop pictures here, paste one, or choose some.",
  dropNow: "Let go to look at it.",
  stage: "The picture that is looked at",
  pictures: "Pictures that you chose",
  picture: (name, place, count) => `${name}, picture ${place} of ${count}`,
  pasted: "Pasted picture",
  liveView: "Camera",
  results: "What the model says",
  nothing: "Nothing found.",
  nothingYet: "What the model says of a picture will stand here.",
  explainHint: "Tap a line to see what speaks for it.",
  explained: (label) => `Warm places speak for “${label}”, cold ones against it. The score is their average, exactly.`,
  notExplained: "This network has no map that explains its answers.",
  share: (score) => finePercent.format(score),
  line: (label, score) => `${label}, ${finePercent.format(score)}`,
  several: (count, score) => `${count} × · ${percent.format(score)}`,
  severalTitle: "How many there are, and the score of the best",
  boxLabel: (label, score) => `${label} ${percent.format(score)}`,
  found: (count) => (count === 1 ? "One object found." : `${count} objects found.`),
  regions: (count) => (count === 1 ? "One class, and its share of the picture:" : `${count} classes, and their shares of the picture:`),
  times: (milliseconds, rate) =>
    rate > 0 ? `${number.format(milliseconds)} ms · ${number.format(rate)} frames a second` : `${number.format(milliseconds)} ms`,
  timesTitle: "For the whole of one picture: resizing, network and results",
  about: (name, precision, size, build) =>
    `${name} · ${precision} · ${size} pixels · ${build === "relaxed" ? "relaxed SIMD" : "SIMD"}`,
  errors: {
    simd:
      "This browser has no WebAssembly SIMD, which the engine needs. Take Chrome or Edge from version 91, Firefox from "
      + "89 or Safari from 16.4; or run `linnet predict` on a computer.",
    canvas: "This browser has no OffscreenCanvas. Take Chrome, Edge, Firefox from 105 or Safari from 16.4.",
    memory: "The model or the picture is too big for the memory of this browser. Take a smaller picture, or a model in eight bits.",
    fetch: "The page could not load its files. Is the server still there?",
    damaged: "The model's file is damaged, or of another version than this page. Export the page again.",
    picture: (name) => `“${name}” is no picture that this browser can read. JPEG, PNG, WebP and GIF work everywhere.`,
    noPicture: "That was no picture. Drop or paste a picture file.",
    noCamera: "There is no camera here. Choose a picture instead.",
    denied: "The camera may not be used: allow it for this page in the browser's settings, or choose a picture instead.",
    insecure: "Browsers give cameras only to pages from https:// or from this computer (localhost). Choose a picture instead.",
    busy: "The camera cannot be used: another program may have it. Close that one and try again.",
    engine: (reason) => `The engine refuses: ${reason}`,
  },
};
