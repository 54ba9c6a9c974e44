// The page's end of the worker: requests out, answers back.

export class Looker {
  #worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
  #waiting = new Map();
  #last = 0;
  #progress = () => {};

  constructor() {
    this.#worker.addEventListener("message", ({ data: { id, error, progress, ...answer } }) => {
      if (progress !== undefined) {
        // What still comes after a failure would hide its sentence.
        if (this.#waiting.size > 0) this.#progress(progress);
        return;
      }
      const { resolve, reject } = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (error === undefined) resolve(answer);
      else reject(new Error(error));
    });
    // The worker's own files did not come.
    this.#worker.addEventListener("error", () => {
      for (const { reject } of this.#waiting.values()) reject(new Error("fetch"));
      this.#waiting.clear();
    });
  }

  /** Loads engine and model; gives the model's document and the build that runs. */
  open(file, progress) {
    this.#progress = progress;
    return this.#ask("open", { file });
  }

  /** What is on a picture; `explained` is the class to explain, or null. The bitmap is given away. */
  look(bitmap, explained) {
    return this.#ask("look", { bitmap, explained }, [bitmap]);
  }

  /** The same picture once more. */
  again(explained) {
    return this.#ask("again", { explained });
  }

  #ask(kind, request, transfer = []) {
    const id = ++this.#last;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#worker.postMessage({ id, kind, ...request }, transfer);
    });
  }
}
