// linnet's engine as WebAssembly, and a network that runs on it. The interface is native/include/linnet.h; structures
// are laid out as wasm32 lays them out. Nothing here knows the page: a worker, a benchmark and tests use it alike.

const PICTURE_RULES = {
  resize: ["shorter_side", "central_crop", "squash"],
  interpolation: ["nearest", "bilinear", "bicubic"],
  colours: ["RGB", "BGR", "grey"],
};
const SCORINGS = ["sigmoid", "softmax"];
const ERROR_BYTES = 256;
const OPTIONS_BYTES = 48;
const RULE_BYTES = 48;
const PREPARATION_BYTES = 32;
const LABELLING_BYTES = 28;
const PRECISIONS = { 4: 0, 1: 1 }; // of logits with so many bytes

// The smallest modules that need vectors, and relaxed ones: a function that gives i32x4 zeros, and one that gives
// f32x4.relaxed_madd of zeros.
const HEAD = [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0];
const SIMD = [...HEAD, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11];
const RELAXED = [...HEAD, 10, 19, 1, 17, 0, 65, 0, 253, 15, 65, 0, 253, 15, 65, 0, 253, 15, 253, 133, 2, 11];

/** Which build of the engine this browser runs: "relaxed", "plain", or null for a browser without vectors. */
export function supportedBuild() {
  if (typeof WebAssembly !== "object") return null;
  const runs = (bytes) => WebAssembly.validate(new Uint8Array(bytes));
  if (runs(RELAXED)) return "relaxed";
  return runs(SIMD) ? "plain" : null;
}

/** The engine's memory and functions. */
export class Engine {
  /** @param {BufferSource | WebAssembly.Module} source a build of the engine */
  static async load(source) {
    const module = source instanceof WebAssembly.Module ? source : await WebAssembly.compile(source);
    const instance = await WebAssembly.instantiate(module, {});
    return new Engine(instance.exports);
  }

  constructor(exports) {
    this.exports = exports;
    exports._initialize?.();
    this.error = this.take(ERROR_BYTES);
  }

  // Memory may move whenever it grows: views are made anew for each use.
  bytes(address, count) {
    return new Uint8Array(this.exports.memory.buffer, address, count);
  }
  floats(address, count) {
    return new Float32Array(this.exports.memory.buffer, address, count);
  }
  view(address, count) {
    return new DataView(this.exports.memory.buffer, address, count);
  }

  /** Takes memory; an Error with the message "memory" where there is none. */
  take(count) {
    const address = this.exports.malloc(Math.max(count, 1));
    if (address === 0) throw new Error("memory");
    return address;
  }
  give(address) {
    this.exports.free(address);
  }

  /** Copies an array into memory of its own. */
  place(array) {
    const address = this.take(array.byteLength);
    this.bytes(address, array.byteLength).set(new Uint8Array(array.buffer, array.byteOffset, array.byteLength));
    return address;
  }

  /** Calls a function of linnet.h that ends with a `linnet_error`; throws its sentence. */
  call(name, ...values) {
    const code = this.exports[name](...values, this.error);
    if (code === 0) return;
    const said = this.bytes(this.error, ERROR_BYTES);
    const message = new TextDecoder().decode(said.slice(0, said.indexOf(0)));
    throw new Error(code === 2 ? "memory" : message);
  }
}

/** A model that is ready to run pictures of its own size. */
export class Network {
  /**
   * @param {Engine} engine
   * @param {{document: object, tensors: object}} model as `readModel` gives it
   */
  constructor(engine, model) {
    this.engine = engine;
    this.document = model.document;
    this.tensors = model.tensors;
    if (engine.exports.linnet_interface_version() !== this.document.interface) throw new Error("damaged");
    const { layers, inputs, data, anchors } = model.tensors;
    const [layersAt, inputsAt, dataAt] = [layers, inputs, data].map((each) => engine.place(each));
    const handle = engine.take(4);
    const count = BigInt(this.#layerCount(layers));
    engine.call("linnet_network_open", layersAt, count, inputsAt, BigInt(inputs.length), dataAt,
      BigInt(data.byteLength), handle);
    this.handle = engine.view(handle, 4).getUint32(0, true);
    // The engine has packed them.
    for (const address of [layersAt, inputsAt, dataAt, handle]) engine.give(address);
    this.session = this.#open(this.document.tensors);
    this.pixels = engine.take(this.pixelBytes);
    if (anchors) this.#prepareDetection(anchors);
  }

  get channels() {
    return this.document.preprocessing.colours === "grey" ? 1 : 3;
  }
  get pixelBytes() {
    const [height, width] = this.document.preprocessing.size;
    return height * width * this.channels;
  }

  #layerCount(layers) {
    return layers.byteLength / this.document.layer_bytes;
  }

  // A session that gives these tensors, and places for them.
  #open(tensors) {
    const { engine } = this;
    const [height, width] = this.document.preprocessing.size;
    const outputs = engine.place(new Int32Array(tensors.map(({ layer }) => layer)));
    const table = engine.place(this.tensors.table);
    const options = engine.take(OPTIONS_BYTES);
    const view = engine.view(options, OPTIONS_BYTES);
    [height, width, 1, 0, 0, -1, outputs, tensors.length, table, 0, 0, 0].forEach((value, i) => {
      view.setInt32(4 * i, value, true);
    });
    const handle = engine.take(4);
    engine.call("linnet_session_open", this.handle, options, handle);
    const session = engine.view(handle, 4).getUint32(0, true);
    for (const address of [outputs, table, options, handle]) engine.give(address);
    const places = tensors.map(({ count, bytes }) => engine.take(count * bytes));
    return { handle: session, tensors, places, list: engine.place(new Uint32Array(places)) };
  }

  #prepareDetection(anchors) {
    const { engine } = this;
    const given = this.document.detection;
    this.anchors = engine.place(anchors);
    this.rule = engine.take(RULE_BYTES);
    const view = engine.view(this.rule, RULE_BYTES);
    view.setBigInt64(0, BigInt(anchors.length / 4), true);
    view.setInt32(8, this.document.classes.length, true);
    view.setInt32(12, SCORINGS.indexOf(given.scoring), true);
    view.setFloat64(16, given.score_threshold, true);
    view.setFloat64(24, given.iou_threshold, true);
    view.setBigInt64(32, BigInt(given.per_class), true);
    view.setBigInt64(40, BigInt(given.total), true);
    this.workspace = engine.take(Number(engine.exports.linnet_detect_workspace(this.rule)));
    this.boxes = engine.take(given.total * 16);
    this.scores = engine.take(given.total * 4);
    this.kinds = engine.take(given.total * 4);
    this.found = engine.take(8);
    this.outputs = this.document.outputs.map((parts) => engine.take(4 * total(parts)));
  }

  /**
   * Resizes a picture as the model's contract says, into the place that `run` reads.
   *
   * @param {{data: Uint8Array | Uint8ClampedArray, width: number, height: number}} picture of four bytes a pixel, the
   *   first three of which are red, green and blue
   */
  prepare({ data, width, height }) {
    const { engine } = this;
    const contract = this.document.preprocessing;
    const picture = engine.take(data.byteLength);
    const rule = engine.take(PREPARATION_BYTES);
    try {
      engine.bytes(picture, data.byteLength).set(data);
      const view = engine.view(rule, PREPARATION_BYTES);
      view.setInt32(0, contract.size[0], true);
      view.setInt32(4, contract.size[1], true);
      view.setInt32(8, PICTURE_RULES.resize.indexOf(contract.resize), true);
      view.setInt32(12, PICTURE_RULES.interpolation.indexOf(contract.interpolation), true);
      view.setFloat64(16, contract.crop, true);
      view.setInt32(24, Number(contract.antialias), true);
      view.setInt32(28, PICTURE_RULES.colours.indexOf(contract.colours), true);
      engine.call("linnet_prepare", rule, picture, BigInt(width), BigInt(height), 4, this.pixels);
    } finally {
      engine.give(rule);
      engine.give(picture);
    }
  }

  /**
   * Runs what `prepare` left; gives the network's outputs, number by number.
   *
   * @param {boolean} [withMap] also keep the map that explains a classifier's answer, for `map`
   */
  run(withMap = false) {
    // Keeping the map takes a plan of its own, which is slower: made when it is first asked for.
    if (withMap) this.explaining ??= this.#open([...this.document.tensors, this.#mapTensor]);
    const session = withMap ? this.explaining : this.session;
    this.engine.call("linnet_session_run", session.handle, this.pixels, 1n, session.list);
    return this.document.outputs.map((parts) => this.#joined(session, parts));
  }

  get #mapTensor() {
    const { layer, height, width, channels } = this.document.explain;
    const isBytes = this.tensors.features.length > 0;
    return { layer, count: height * width * channels, bytes: isBytes ? 1 : 4 };
  }

  /** The map of the last `run` that kept it, [height][width][channels], as numbers. */
  map() {
    const { count, bytes } = this.#mapTensor;
    const address = this.explaining.places[this.document.tensors.length];
    if (bytes === 4) return this.engine.floats(address, count).slice();
    return Float32Array.from(this.engine.bytes(address, count), (byte) => this.tensors.features[byte]);
  }

  #joined(session, parts) {
    const { engine } = this;
    const output = new Float32Array(total(parts));
    let place = 0;
    for (const { tensor, start, count, values } of parts) {
      const address = session.places[tensor];
      if (values < 0) {
        output.set(engine.floats(address + 4 * start, count), place);
      } else {
        const meaning = this.tensors.values.subarray(256 * values, 256 * (values + 1));
        const bytes = engine.bytes(address + start, count);
        for (let i = 0; i < count; ++i) output[place + i] = meaning[bytes[i]];
      }
      place += count;
    }
    return output;
  }

  /** Boxes of a detector's outputs: `{index, score, box}`, box in shares of the picture, the best first. */
  detect([offsets, logits]) {
    const { engine } = this;
    [offsets, logits].forEach((each, i) => engine.floats(this.outputs[i], each.length).set(each));
    engine.call("linnet_detect", this.rule, ...this.outputs, this.anchors, this.workspace, this.boxes, this.scores,
      this.kinds, this.found);
    const count = Number(engine.view(this.found, 8).getBigInt64(0, true));
    const boxes = engine.floats(this.boxes, 4 * count);
    const kinds = engine.view(this.kinds, 4 * count);
    return Array.from(engine.floats(this.scores, count), (score, i) => ({
      index: kinds.getInt32(4 * i, true),
      score,
      box: Array.from(boxes.subarray(4 * i, 4 * i + 4)),
    }));
  }

  /**
   * Of a segmenter that has just run: the class of every pixel of a picture of this size, [height][width].
   *
   * @returns {Uint8Array}
   */
  label(width, height) {
    const { engine } = this;
    const { height: rows, width: columns, grid } = this.document.segmentation;
    const [{ count, bytes }] = this.document.tensors;
    const taken = [];
    const take = (size) => taken[taken.push(engine.take(size)) - 1];
    try {
      const rule = take(LABELLING_BYTES);
      const view = engine.view(rule, LABELLING_BYTES);
      [rows, columns, count / (rows * columns), PRECISIONS[bytes], grid, height, width].forEach((value, i) => {
        view.setInt32(4 * i, value, true);
      });
      const workspace = take(Math.max(Number(engine.exports.linnet_labels_workspace(rule)), 0));
      const labels = take(width * height);
      engine.call("linnet_labels", rule, this.session.places[0], workspace, labels);
      return engine.bytes(labels, width * height).slice();
    } finally {
      taken.forEach((address) => engine.give(address));
    }
  }
}

/** Probabilities of logits, as `Classification.from_logits` has them. */
export function softmax(logits) {
  const most = logits.reduce((a, b) => (a > b ? a : b), -Infinity);
  if (!Number.isFinite(most)) throw new Error("damaged");
  const powers = Float64Array.from(logits, (x) => Math.exp(x - most));
  const sum = powers.reduce((a, b) => a + b, 0);
  return Float32Array.from(powers, (x) => x / sum);
}

function total(parts) {
  return parts.reduce((sum, { count }) => sum + count, 0);
}
