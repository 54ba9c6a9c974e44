// A picture's pixels as bytes.

let canvas;

/**
 * A picture file decoded and upright, with the bytes that it holds: `linnet predict` leaves colour profiles alone too.
 *
 * @param {Blob} file
 * @returns {Promise<ImageBitmap>} rejected if it is no picture
 */
export function bitmapOf(file) {
  return createImageBitmap(file, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
}

/**
 * Red, green, blue and opacity of an ImageBitmap, which is closed. What is transparent lies on white, as in
 * `linnet predict`.
 *
 * @returns {ImageData}
 * @throws {Error} with the message "memory" if this browser has no room for so many pixels
 */
export function pixelsOf(bitmap) {
  const { width, height } = bitmap;
  try {
    canvas ??= new OffscreenCanvas(width, height);
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const context = canvas.getContext("2d", { alpha: false, willReadFrequently: true });
    context.fillStyle = "white";
    context.fillRect(0, 0, width, height);
    context.drawImage(bitmap, 0, 0);
    return context.getImageData(0, 0, width, height);
  } catch (cause) {
    throw new Error("memory", { cause });
  } finally {
    bitmap.close();
  }
}
