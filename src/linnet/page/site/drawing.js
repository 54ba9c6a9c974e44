// Pictures, boxes, label maps and maps that explain on canvases.

import { text } from "./strings.js";

// Okabe and Ito's, which the colour-blind can tell apart too; the same as in `linnet predict --draw`.
const COLOURS = ["#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7"];
const DARK = new Set(["#0072b2", "#d55e00", "#009e73"]);
const TINT = 128; // of 255: how much of a class's colour is seen
const MANY = 6; // objects
const LONGEST = 1600; // pixels of a side of a canvas: more is not seen

export const colourOf = (index) => COLOURS[index % COLOURS.length];

/** Draws a picture as large as it is seen. */
export function drawPicture(canvas, bitmap) {
  const scale = Math.min(1, LONGEST / Math.max(bitmap.width, bitmap.height));
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
}

export function clear(canvas) {
  canvas.getContext("2d").clearRect(0, 0, canvas.width, canvas.height);
}

// A context whose units are pixels of the screen, over a picture of this size.
function open(canvas) {
  const density = window.devicePixelRatio || 1;
  const { clientWidth: width, clientHeight: height } = canvas;
  const [across, down] = [Math.round(width * density), Math.round(height * density)];
  // Setting a size clears a canvas, and costs more than clearing it.
  if (canvas.width !== across || canvas.height !== down) Object.assign(canvas, { width: across, height: down });
  const context = canvas.getContext("2d");
  context.setTransform(density, 0, 0, density, 0, 0);
  context.clearRect(0, 0, width, height);
  return { context, width, height };
}

/** Draws objects, of which the small lie on top. */
export function drawBoxes(canvas, pictureWidth, pictureHeight, found, classes, mirrored) {
  const { context, width, height } = open(canvas);
  const area = ({ box: [x0, y0, x1, y1] }) => (x1 - x0) * (y1 - y0);
  context.font = "600 13px system-ui, sans-serif";
  context.textBaseline = "middle";
  for (const { index, score, box } of [...found].sort((a, b) => area(b) - area(a))) {
    const [x0, x1] = mirrored ? [1 - box[2], 1 - box[0]] : [box[0], box[2]];
    const [left, top, right, bottom] = [x0 * width, box[1] * height, x1 * width, box[3] * height];
    context.strokeStyle = context.fillStyle = colourOf(index);
    context.lineWidth = 2.5;
    context.beginPath();
    context.roundRect(left, top, right - left, bottom - top, 4);
    context.stroke();
    const label = text.boxLabel(classes[index], score);
    const across = context.measureText(label).width + 10;
    // Small boxes that lie close together would be hidden by their own names.
    if (found.length > MANY && across > 1.15 * (right - left)) continue;
    const x = Math.max(0, Math.min(left - 1, width - across));
    const y = top >= 20 ? top - 20 : top;
    context.beginPath();
    context.roundRect(x, y, across, 20, 4);
    context.fill();
    context.fillStyle = DARK.has(colourOf(index)) ? "#fff" : "#000";
    context.fillText(label, x + 5, y + 10.5);
  }
}

/**
 * Tints every pixel by its class, with lines between the classes, as `linnet predict --draw` does.
 *
 * @param {Uint8Array} labels [pictureHeight][pictureWidth] classes
 * @param {{colours: number[][], clear: number[]}} paint a colour for every class, and the classes that are left out
 */
export function drawLabels(canvas, pictureWidth, pictureHeight, labels, paint, mirrored) {
  const { context, width, height } = open(canvas);
  if (mirrored) context.transform(-1, 0, 0, 1, width, 0);
  context.imageSmoothingQuality = "high";
  context.drawImage(labelPicture(pictureWidth, pictureHeight, labels, paint), 0, 0, width, height);
}

// A pixel of a picture that is larger than what is seen is that of the label nearest to its middle.
function labelPicture(pictureWidth, pictureHeight, labels, { colours, clear }) {
  const scale = Math.min(1, LONGEST / Math.max(pictureWidth, pictureHeight));
  const width = Math.max(1, Math.round(pictureWidth * scale));
  const height = Math.max(1, Math.round(pictureHeight * scale));
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  const near = (i, side, all) => Math.min(all - 1, Math.floor(((i + 0.5) * all) / side));
  const columns = Array.from({ length: width }, (_, x) => near(x, width, pictureWidth));
  const rows = Array.from({ length: height }, (_, y) => pictureWidth * near(y, height, pictureHeight));
  // Bytes in the order red, green, blue, opacity.
  const tints = colours.map(([red, green, blue], index) =>
    clear.includes(index) ? [0, 0] : [TINT, 255].map((alpha) => ((alpha << 24) | (blue << 16) | (green << 8) | red) >>> 0),
  );
  const pixels = new Uint32Array(image.data.buffer);
  for (let y = 0; y < height; ++y) {
    const below = rows[Math.min(y + 1, height - 1)];
    for (let x = 0; x < width; ++x) {
      const label = labels[rows[y] + columns[x]];
      const right = labels[rows[y] + columns[Math.min(x + 1, width - 1)]];
      const isEdge = label !== right || label !== labels[below + columns[x]];
      pixels[y * width + x] = tints[label][Number(isEdge)];
    }
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

/** Draws which places spoke for a class (warm) and against it (cold), over the part that the network saw. */
export function drawMap(canvas, pictureWidth, pictureHeight, explanation, seen, mirrored) {
  const { context, width, height } = open(canvas);
  const small = mapPicture(explanation);
  const [left, top, across, down] = seen;
  const [x, y] = [width / pictureWidth, height / pictureHeight];
  context.fillStyle = "rgb(0 0 0 / 45%)";
  context.fillRect(0, 0, width, height);
  if (mirrored) context.transform(-1, 0, 0, 1, width, 0);
  context.clearRect(left * x, top * y, across * x, down * y);
  context.imageSmoothingQuality = "high";
  context.drawImage(small, left * x, top * y, across * x, down * y);
}

function mapPicture({ width, height, shares }) {
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  const most = shares.reduce((a, b) => Math.max(a, Math.abs(b)), 1e-9);
  shares.forEach((share, i) => {
    const [red, green, blue] = share > 0 ? [255, 96, 32] : [32, 96, 255];
    image.data.set([red, green, blue, Math.round((200 * Math.abs(share)) / most)], 4 * i);
  });
  context.putImageData(image, 0, 0);
  return canvas;
}
