"""A folder that any web server can give out: a page that runs the model in the browser of whoever looks at it."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import linnet.page
from linnet.architecture import Architecture
from linnet.engine.integer_reference import numpy_network
from linnet.export.contract import contract_of
from linnet.export.folders import DESCRIPTION, description, documents, outputs_from
from linnet.export.vectors import Vectors, as_fed, sample_pictures
from linnet.export.written import Export, check_difference, differences
from linnet.page.folder import check_folder, page_files, write_page
from linnet.segmentation import label_map

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from linnet.checkpoint import Checkpoint
    from linnet.export.contract import Contract
    from linnet.export.written import Precision

__all__ = ["Network", "documents", "export_page", "run_page"]

TOLERANCE = 1e-4
"""Of the largest output: float32 in another order."""

PROGRAMS = ("node", "nodejs")


def export_page(checkpoint: Checkpoint, path: str | Path, *, precision: Precision, title: str | None = None) -> Export:
    """Writes the page, if its engine computes in Node what the numpy reference computes.

    Args:
        checkpoint: a classifier, a detector or a segmenter that takes pictures.
        path: the folder. One that is there must be empty, or hold a page.
        precision: as the checkpoint is.
        title: what the page is called; the folder's name, if not given.

    Raises:
        ValueError: if the page cannot run the model, or computes something else: then nothing is written.
        OSError: if a file cannot be written.
    """
    path = Path(path)
    check_folder(path)
    files = page_files(checkpoint, title or path.resolve().name)
    pixels, expected = sample_pictures(checkpoint.architecture, checkpoint.preprocessing), _reference(checkpoint)
    exact = checkpoint.quantisation is not None and not checkpoint.quantisation.floating
    allowed = 0 if exact else TOLERANCE
    contract = contract_of(checkpoint, "pixels", precision).with_vectors(Vectors.of_samples(pixels, expected, allowed))
    compared = None
    if (program := _find_node()) is not None:
        compared = _compare(checkpoint, run_files(program, files, pixels), pixels, expected)
    check_difference(path, "the page's engine", compared, allowed)
    # No browser asks for it: it is for `linnet verify`.
    files[DESCRIPTION] = description(contract, "page")
    write_page(path, files)
    return Export(
        path,
        sum(map(len, files.values())),
        (),
        None if compared is None else compared[0],
        precision=precision,
        equal=None if compared is None else compared[1],
        more={"files": {name: len(content) for name, content in sorted(files.items())}},
    )


class Network:
    """A page in Node; see `linnet.export.shipped.Network`."""

    def __init__(self, path: Path, contract: Contract, threads: int | None) -> None:
        self._folder, self._contract = path, contract

    def prepare(self, pictures: NDArray[Any]) -> NDArray[np.uint8]:
        """See `linnet.export.shipped.Network`: the page prepares them itself."""
        return pictures

    def compute(self, inputs: NDArray[Any]) -> tuple[NDArray[np.float32], ...]:
        """See `linnet.export.shipped.Network`; a ValueError if Node cannot run it."""
        program, network = _find_node(), self._contract.architecture
        assert program is not None
        files = {path.name: path.read_bytes() for path in self._folder.iterdir() if path.is_file()}
        rows = run_files(program, files, inputs)
        # Behind a segmenter's logits come its labels.
        return outputs_from(rows[:, : _numbers(network)], network)


def _find_node() -> str | None:
    return next((found for name in PROGRAMS if (found := shutil.which(name))), None)


def _numbers(network: Architecture) -> int:
    """All numbers that a network gives for a picture."""
    return sum(math.prod(network.graph.shape_of(name)) for name in network.outputs)


def _reference(checkpoint: Checkpoint) -> list[NDArray[np.float32]]:
    """What the network gives for the sample pictures."""
    pixels = sample_pictures(checkpoint.architecture, checkpoint.preprocessing)
    network = numpy_network(checkpoint.architecture, checkpoint.tensors, checkpoint.quantisation)
    outputs, _ = network.run(as_fed(pixels, checkpoint.preprocessing))
    return list(outputs) if isinstance(outputs, tuple) else [outputs]


def _compare(
    checkpoint: Checkpoint, rows: NDArray[np.float32], pixels: NDArray[np.uint8], expected: list[NDArray[np.float32]]
) -> tuple[float, bool]:
    """How the page's outputs differ from the reference; a ValueError if what it makes of them is another thing."""
    network = checkpoint.architecture
    found, behind = outputs_from(rows[:, : _numbers(network)], network), rows[:, _numbers(network) :]
    if (check := CHECKS.get(checkpoint.task)) is not None:
        check(checkpoint, found[0], behind.reshape(pixels.shape[:3]))
    return differences(found, expected)


def _check_labels(checkpoint: Checkpoint, logits: NDArray[np.float32], labels: NDArray[np.float32]) -> None:
    """Labels (N, H, W) are compared with those that numpy makes of the page's own logits: these are equal."""
    network: Any = checkpoint.architecture
    size = (labels.shape[2], labels.shape[1])
    decided = [label_map(each, size, network.grid, quantisation=checkpoint.quantisation) for each in logits]
    if not np.array_equal(labels, decided):
        raise ValueError("The page was not written: of the same logits its engine makes other labels than linnet.")


CHECKS = {"segmentation": _check_labels}
"""Task → what checks the numbers that stand behind a network's outputs."""


def run_files(program: str, files: Mapping[str, bytes], pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What `run_page` gives for a page's files."""
    with tempfile.TemporaryDirectory(prefix="linnet-") as folder:
        for name, content in files.items():
            (Path(folder) / name).write_bytes(content)
        # Node takes modules for such by this.
        (Path(folder) / "package.json").write_text('{"type": "module"}')
        return run_page(program, Path(folder), pixels)


def run_page(program: str, folder: Path, pixels: NDArray[np.uint8], **environment: str) -> NDArray[np.float32]:
    """All outputs of a page's model in Node, picture by picture: one row of numbers each.

    Behind a segmenter's logits come the labels of the picture's pixels.

    Args:
        program: Node.
        folder: the page.
        pixels: (N, H, W, 3) uint8 RGB of the model's size.
        environment: further variables.

    Raises:
        ValueError: if Node cannot run it; with the last line that it said.
    """
    runner = Path(linnet.page.__file__).parent / "run.mjs"
    done = subprocess.run(
        [program, str(runner), str(folder)],
        input=pixels.tobytes(),
        capture_output=True,
        check=False,
        env=os.environ | environment,
    )
    if done.returncode:
        said = [line for line in done.stderr.decode(errors="replace").splitlines() if "Error" in line]
        raise ValueError(f"Node could not run the page ({(said or ['it said nothing'])[0].strip()}).")
    return np.frombuffer(done.stdout, np.float32).reshape(len(pixels), -1)
