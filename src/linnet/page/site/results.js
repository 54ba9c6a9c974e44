// What the model says, as a list: classes with bars, objects with their colours, or the legend of a label map.

import { colourOf } from "./drawing.js";
import { text } from "./strings.js";

const SPOKEN = 3; // classes of a label map
const LEGEND = 40; // lines at most

export class Results {
  #list;
  #note;
  #explain;

  /**
   * @param {HTMLElement} list
   * @param {HTMLElement} note what stands above it
   * @param {(index: number) => void} explain called with the class whose line is tapped
   */
  constructor(list, note, explain) {
    this.#list = list;
    this.#note = note;
    this.#explain = explain;
  }

  clear() {
    this.#list.replaceChildren();
    this.#note.textContent = text.nothingYet;
  }

  show(answer, model, explained) {
    if (answer.found) this.#showFound(answer.found, model);
    else if (answer.regions) this.#showRegions(answer.regions, model);
    else this.#showClasses(answer, model, explained);
  }

  /** The same in a sentence. */
  sentence({ classes, found, regions }, { classes: names }) {
    if (regions) return regions.slice(0, SPOKEN).map(({ index, share }) => text.line(names[index], share)).join("; ");
    if (!found) return text.line(names[classes[0].index], classes[0].score);
    const counted = byClass(found).map(({ index, count }) => `${count} × ${names[index]}`);
    return [found.length > 0 ? text.found(found.length) : text.nothing, ...counted].join(" ");
  }

  #showClasses({ classes }, model, explained) {
    const explainable = model.explain !== undefined;
    const label = explained === null ? text.explainHint : text.explained(model.classes[explained]);
    this.#note.textContent = explainable ? label : text.notExplained;
    this.#fill(classes.length, explainable ? "button" : "div");
    classes.forEach(({ index, score }, place) => {
      const line = this.#list.children[place].firstElementChild;
      const [bar, name, number] = line.children;
      bar.style.transform = `scaleX(${score})`;
      setText(name, model.classes[index]);
      setText(number, text.share(score));
      line.onclick = explainable ? () => this.#explain(index) : null;
      if (explainable) line.setAttribute("aria-pressed", String(index === explained));
    });
  }

  // A line a class: a line an object would not hold still before a camera.
  #showFound(found, model) {
    this.#note.textContent = found.length > 0 ? text.found(found.length) : text.nothing;
    const lines = byClass(found);
    this.#fill(lines.length, "div");
    lines.forEach(({ index, count, score }, place) => {
      const line = this.#list.children[place].firstElementChild;
      const [mark, name, number] = line.children;
      line.title = text.severalTitle;
      mark.className = "swatch";
      mark.style.background = colourOf(index);
      setText(name, model.classes[index]);
      setText(number, text.several(count, score));
    });
  }

  // In the order of the classes: by size they would not hold still before a camera.
  #showRegions(regions, { classes, segmentation: { colours, clear } }) {
    this.#note.textContent = text.regions(regions.length);
    const lines = regions.slice(0, LEGEND).sort((a, b) => a.index - b.index);
    this.#fill(lines.length, "div");
    lines.forEach(({ index, share }, place) => {
      const line = this.#list.children[place].firstElementChild;
      const [mark, name, number] = line.children;
      mark.className = "swatch";
      mark.style.background = clear.includes(index) ? "transparent" : `rgb(${colours[index].join(" ")})`;
      setText(name, classes[index]);
      setText(number, text.share(share));
    });
  }

  // As many lines as are needed. They are used again: new ones at each frame would lose the focus.
  #fill(count, kind) {
    const lines = [...this.#list.children];
    if (lines[0] && lines[0].firstElementChild.localName !== kind) this.#list.replaceChildren();
    while (this.#list.children.length > count) this.#list.lastElementChild.remove();
    while (this.#list.children.length < count) this.#list.append(newLine(kind));
  }
}

// The classes that were found, in their own order, with how many there are and the best score.
function byClass(found) {
  const kinds = new Map();
  for (const { index, score } of found) {
    const kind = kinds.get(index) ?? { index, count: 0, score };
    kinds.set(index, { ...kind, count: kind.count + 1, score: Math.max(kind.score, score) });
  }
  return [...kinds.values()].sort((a, b) => a.index - b.index);
}

function newLine(kind) {
  const line = document.createElement(kind);
  if (kind === "button") line.type = "button";
  for (const name of ["bar", "label", "score"]) {
    const part = document.createElement("span");
    part.className = name;
    line.append(part);
  }
  const item = document.createElement("li");
  item.append(line);
  return item;
}

function setText(element, value) {
  if (element.textContent !== value) element.textContent = value;
}
