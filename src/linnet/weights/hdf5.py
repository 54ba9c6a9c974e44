"""HDF5 files as texts and arrays, read by h5py in a process of its own.

HDF5's library goes round in circles on some damaged files, and crashes on others; no error reaches Python then. So the
library has a process with limits to its time and memory, and this one only sees what came out of it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

LARGEST_FILE = 1 << 28
"""Bytes of a file that is read; MobileNetV2 1.4 with the two moments of an optimizer has 75 million."""

LARGEST_TENSOR = 1 << 27
"""Bytes; the largest of a MobileNet, a classifier of 21,841 classes, has 112 million."""

MOST_OBJECTS = 100_000
"""Groups and datasets of a file."""

SKIPPED = frozenset({"optimizer_weights", "optimizer"})
"""Groups at the root that hold no network."""

PROCESSOR_SECONDS, SECONDS, MEMORY = 10, 300, 3 << 29
"""What the process may take: a whole file takes some tenths of a second."""

ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Hdf5:
    """What a file holds.

    Attributes:
        texts: (path of a group, name) → a text that is attached to it; the root's path is empty.
        tensors: path → values.
        problems: path → why a dataset was not read, to be said of whoever needs it.
    """

    texts: Mapping[tuple[str, str], str] = field(default_factory=dict)
    tensors: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)


def need_h5py() -> None:
    """Raises a ModuleNotFoundError with a sentence where h5py is not installed."""
    if find_spec("h5py") is None:
        raise ModuleNotFoundError(
            "Keras files need h5py, which is not installed: pip install 'linnet[convert]'.", name="h5py"
        )


def read_hdf5(content: bytes) -> Hdf5:
    """All texts and arrays of an HDF5 file.

    Raises:
        ModuleNotFoundError: if h5py is not installed.
        ValueError: if it is damaged, leads out of the file, or is larger than any MobileNet's.
    """
    need_h5py()
    if len(content) > LARGEST_FILE:
        raise ValueError(f"it has {len(content):,} bytes, far more than a MobileNet")
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", "from linnet.weights.hdf5 import serve; serve()"],
            input=content,
            capture_output=True,
            timeout=SECONDS,
            env=os.environ | ONE_THREAD | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
    except subprocess.TimeoutExpired:
        raise ValueError("HDF5's library does not come to an end with it") from None
    length = int.from_bytes(done.stdout[:8], "little")
    if done.returncode != 0 or not 0 < length <= len(done.stdout) - 8:
        raise ValueError("HDF5's library fails on it")
    answer = json.loads(done.stdout[8 : 8 + length])
    if answer["error"]:
        raise ValueError(answer["error"])
    tensors: dict[str, NDArray[Any]] = {}
    at = 8 + length
    for path, kind, shape in answer["tensors"]:
        values = np.frombuffer(done.stdout, kind, int(np.prod(shape, dtype=np.int64)), at).reshape(shape)
        tensors[path], at = values, at + values.nbytes
    texts = {(path, name): text for path, name, text in answer["texts"]}
    return Hdf5(texts, tensors, dict(answer["problems"]))


def serve() -> None:
    """The process: a file in, its texts and arrays out, behind a length and a JSON header."""
    _limit()
    header: dict[str, Any] = {"error": "", "texts": [], "tensors": [], "problems": []}
    arrays: list[bytes] = []
    try:
        _collect(sys.stdin.buffer.read(), header, arrays)
    except MemoryError:
        header["error"] = "HDF5's library needs more memory for it than any MobileNet does"
    except Exception as error:
        # A damaged file leads the library anywhere, and to exceptions of any kind.
        header["error"] = _first_line(error)
    if header["error"]:
        header |= {"texts": [], "tensors": [], "problems": []}
        arrays = []
    text = json.dumps(header).encode()
    for part in (len(text).to_bytes(8, "little"), text, *arrays):
        sys.stdout.buffer.write(part)
    sys.stdout.buffer.flush()
    # What the library would do at its end with a damaged file is nobody's concern any more.
    os._exit(0)


def _limit() -> None:
    try:
        import resource
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_CPU, (PROCESSOR_SECONDS, PROCESSOR_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def _collect(content: bytes, header: dict[str, Any], arrays: list[bytes]) -> None:
    import h5py

    try:
        file = h5py.File(h5py.h5f.open_file_image(content))
    except (OSError, RuntimeError, ValueError, KeyError):
        # What the library says of it, such as "not a file id", tells nobody anything.
        raise ValueError("it cannot be opened as HDF5: it is cut off, or altered at its beginning") from None
    for path, entry in _walk(file):
        if isinstance(entry, h5py.Dataset):
            problem = _why_not(entry, len(content))
            values = np.ascontiguousarray(entry[()]) if problem is None else None
            if values is None:
                header["problems"].append((path, problem))
            else:
                header["tensors"].append((path, values.dtype.newbyteorder("<").str, list(values.shape)))
                arrays.append(values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes())
                if sum(map(len, arrays)) > LARGEST_FILE:
                    raise ValueError("its tensors are larger than any MobileNet's")
        else:
            header["texts"] += [(path, name, text) for name, text in _texts(entry)]


def _walk(file: Any) -> Iterator[tuple[str, Any]]:
    """Path and object, for all in a file that is reached without leaving it; each group once."""
    import h5py

    waiting: list[tuple[str, Any]] = [("", file)]
    seen, count = {h5py.h5o.get_info(file.id).addr}, 0
    while waiting:
        path, current = waiting.pop()
        yield path, current
        for name in current:
            count += 1
            if count > MOST_OBJECTS:
                raise ValueError(f"it has more than {MOST_OBJECTS} groups and tensors")
            if not path and name in SKIPPED:
                continue
            full = f"{path}/{name}".lstrip("/")
            if not isinstance(current.get(name, getlink=True), h5py.HardLink):
                raise ValueError(f"its {full!r} leads elsewhere, perhaps out of the file")
            entry = current[name]
            if isinstance(entry, h5py.Dataset):
                yield full, entry
            elif isinstance(entry, h5py.Group):
                # A group that holds itself would never end.
                mark = h5py.h5o.get_info(entry.id).addr
                if mark not in seen:
                    seen.add(mark)
                    waiting.append((full, entry))


def _why_not(dataset: Any, size: int) -> str | None:
    """None if a dataset is an array of numbers within the file, else what it is, to stand behind its name."""
    shape, kind = dataset.shape, dataset.dtype
    if shape is None or kind.kind not in "fiu":
        return "is no array of numbers"
    if dataset.is_virtual or dataset.external:
        return "stands in another file"
    limit = LARGEST_TENSOR if dataset.chunks else min(size, LARGEST_TENSOR)
    if int(np.prod(shape, dtype=object)) * kind.itemsize > limit:
        return f"of shape {list(shape)} is larger than the file or any MobileNet's"
    return None


def _texts(group: Any) -> Iterator[tuple[str, str]]:
    for name in group.attrs:
        # Lists of names are not needed: what is there says its own name.
        shape, kind = group.attrs.get_id(name).shape, group.attrs.get_id(name).dtype
        if int(np.prod(shape or (), dtype=object)) != 1 or kind.kind not in "OSU":
            continue
        value = group.attrs[name]
        if isinstance(value, np.ndarray):
            value = value.reshape(())[()]
        if isinstance(value, bytes):
            value = value.decode(errors="replace")
        if isinstance(value, str):
            yield str(name), value


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__
