"""Other people's weight files → linnet's checkpoint: one door, `read`, which looks at what is inside.

One module a format; each names what it cannot read. A new one has `why_not(start)` and `convert(source, …)` as
`linnet.weights.tflite` has them, and one line in `FORMATS`.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from linnet.weights.conversion import Conversion

FORMATS = ("tflite",)
"""Modules of this folder, in the order in which they are asked."""

LOOKED_AT = 4096
"""Bytes at the start of a file by which its format is recognised."""


def read(
    source: str | Path, *, labels: tuple[str, ...] | None = None, licence: str | None = None, url: str | None = None
) -> Conversion:
    """Reads a file of weights, in whichever known format it is; its name does not matter.

    Args:
        source: the file.
        labels: class names, one an output of the file; the file's own if this is not given.
        licence: for the provenance; what the file says of itself comes second.
        url: where the file was published, for the provenance.

    Raises:
        OSError: if the file cannot be read.
        ValueError: if no format is recognised, the file is damaged, or it is no MobileNet; the text says what it is
            instead.
    """
    path = Path(source)
    if path.is_dir():
        raise IsADirectoryError(f"'{path}' is a folder; a file of weights was expected.")
    with path.open("rb") as file:
        start = file.read(LOOKED_AT)
    reasons = []
    for name in FORMATS:
        module = import_module(f"linnet.weights.{name}")
        reason = module.why_not(start)
        if reason is None:
            conversion: Conversion = module.convert(path, labels=labels, licence=licence, url=url)
            return conversion
        reasons.append(reason)
    raise ValueError(f"'{path}' is {', '.join(reasons)}.")
