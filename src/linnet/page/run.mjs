// Runs a page's model in Node: `node run.mjs FOLDER`. Pictures of the model's size, [height][width][3] bytes, come on
// standard input; the outputs of each go to standard output, one behind the other, as float32; a
// segmenter's labels of the pixels behind its logits.

import { readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const folder = resolve(process.argv[2]);
const from = (file) => import(pathToFileURL(join(folder, file)));
const { Engine, Network, supportedBuild } = await from("engine.js");
const { readModel } = await from("model.js");

const bytes = readFileSync(join(folder, "model.safetensors"));
const model = readModel(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
const build = process.env.LINNET_BUILD ?? supportedBuild();
const engine = await Engine.load(readFileSync(join(folder, build === "relaxed" ? "engine-relaxed.wasm" : "engine.wasm")));
const network = new Network(engine, model);

const [height, width] = model.document.preprocessing.size;
const pictures = readFileSync(0);
const outputs = [];
for (let begin = 0; begin < pictures.length; begin += 3 * height * width) {
  const data = new Uint8Array(4 * height * width).fill(255);
  for (let i = 0; i < height * width; ++i) data.set(pictures.subarray(begin + 3 * i, begin + 3 * i + 3), 4 * i);
  // Not resized: the contract would cut something off.
  const given = network.document.preprocessing;
  network.document.preprocessing = { ...given, resize: "squash" };
  network.prepare({ data, width, height });
  network.document.preprocessing = given;
  for (const output of network.run()) outputs.push(Buffer.from(output.buffer));
  if (network.document.segmentation) outputs.push(Buffer.from(Float32Array.from(network.label(width, height)).buffer));
}
writeFileSync(1, Buffer.concat(outputs));
