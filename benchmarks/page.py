"""The page's engine in Chromium beside onnxruntime-web, and how long the page takes to its first answer.

    npm install onnxruntime-web
    python benchmarks/page.py --ort node_modules/onnxruntime-web/dist [--rounds 100] [--out FILE.json]

All networks take turns in one tab, on one thread: MobileNetV2 1.0 at 224 with random weights in float32, ours with
vectors and with relaxed ones and onnxruntime-web's wasm backend; then `clothing` (ten classes) in float32 and in eight
bits. Of each the shortest time counts: other programs only add to it; where they leave no round alone, the median of
the rounds' ratios says more. Needs chromium and playwright (pip install 'linnet[dev]').
"""

from __future__ import annotations

import argparse
import functools
import gzip
import http.server
import json
import os
import shutil
import tempfile
import threading
import time
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from linnet.architecture import MobileNetV2
from linnet.catalogue import find_model
from linnet.checkpoint import Checkpoint, load_checkpoint, random_checkpoint
from linnet.export import export
from linnet.machine import processor_name
from linnet.page.folder import ENGINES, MODEL, page_files, write_page

TURNS = """async ([networks, ort, rounds]) => {
  const { Engine, Network } = await import("/float/engine.js");
  const { readModel } = await import("/float/model.js");
  const bytes = async (file) => (await fetch(file)).arrayBuffer();
  const runs = {};
  for (const [name, folder, engine] of networks) {
    const network = new Network(await Engine.load(await bytes(`/float/${engine}`)), readModel(await bytes(folder)));
    runs[name] = async () => network.run();
  }
  if (ort) {
    const { env, InferenceSession, Tensor } = await import(`${ort}/ort.wasm.min.mjs`);
    Object.assign(env.wasm, { numThreads: 1, wasmPaths: `${location.origin}${ort}/` });
    const session = await InferenceSession.create("/float.onnx", { executionProviders: ["wasm"] });
    const input = new Tensor("float32", new Float32Array(3 * 224 * 224).fill(0.1), [1, 3, 224, 224]);
    runs["onnxruntime-web"] = () => session.run({ [session.inputNames[0]]: input });
  }
  const times = Object.fromEntries(Object.keys(runs).map((name) => [name, []]));
  for (let round = 0; round < rounds; ++round) {
    for (const [name, run] of Object.entries(runs)) {
      const started = performance.now();
      await run();
      times[name].push(performance.now() - started);
    }
  }
  return times;
}"""
"""Milliseconds of each network in each round."""

FIRST_ANSWER = """() => new Promise((resolve) => {
  const wait = () => (document.querySelector("#results li") ? resolve(performance.now()) : setTimeout(wait, 5));
  wait();
})"""
"""Milliseconds from the beginning of the page's load to the first line of its results."""


class Handler(http.server.SimpleHTTPRequestHandler):
    """Files of a folder, without a word about it, in the types that browsers ask for."""

    extensions_map = http.server.SimpleHTTPRequestHandler.extensions_map | {".mjs": "text/javascript"}

    def log_message(self, format: str, *arguments: Any) -> None:
        """Says nothing."""


def serve(folder: Path) -> str:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"


def prepare(folder: Path, ort: Path | None) -> None:
    network = random_checkpoint(MobileNetV2())
    pages: dict[str, Checkpoint] = {"float": network}
    pages |= {name: load_checkpoint(find_model(name)) for name in ("clothing", "clothing-int8")}
    for name, checkpoint in pages.items():
        write_page(folder / name, page_files(checkpoint, name))
    export(network, folder / "float.onnx")
    pixels = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "picture.jpg")
    (folder / "blank.html").write_text("<!doctype html><title>blank</title>")
    if ort is not None:
        shutil.copytree(ort, folder / "ort")


def take_turns(browser: Browser, address: str, with_ort: bool, rounds: int) -> dict[str, list[float]]:
    page = browser.new_page()
    page.goto(f"{address}/blank.html")
    networks = [
        ("V2 1.0, float32, vectors", f"/float/{MODEL}", ENGINES[0]),
        ("V2 1.0, float32, relaxed vectors", f"/float/{MODEL}", ENGINES[1]),
        ("clothing, float32, relaxed vectors", f"/clothing/{MODEL}", ENGINES[1]),
        ("clothing, int8, relaxed vectors", f"/clothing-int8/{MODEL}", ENGINES[1]),
    ]
    times: dict[str, list[float]] = page.evaluate(TURNS, [networks, "/ort" if with_ort else None, rounds])
    page.close()
    return times


def first_answer(browser: Browser, address: str, folder: Path) -> float:
    """Seconds, of a browser that has never seen the page; the picture is chosen as soon as it can be."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{address}/clothing-int8/", wait_until="commit")
    page.set_input_files("#file", folder / "picture.jpg")
    seconds = float(page.evaluate(FIRST_ANSWER)) / 1000
    context.close()
    return seconds


def download(folder: Path) -> int:
    """Bytes, compressed, that a browser loads: one build of the engine, the page and the model."""
    unused = {ENGINES[0], "icon-512.png"}
    files = [path for path in folder.iterdir() if path.name not in unused]
    return sum(len(gzip.compress(path.read_bytes())) for path in files)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ort", type=Path)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--starts", type=int, default=5)
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        prepare(folder, arguments.ort)
        address = serve(folder)
        browser = playwright.chromium.launch(
            executable_path=arguments.chromium, args=["--no-sandbox", "--disable-gpu", "--headless=new"]
        )
        times = take_turns(browser, address, arguments.ort is not None, arguments.rounds)
        starts = []
        for _ in range(arguments.starts):
            starts.append(first_answer(browser, address, folder))
            time.sleep(0.5)
        size, version = download(folder / "clothing-int8"), browser.version
        engines = {file: len(gzip.compress((folder / "float" / file).read_bytes())) for file in ENGINES}
        browser.close()
    rows = [
        {"network": name, "min_ms": min(values), "median_ms": float(np.median(values))}
        for name, values in times.items()
    ]
    plain, relaxed, wide, narrow = list(times)[:4]
    pairs = {"int8 beside float32": (wide, narrow)}
    if arguments.ort is not None:
        pairs |= {f"{name} beside onnxruntime-web": ("onnxruntime-web", name) for name in (plain, relaxed)}
    ratios = {
        name: {
            "minima": min(times[slow]) / min(times[fast]),
            "median_of_rounds": float(np.median(np.array(times[slow]) / np.array(times[fast]))),
        }
        for name, (slow, fast) in pairs.items()
    }
    result = {
        "date": date.today().isoformat(),
        "cpu": processor_name(),
        "load_average": os.getloadavg()[0],
        "chromium": version,
        "networks": rows,
        "ratios": ratios,
        "first_answer_s": {"min": min(starts), "median": float(np.median(starts))},
        "download_bytes": size,
        "engine_bytes": engines,
    }
    print(json.dumps(result, indent=1))
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
