// A model's file: safetensors whose metadata say how the engine's tensors become results. Written by
// linnet/page/model.py.

const FORMAT = 1;
const KINDS = { F32: Float32Array, I32: Int32Array, U8: Uint8Array };

/**
 * Takes a model's file apart. Nothing is copied: all tensors are views of the buffer.
 *
 * @param {ArrayBuffer} buffer the whole file
 * @returns {{document: object, tensors: Object<string, ArrayBufferView>}}
 * @throws {Error} with the message "damaged" if the file is cut or of another format
 */
export function readModel(buffer) {
  try {
    const length = Number(new DataView(buffer).getBigUint64(0, true));
    const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, length)));
    const { __metadata__: metadata, ...entries } = header;
    const document = JSON.parse(metadata["linnet-page"]);
    if (document.format !== FORMAT) throw new Error("another format");
    const tensors = {};
    for (const [name, { dtype, data_offsets: [begin, end] }] of Object.entries(entries)) {
      const Kind = KINDS[dtype];
      tensors[name] = new Kind(buffer, 8 + length + begin, (end - begin) / Kind.BYTES_PER_ELEMENT);
    }
    return { document, tensors };
  } catch (cause) {
    throw new Error("damaged", { cause });
  }
}
