"""A quantised network as one C99 file and a header, for microcontrollers."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from linnet.architecture.cost import cost
from linnet.checkpoint import Checkpoint
from linnet.detection import anchors
from linnet.engine.integer_reference import FixedPointNetwork, IntegerNetwork
from linnet.export.contract import contract_of
from linnet.export.microcontroller.checking import Footprint, as_numbers, find_compiler, measure, run_source
from linnet.export.microcontroller.described import comment
from linnet.export.microcontroller.header import write_header
from linnet.export.microcontroller.layers import Network, network_of
from linnet.export.microcontroller.plan import Plan, make_plan
from linnet.export.microcontroller.source import Source, ram_of, write_boxes, write_source
from linnet.export.tflite_metadata import describe
from linnet.export.vectors import Vectors, as_fed, sample_pictures
from linnet.export.written import Export, Precision, check_difference, differences
from linnet.files import write_together
from linnet.images import Preprocessing, grey_of, normalise

if TYPE_CHECKING:
    from numpy.typing import NDArray

OURS = "Written by linnet export"
"""What the beginning of our files says: beside the file that was named no others are replaced."""


def export_c(
    checkpoint: Checkpoint, path: str | Path, *, precision: Precision, fixed_point: bool = False, ram: int | None = None
) -> Export:
    """Writes a network for microcontrollers: `model.c` with all that runs, and `model.h` beside it.

    Of a detector `model_boxes.c` is there too, which makes boxes of its offsets and logits.

    It is compiled by the C compiler of this machine, where there is one, run on noisy pictures and compared with the
    integer reference: every number must be equal.

    Args:
        checkpoint: a quantised network.
        path: the C file; the header's name is the same but for its ending.
        precision: `int8`.
        fixed_point: sums are multiplied by integers instead of floats, for processors without them: as the reference
            kernels of TensorFlow Lite do it (`linnet.quantisation.fixed_point`).
        ram: bytes of static memory that there are.

    Raises:
        ValueError: if the network needs more memory or cannot be computed, or the compiled file computes something
            else: then nothing is written.
        OSError: if a file cannot be written.
    """
    path = Path(path)
    behind = BEHIND.get(checkpoint.task)
    files, contract = _names(path, boxes=behind is not None), checkpoint.preprocessing
    if contract is None:
        channels = checkpoint.architecture.input_channels
        raise ValueError(f"A C file takes pictures, grey or in colour; this network takes {channels} channels.")
    if fixed_point and checkpoint.quantisation is not None and checkpoint.quantisation.dtype != "int8":
        raise ValueError("Fixed point is there for int8; this network has uint8. Leave it away, or quantize again.")
    network, plan = plan_of(checkpoint, fixed=fixed_point)
    needed = ram_of(plan)
    if ram is not None and needed > ram:
        raise ValueError(
            f"The network needs {needed:,} bytes of memory, which is the least of all its plans; {ram:,} are given. A "
            "lower resolution or width needs less."
        )
    # What stands in a comment can neither end it nor begin another, nor hide behind a backslash.
    title = re.sub(r"\*/|/\*|[\\?]", " ", describe(checkpoint))
    colours = "grey" if contract.colours == "grey" else "RGB"
    source = write_source(
        network,
        plan,
        header=files[1].name,
        interface=write_header(
            network, title=title, colours=colours, ram=needed, boxes=files[2].name if behind else ""
        ),
        swapped=contract.colours == "BGR",
        fixed=fixed_point,
    )
    texts = {files[0].name: source.code, files[1].name: source.header}
    if behind is not None:
        texts[files[2].name] = behind(checkpoint.architecture, files[1].name)
    pictures = sample_pictures(checkpoint.architecture, contract)
    # Compilers run beside the reference: of a large network each takes a second or two.
    with ThreadPoolExecutor(2) as pool:
        measured = pool.submit(measure, texts)
        ran = pool.submit(_run, network, texts, grey_of(pictures) if colours == "grey" else pictures)
        expected = _reference(checkpoint, pictures, fixed_point)
        try:
            outputs = ran.result()
        except ValueError as error:
            raise ValueError(f"'{path}' was not written, because it could not be run: {error}") from None
    compared = None if outputs is None else differences(outputs, expected)
    check_difference(path, "the compiled C file", compared, 0.0)
    found = measured.result()
    said = contract_of(checkpoint, "pixels", precision).with_vectors(Vectors.of_samples(pictures, expected, 0.0))
    texts[path.name] += comment(said)
    contents = {file: text.encode() for file, text in zip(files, texts.values(), strict=True)}
    write_together(contents)
    return Export(
        path,
        sum(map(len, contents.values())),
        tuple(sorted({layer.operation.kind for layer in network.layers})),
        None if compared is None else compared[0],
        precision=precision,
        equal=None if compared is None else compared[1],
        more=_figures(checkpoint, source, found, files),
    )


def _boxes(detector: Any, header: str) -> str:
    return write_boxes(anchors(detector), header=header, softmax=detector.scoring == "softmax")


BEHIND = {"detection": _boxes}
"""Task → the text of the file that goes on behind a network's numbers, of the network and the header's name."""


def plan_of(checkpoint: Checkpoint, *, fixed: bool) -> tuple[Network, Plan]:
    """The layers of a quantised network that takes pictures, and how they run in the least memory.

    Raises:
        ValueError: if something of it cannot run; the text says what.
    """
    assert checkpoint.preprocessing is not None
    network = network_of(checkpoint, _values(checkpoint.preprocessing), fixed=fixed)
    return network, make_plan(network)


def _names(path: Path, *, boxes: bool) -> tuple[Path, ...]:
    """The C file, its header, and the file of a detector's boxes.

    Raises:
        ValueError: if the compiler could not read the name, or a file that was not named is there and is not ours.
    """
    if re.search(r'["\\\x00-\x1f]', path.name):
        raise ValueError(f"'{path}' has a character in its name with which no header can be included. Name it anew.")
    if path.suffix == ".h":
        raise ValueError(f"'{path}' would be the header's name too. Name a file that ends in .c.")
    others = [path.with_suffix(".h"), *([path.with_name(f"{path.stem}_boxes.c")] if boxes else [])]
    for other in others:
        if other.is_file() and OURS.encode() not in other.read_bytes()[:65_536]:
            raise ValueError(
                f"'{other}' would be written too, and is there already as something else. Move it, or name another C "
                "file."
            )
    return path, *others


def _values(contract: Preprocessing) -> NDArray[np.float32]:
    """What each value of a picture's bytes stands for, (channels, 256)."""
    levels = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None, None], 3, axis=3)
    return np.ascontiguousarray(normalise(levels, contract)[0, :, 0].T)


def _run(network: Network, texts: dict[str, str], pixels: NDArray[np.uint8]) -> list[NDArray[np.float32]] | None:
    """What the compiled file gives for pictures; None where there is no compiler."""
    compiler = find_compiler()
    if compiler is None:
        return None
    found = run_source(compiler, texts, [output.size for output in network.outputs], pixels)
    return [
        as_numbers(values, output.scale, output.zero) for values, output in zip(found, network.outputs, strict=True)
    ]


def _reference(checkpoint: Checkpoint, pictures: NDArray[np.uint8], fixed: bool) -> list[NDArray[np.float32]]:
    """What the file has to give, (N, numbers) of each output."""
    assert checkpoint.preprocessing is not None
    assert checkpoint.quantisation is not None
    kind = FixedPointNetwork if fixed else IntegerNetwork
    network = kind(checkpoint.architecture, checkpoint.tensors, checkpoint.quantisation)
    outputs, _ = network.run(as_fed(pictures, checkpoint.preprocessing))
    return [each.reshape(len(pictures), -1) for each in (outputs if isinstance(outputs, tuple) else (outputs,))]


def _figures(
    checkpoint: Checkpoint, source: Source, found: Footprint | None, files: tuple[Path, ...]
) -> dict[str, Any]:
    """What the command prints and `--json` has."""
    return {
        "files": [str(file) for file in files],
        "header": str(files[1]),
        "ram_bytes": source.ram,
        "flash_bytes": source.constants if found is None else found.flash,
        "stack_bytes": None if found is None else found.stack,
        "measured_on": None if found is None else "cortex-m4",
        "multiply_adds": cost(checkpoint.architecture).multiply_adds,
    }
