"""A folder that any web server can give out: a page that runs the model in the browser of whoever looks at it."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import linnet.page
from linnet.architecture import DeepLab
from linnet.engine.integer_reference import numpy_network
from linnet.export.vectors import as_fed, sample_pictures
from linnet.export.written import Export, check_difference, differences
from linnet.page.folder import check_folder, page_files, write_page
from linnet.segmentation import label_map

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from linnet.checkpoint import Checkpoint
    from linnet.export.written import Precision

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
    compared = _compare(checkpoint, files)
    exact = checkpoint.quantisation is not None and not checkpoint.quantisation.floating
    check_difference(path, "the page's engine", compared, 0 if exact else TOLERANCE)
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


def _compare(checkpoint: Checkpoint, files: Mapping[str, bytes]) -> tuple[float, bool] | None:
    """How the page's outputs differ from the reference; None without Node.

    Of a segmenter the labels are compared too, with those that numpy makes of the page's own logits: these are equal.
    """
    program = next((found for name in PROGRAMS if (found := shutil.which(name))), None)
    if program is None:
        return None
    pixels = sample_pictures(checkpoint.architecture, checkpoint.preprocessing)
    inputs = as_fed(pixels, checkpoint.preprocessing)
    outputs = numpy_network(checkpoint.architecture, checkpoint.tensors, checkpoint.quantisation).run(inputs)[0]
    expected = list(outputs) if isinstance(outputs, tuple) else [outputs]
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            (Path(folder) / name).write_bytes(content)
        # Node takes modules for such by this.
        (Path(folder) / "package.json").write_text('{"type": "module"}')
        rows = run_page(program, Path(folder), pixels)
    if not isinstance(checkpoint.architecture, DeepLab):
        return differences(_split(rows, expected), expected)
    size, grid = (pixels.shape[2], pixels.shape[1]), checkpoint.architecture.grid
    logits, labels = _split(rows, [*expected, pixels[..., 0]])
    decided = [label_map(each, size, grid, quantisation=checkpoint.quantisation) for each in logits]
    if not np.array_equal(labels, decided):
        raise ValueError("The page was not written: of the same logits its engine makes other labels than linnet.")
    return differences([logits], expected)


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


def _split(rows: NDArray[np.float32], like: list[NDArray[Any]]) -> list[NDArray[np.float32]]:
    """Rows of all outputs, as arrays of the same shapes as others."""
    ends = np.cumsum([each[0].size for each in like])[:-1]
    parts = np.split(rows, ends, axis=1)
    return [part.reshape(each.shape) for part, each in zip(parts, like, strict=True)]
