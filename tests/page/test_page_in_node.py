"""Does the page's engine compute what the numpy reference computes, and prepare pictures as `linnet predict` does?"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from networks import checkpoint_of
from numpy.typing import NDArray
from PIL import Image
from quantised import quantised_checkpoint
from segmenters import segmenter

from linnet.architecture import Architecture, DeepLab, Linear, MobileNetV2
from linnet.architecture.deeplab import deeplab
from linnet.architecture.ssdlite import ssdlite
from linnet.checkpoint import Checkpoint
from linnet.cli import main
from linnet.export import export
from linnet.images import Preprocessing, fit, grey_of
from linnet.page.folder import SITE, page_files
from linnet.predictor import Predictor
from linnet.segmentation import label_map

pytestmark = pytest.mark.skipif(
    shutil.which("node") is None and shutil.which("nodejs") is None, reason="there is no Node.js here"
)

NODE = shutil.which("node") or shutil.which("nodejs") or "node"
CLASSIFIER = MobileNetV2(width=0.35, resolution=48, classes=4)
DETECTOR = ssdlite(backbone=MobileNetV2(width=0.35), resolution=96, classes=3)
SEGMENTER = deeplab(backbone=MobileNetV2(width=0.35), resolution=(64, 96), classes=5, variant="modern")
COARSE = deeplab(backbone=MobileNetV2(width=0.35), resolution=(64, 64), classes=3)


def run_in_node(folder: Path, script: str, given: bytes = b"") -> str:
    """What a module prints that may import the files of a page."""
    (folder / "package.json").write_text('{"type": "module"}')
    (folder / "run.mjs").write_text(script)
    done = subprocess.run([NODE, "run.mjs"], cwd=folder, input=given, capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    return done.stdout.decode()


@pytest.mark.parametrize(
    "architecture", [CLASSIFIER, DETECTOR, SEGMENTER, COARSE], ids=["classifier", "detector", "segmenter", "coarse"]
)
def test_numbers_are_those_of_the_reference(
    architecture: Architecture, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written = export(checkpoint_of(architecture), tmp_path / "float", format="page", title="Finches")
    assert written.difference is not None
    assert written.difference < 1e-5
    assert written.size_bytes == sum(path.stat().st_size for path in written.path.iterdir())
    exact = export(quantised_checkpoint(architecture), tmp_path / "bytes", format="page")
    assert exact.equal is True
    assert (exact.precision, exact.difference) == ("int8", 0)
    # Written again over the older page.
    assert export(quantised_checkpoint(architecture), tmp_path / "float", format="page").equal is True


def test_other_labels_keep_the_page_from_being_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("linnet.export.page.label_map", lambda logits, size, *_, **__: np.full(size[::-1], 4, np.uint8))
    with pytest.raises(ValueError, match="was not written: of the same logits its engine makes other labels"):
        export(checkpoint_of(COARSE), tmp_path / "page", format="page")
    assert not (tmp_path / "page").exists()


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "page"
    assert main(["export", "cifar10-int8", str(folder), "--format", "page", "--title", "Things", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["format"], document["precision"]) == ("page", "int8")
    assert document["compared"]["equal"] is True
    assert document["bytes"] == sum(path.stat().st_size for path in folder.iterdir())
    assert json.loads((folder / "manifest.webmanifest").read_text())["name"] == "Things"


PREPARE = """
import { readFileSync } from "node:fs";
import { Engine, Network } from "./engine.js";
import { readModel } from "./model.js";
const buffer = (file) => new Uint8Array(readFileSync(file)).buffer;
const network = new Network(await Engine.load(buffer("engine.wasm")), readModel(buffer("model.safetensors")));
network.prepare({ data: readFileSync(0), width: WIDTH, height: HEIGHT });
process.stdout.write(Buffer.from(network.engine.bytes(network.pixels, network.pixelBytes)).toString("hex"));
"""


@pytest.mark.parametrize("colours", ["RGB", "BGR", "grey"])
@pytest.mark.parametrize(
    "rule",
    [
        {"resize": "shorter_side", "interpolation": "bicubic"},
        {"resize": "central_crop", "antialias": False},
        {"resize": "squash", "crop": 1.0},
    ],
    ids=["shorter side", "central crop", "squash"],
)
def test_pictures_are_prepared_as_predict_does(colours: str, rule: dict[str, object], tmp_path: Path) -> None:
    channels = 1 if colours == "grey" else 3
    network = checkpoint_of(MobileNetV2(width=0.35, resolution=32, classes=2, input_channels=channels))
    values = Preprocessing(size=(32, 32)).to_json() | rule | {"colours": colours}
    values |= {"mean": [0.5] * channels, "std": [0.5] * channels}
    contract = Preprocessing.from_json(values)
    checkpoint = Checkpoint(network.architecture, contract, network.tensors)
    export(checkpoint, tmp_path / "page", format="page")
    pixels: NDArray[np.uint8] = np.random.default_rng(0).integers(0, 256, (61, 47, 4), dtype=np.uint8)
    script = PREPARE.replace("WIDTH", "47").replace("HEIGHT", "61")
    found = bytes.fromhex(run_in_node(tmp_path / "page", script, pixels.tobytes()))
    expected = fit(Image.fromarray(np.ascontiguousarray(pixels[..., :3])), contract)
    expected = grey_of(expected) if colours == "grey" else expected[..., ::-1] if colours == "BGR" else expected
    assert found == expected.tobytes()


EXPLAIN = """
import { readFileSync } from "node:fs";
import { Engine, Network } from "./engine.js";
import { explain } from "./explanation.js";
import { readModel } from "./model.js";
const buffer = (file) => new Uint8Array(readFileSync(file)).buffer;
const network = new Network(await Engine.load(buffer("engine.wasm")), readModel(buffer("model.safetensors")));
network.prepare({ data: readFileSync(0), width: 48, height: 48 });
const plain = network.run();
const logits = network.run(true);
const shares = network.document.classes.map((_, index) => Array.from(explain(network, index).shares));
console.log(JSON.stringify({ plain: Array.from(plain[0]), logits: Array.from(logits[0]), shares }));
"""


@pytest.mark.parametrize("kind", ["float", "bytes"])
def test_a_map_adds_up_to_the_class_s_score(kind: str, tmp_path: Path) -> None:
    checkpoint = checkpoint_of(CLASSIFIER) if kind == "float" else quantised_checkpoint(CLASSIFIER)
    export(checkpoint, tmp_path / "page", format="page")
    pixels = np.random.default_rng(1).integers(0, 256, (48, 48, 4), dtype=np.uint8)
    found = json.loads(run_in_node(tmp_path / "page", EXPLAIN, pixels.tobytes()))
    assert found["plain"] == found["logits"]
    shares, logits = np.array(found["shares"]), np.array(found["logits"])
    linear = checkpoint.architecture.graph.operations[-1]
    assert isinstance(linear, Linear)
    bias = np.asarray(checkpoint.dequantised().tensors[f"{linear.name}.bias"], np.float64)
    # In eight bits the average and the logits are rounded after that.
    allowed = 1e-5
    if checkpoint.quantisation is not None:
        encodings, name = checkpoint.quantisation.encodings, linear.name
        weights = np.abs(checkpoint.dequantised().tensors[f"{name}.weight"]).sum(axis=1)
        allowed = float(encodings[linear.reads[0]].scale * weights.max() + encodings[name].scale) / 2 + 1e-5
    assert np.abs(shares.mean(axis=1) + bias - logits).max() <= allowed


LABEL = """
import { readFileSync } from "node:fs";
import { Engine, Network } from "./engine.js";
import { readModel } from "./model.js";
const buffer = (file) => new Uint8Array(readFileSync(file)).buffer;
const network = new Network(await Engine.load(buffer(ENGINE)), readModel(buffer("model.safetensors")));
const [width, height] = [SIZE];
network.prepare({ data: readFileSync(0), width, height });
const [logits] = network.run();
console.log(JSON.stringify({ logits: Array.from(logits), labels: Array.from(network.label(width, height)) }));
"""


@pytest.mark.parametrize(
    ("kind", "size"), [("float32", (131, 77)), ("int8", (40, 150)), ("int8", (1, 1)), ("uint8", (131, 77))], ids=str
)
@pytest.mark.parametrize("network", [SEGMENTER, COARSE], ids=["half pixels", "corners"])
def test_labels_are_those_of_predict(network: DeepLab, kind: str, size: tuple[int, int], tmp_path: Path) -> None:
    checkpoint = segmenter(network, kind)
    for name, content in page_files(checkpoint, "x").items():
        (tmp_path / name).write_bytes(content)
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 4), dtype=np.uint8)
    script = LABEL.replace("SIZE", f"{size[0]}, {size[1]}").replace("ENGINE", '"engine.wasm"')
    found = json.loads(run_in_node(tmp_path, script, pixels.tobytes()))
    labels = np.array(found["labels"], np.uint8).reshape(size[::-1])
    logits = np.array(found["logits"], np.float32).reshape(network.graph.shape_of("logits"))
    assert len(np.unique(labels)) > 1 or size == (1, 1)
    assert np.array_equal(labels, label_map(logits, size, network.grid, quantisation=checkpoint.quantisation))
    expected = Predictor(checkpoint, runtime="numpy")(Image.fromarray(np.ascontiguousarray(pixels[..., :3])))
    # In float32 another order of sums may decide between two equals.
    assert (labels == expected.labels).mean() >= (0.999 if kind == "float32" else 1)


SUPPORT = """
import { supportedBuild } from "./engine.js";
const says = [supportedBuild()];
const validate = WebAssembly.validate;
WebAssembly.validate = () => false;
says.push(supportedBuild());
delete globalThis.WebAssembly;
says.push(supportedBuild());
console.log(JSON.stringify(says));
"""


def test_a_browser_is_asked_what_it_can(tmp_path: Path) -> None:
    shutil.copy(SITE / "engine.js", tmp_path)
    first, *others = json.loads(run_in_node(tmp_path, SUPPORT))
    assert first in ("plain", "relaxed")
    assert others == [None, None]


REFUSALS = """
import { readFileSync } from "node:fs";
import { Engine, Network } from "./engine.js";
import { readModel } from "./model.js";
const buffer = (file) => new Uint8Array(readFileSync(file)).buffer;
const says = [];
const attempt = (work) => { try { work(); says.push(null); } catch (error) { says.push(error.message); } };
const file = buffer("model.safetensors");
const engine = await Engine.load(buffer("engine.wasm"));
for (const count of [0, 7, 100, file.byteLength - 1]) attempt(() => readModel(file.slice(0, count)));
const model = readModel(file);
attempt(() => new Network(engine, { ...model, document: { ...model.document, interface: 0 } }));
const network = new Network(engine, model);
attempt(() => network.prepare({ data: new Uint8Array(0), width: 0, height: 0 }));
attempt(() => engine.take(4e9));
const vast = { ...model.document.preprocessing, size: [65535, 65535] };
attempt(() => new Network(engine, { ...model, document: { ...model.document, preprocessing: vast } }));
console.log(JSON.stringify(says));
"""


def test_what_is_damaged_or_too_big_is_named(tmp_path: Path) -> None:
    export(checkpoint_of(CLASSIFIER), tmp_path / "page", format="page")
    says = json.loads(run_in_node(tmp_path / "page", REFUSALS))
    assert says[:5] == ["damaged"] * 5
    assert "side must be from 1" in says[5]
    # Of the last one sizes go beyond 32 bits.
    assert says[6:] == ["memory"] * 2
