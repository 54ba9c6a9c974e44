// Where the engine runs: beside the page, so that it never waits. One request at a time; each is answered once.

import { Engine, Network, softmax, supportedBuild } from "./engine.js";
import { explain } from "./explanation.js";
import { kept } from "./kept.js";
import { readModel } from "./model.js";
import { pixelsOf } from "./pixels.js";

const BUILDS = { plain: "engine.wasm", relaxed: "engine-relaxed.wasm" };
const MOST_CLASSES = 5;

let network;

const answers = {
  async open({ file }) {
    const build = supportedBuild();
    if (build === null) throw new Error("simd");
    if (typeof OffscreenCanvas !== "function") throw new Error("canvas");
    const module = kept(BUILDS[build]).then((bytes) => Engine.load(bytes));
    const model = kept(file, (share) => postMessage({ progress: share })).then(readModel);
    network = new Network(await module, await model);
    return { document: network.document, build };
  },

  // A picture, or a frame of a camera: an ImageBitmap, which is closed.
  async look({ bitmap, explained }) {
    const { width, height } = bitmap;
    const pixels = pixelsOf(bitmap);
    const started = performance.now();
    network.prepare(pixels);
    return { ...answer(explained, width, height), width, height, milliseconds: performance.now() - started };
  },

  // The same picture once more, to explain another class, or none.
  async again({ explained }) {
    return answer(explained);
  },
};

function answer(explained, width, height) {
  const asked = explained !== null && network.document.explain !== undefined;
  const outputs = network.run(asked);
  if (network.document.task === "detection") return { found: network.detect(outputs) };
  if (network.document.task === "segmentation") {
    const labels = network.label(width, height);
    return { labels, regions: regionsOf(labels) };
  }
  const scores = softmax(outputs[0]);
  return {
    classes: best(scores, MOST_CLASSES).map((index) => ({ index, score: scores[index] })),
    explanation: asked ? explain(network, explained) : null,
  };
}

// The classes that are there with their shares of the pixels, the largest first, as `Segmentation.top` has them.
function regionsOf(labels) {
  const counts = new Uint32Array(256);
  for (const label of labels) ++counts[label];
  const there = [...counts.keys()].filter((index) => counts[index] > 0);
  there.sort((a, b) => counts[b] - counts[a] || a - b);
  return there.map((index) => ({ index, share: counts[index] / labels.length }));
}

// Numbers of the highest scores; of equals the lower one first, as `Classification.top` has them.
function best(scores, count) {
  return [...scores.keys()].sort((a, b) => scores[b] - scores[a] || a - b).slice(0, count);
}

addEventListener("message", async ({ data: { id, kind, ...request } }) => {
  try {
    const given = await answers[kind](request);
    postMessage({ id, ...given }, given.labels ? [given.labels.buffer] : []);
  } catch (error) {
    const outOfMemory = error instanceof RangeError || error instanceof WebAssembly.RuntimeError;
    postMessage({ id, error: outOfMemory ? "memory" : error.message });
  }
});
