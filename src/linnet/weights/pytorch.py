"""PyTorch's files: state dicts, alone or in a training checkpoint, in the zip archive or the older container.

Read without torch, and without running anything that a file says (`linnet.weights.pickles`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from linnet.weights.conversion import Conversion, in_short
from linnet.weights.matching import NotOurs
from linnet.weights.named import Named, checked_content, convert_named, explaining
from linnet.weights.pickles import LEGACY_MARK, StoredTensor, read_pickle, tensors_in

AVERAGED = ("model_ema", "state_dict_ema", "ema_state_dict", "ema")
WRAPPERS = (*AVERAGED, "state_dict", "model_state_dict", "model_state", "model", "net", "network", "weights", "params")
"""Keys under which training scripts keep the state dict, the better one first."""

NAMES = ("classes", "class_names", "classnames", "class_to_idx", "idx_to_class", "labels", "label_names")
"""Keys under which they keep the names of the classes."""

MOST_CLASSES = 100_000


def why_not(start: bytes) -> str | None:
    """None if a file begins as PyTorch's older ones and pickles do, else what it is not."""
    return None if start[:1] == b"\x80" and start[1:2] in b"\x01\x02\x03\x04\x05" else "not a pickle"


def why_not_members(names: frozenset[str]) -> str | None:
    """None if an archive has the pickle that PyTorch writes."""
    return None if any(name.rsplit("/", 1)[-1] == "data.pkl" for name in names) else "not a PyTorch archive"


def convert(
    source: str | Path, *, labels: tuple[str, ...] | None = None, licence: str | None = None, url: str | None = None
) -> Conversion:
    """Reads a state dict into a checkpoint, batch norm unfolded.

    Args:
        source: the file, such as `.pth`.
        labels: class names, one an output.
        licence: for the provenance.
        url: where the file was published.

    Raises:
        OSError: if the file cannot be read.
        ValueError: if it is damaged, holds more than tensors, or is no MobileNet; the text says what it is instead.
    """
    path = Path(source)
    if path.is_dir():
        raise IsADirectoryError(f"'{path}' is an unpacked PyTorch archive: the file itself was expected.")
    with explaining(path):
        return convert_named(read_named(path), labels=labels, licence=licence, url=url)


def read_named(path: Path) -> Named:
    """The tensors of a file.

    Raises:
        NotOurs: if it holds more than tensors, or no state dict.
        ValueError: if it is damaged.
    """
    content = checked_content(path)
    if content[:4] != b"PK\x03\x04" and not content.startswith(LEGACY_MARK):
        raise NotOurs(
            "it is a pickle that torch.save did not write, and linnet opens no others: a pickle can run anything"
        )
    notes: list[str] = []
    try:
        value = read_pickle(content)
        tensors = dict(state_dict(value, notes))
        arrays = {name: each.array() for name, each in tensors.items() if each.floating}
    except NotOurs:
        raise
    except Exception as error:
        # A damaged pickle leads its reader anywhere, and to exceptions of any kind.
        raise ValueError(f"'{path}' is damaged: it cannot be read ({in_short(error)}).") from None
    others = {name: each.storage.kind for name, each in tensors.items() if not each.floating}
    return Named(path, hashlib.sha256(content).hexdigest(), arrays, others, classes=class_names(value), notes=notes)


def state_dict(value: Any, notes: list[str]) -> Iterator[tuple[str, StoredTensor]]:
    """Names and tensors of the network in whatever a training script has saved.

    Raises:
        NotOurs: if there are none.
    """
    if isinstance(value, Mapping):
        for key in WRAPPERS:
            inner = value.get(key)
            if isinstance(inner, Mapping) and any(True for _ in tensors_in(inner)):
                if key in AVERAGED:
                    notes.append(f"It holds the averaged weights `{key}` too: these are taken.")
                return tensors_in(inner)
        if any(True for _ in tensors_in(value)):
            return tensors_in(value)
        keys = ", ".join(repr(key) for key in list(value)[:5])
        raise NotOurs(f"it holds no state dict: its keys are {keys or 'none'}")
    raise NotOurs(f"it holds a {type(value).__name__}, and no state dict")


def class_names(value: Any) -> tuple[str, ...] | None:
    """The names of the classes that stand beside the weights, in their order; None where there are none.

    mmdetection's stand in `meta`; training scripts have lists, torchvision's `class_to_idx`, or names by number.
    """
    if not isinstance(value, Mapping):
        return None
    meta = value.get("meta")
    for key in ("dataset_meta", "CLASSES", "classes"):
        if isinstance(meta, Mapping):
            inner = meta.get(key)
            meta = inner if inner is not None else meta
    return next((names for each in (meta, *(value.get(key) for key in NAMES)) if (names := _listed(each))), None)


def _listed(value: Any) -> tuple[str, ...] | None:
    """Names in the order of their numbers, from a list of them or a table with numbers on either side."""
    if isinstance(value, Mapping):
        pairs = [(key, name) if isinstance(name, str) else (name, key) for key, name in value.items()]
        numbers = [str(number) for number, _ in pairs]
        if len(numbers) > MOST_CLASSES or sorted(numbers) != sorted(map(str, range(len(numbers)))):
            return None
        value = [name for _, name in sorted(pairs, key=lambda pair: int(pair[0]))]
    if isinstance(value, tuple | list) and 0 < len(value) <= MOST_CLASSES:
        return tuple(value) if all(isinstance(name, str) for name in value) else None
    return None
