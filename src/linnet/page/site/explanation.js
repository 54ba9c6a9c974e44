// Which places of a picture spoke for a class. The network ends with an average and a linear layer: a class's score before
// the softmax is the average of a map, plus the class's bias, without any approximation.

/**
 * The shares of all places of the last map in a class's score.
 *
 * @param {import("./engine.js").Network} network that has just run with its map
 * @param {number} index the class
 * @returns {{index: number, height: number, width: number, shares: Float32Array}} row by row
 */
export function explain(network, index) {
  const { height, width, channels } = network.document.explain;
  const map = network.map();
  const weights = classWeights(network, index);
  const shares = new Float32Array(height * width);
  for (let pixel = 0; pixel < shares.length; ++pixel) {
    let sum = 0;
    for (let channel = 0; channel < channels; ++channel) sum += map[pixel * channels + channel] * weights[channel];
    shares[pixel] = sum;
  }
  return { index, height, width, shares };
}

// The linear layer's row of a class, as numbers.
function classWeights({ document, tensors: { data, scales } }, index) {
  const { channels, weights } = document.explain;
  if (scales.length === 0) {
    return new Float32Array(data.buffer, data.byteOffset + weights + 4 * channels * index, channels);
  }
  const integers = new Int8Array(data.buffer, data.byteOffset + weights + channels * index, channels);
  return Float32Array.from(integers, (weight) => weight * scales[index]);
}

/**
 * The part of a picture that a network sees: left, top, width and height in pixels.
 *
 * @param {object} contract the model's preprocessing
 */
export function seenBox({ resize, crop, size: [high, wide] }, width, height) {
  if (resize === "squash") return [0, 0, width, height];
  if (resize === "central_crop") {
    return [(width * (1 - crop)) / 2, (height * (1 - crop)) / 2, width * crop, height * crop];
  }
  const scale = Math.max(high / crop / height, wide / crop / width);
  const [across, down] = [wide / scale, high / scale];
  return [(width - across) / 2, (height - down) / 2, across, down];
}
