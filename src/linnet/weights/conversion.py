"""What comes of other people's weights, and the class names that come with them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from linnet.checkpoint import Checkpoint


@dataclass(frozen=True)
class Conversion:
    """What `read` made of a file.

    Attributes:
        checkpoint: the network, float32, folded.
        dropped: outputs left out at the front: 1 where ImageNet's background class was there.
        outputs: name of each intermediate tensor → its number in the file.
        notes: what had to be assumed, in sentences.
    """

    source: Path
    checkpoint: Checkpoint
    dropped: int
    outputs: dict[str, int]
    notes: tuple[str, ...]


def read_labels(content: bytes) -> tuple[str, ...]:
    """Class names, one a line; empty lines at the end do not count."""
    lines = content.decode("utf-8-sig", errors="replace").splitlines()
    while lines and not lines[-1].strip():
        lines.pop()
    return tuple(line.strip() for line in lines)
