"""PyTorch's files of tensors read without torch and without running anything: its zip archives and its older container.

Such a file is a pickle, a small program that builds objects, with the numbers of the tensors beside it. The program is
followed by an unpickler that knows tensors, ordered dictionaries and a few plain records; it makes stand-ins of them.
Any other name that the program asks for ends the reading: nothing of the machine can be reached from within.
"""

from __future__ import annotations

import io
import pickle
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from linnet.weights.matching import NotOurs

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEGACY_MARK = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"
"""How the older container begins: a pickle of torch's magic number 0x1950a86a20f9469cfc6c."""

PROTOCOL = 1001
LARGEST_PICKLE = 1 << 26
"""Bytes of the program; that of MobileNetV2 with an optimizer has 200,000."""

MOST_DIMENSIONS = 8

DTYPES: dict[str, np.dtype[Any]] = {
    "FloatStorage": np.dtype("<f4"),
    "DoubleStorage": np.dtype("<f8"),
    "HalfStorage": np.dtype("<f2"),
    "BFloat16Storage": np.dtype("<u2"),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("i1"),
    "ByteStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("?"),
}
"""torch's names of storages → what their numbers are. bfloat16 is the upper half of a float32."""

TYPES = ("float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool")
"""torch's types of numbers, as they stand beside tensors."""


@dataclass
class Storage:
    """Numbers of a file, not yet read: `values` is filled in once their place is known."""

    key: str
    kind: str
    count: int
    values: NDArray[Any] | None = None


@dataclass(frozen=True)
class StoredTensor:
    """A view of a storage: what torch calls a tensor."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def floating(self) -> bool:
        """Whether its numbers are real ones."""
        return self.storage.kind in ("FloatStorage", "DoubleStorage", "HalfStorage", "BFloat16Storage")

    def array(self) -> NDArray[np.float32]:
        """Its numbers as float32.

        Raises:
            ValueError: if they do not lie within the storage.
        """
        values, elements = self.storage.values, int(np.prod(self.shape, dtype=object)) if self.shape else 1
        if values is None:
            raise ValueError(f"the numbers of storage {self.storage.key!r} are missing")
        last = self.offset + sum((side - 1) * step for side, step in zip(self.shape, self.strides, strict=True))
        if elements > len(values) or (elements and last >= len(values)):
            raise ValueError(f"a tensor of {elements} numbers does not fit into a storage of {len(values)}")
        steps = tuple(step * values.itemsize for step in self.strides)
        found = np.lib.stride_tricks.as_strided(values[self.offset :], self.shape, steps, writeable=False)
        if self.storage.kind == "BFloat16Storage":
            return (np.ascontiguousarray(found).astype(np.uint32) << 16).view(np.float32)
        with np.errstate(over="ignore"):
            return np.ascontiguousarray(found, np.float32)


@dataclass(frozen=True)
class _Kind:
    """The name of a storage class."""

    name: str


class Record:
    """Stands for a plain record without tensors that training scripts put beside the weights, such as their flags."""

    def __init__(self, *values: Any) -> None:
        """Keeps nothing."""


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> StoredTensor:
    sizes = (offset, *shape, *strides)
    whole = all(isinstance(each, int) and not isinstance(each, bool) and 0 <= each < 1 << 40 for each in sizes)
    if not isinstance(storage, Storage) or not whole or not len(shape) == len(strides) <= MOST_DIMENSIONS:
        raise ValueError("a tensor has a senseless shape")
    return StoredTensor(storage, offset, tuple(shape), tuple(strides))


def _parameter(data: Any, *_: Any) -> Any:
    return data


def _record(*_: Any) -> Record:
    return Record()


def _filled_later(*_: Any) -> dict[Any, Any]:
    return {}


def _listed_later(*_: Any) -> list[Any]:
    return []


KNOWN: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _parameter,
    ("torch.nn.parameter", "Parameter"): _parameter,
    ("torch", "Size"): tuple,
    ("torch", "device"): _record,
    ("argparse", "Namespace"): Record,
    ("_codecs", "encode"): _record,
    ("collections", "Counter"): _record,
    ("collections", "defaultdict"): _filled_later,
    ("collections", "deque"): _listed_later,
    **{
        (module, name): _record
        for module in ("__builtin__", "builtins")
        for name in ("set", "list", "dict", "int", "float")
    },
    **{("pathlib", name): _record for name in ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath")},
    **{("datetime", name): _record for name in ("date", "time", "datetime", "timedelta", "timezone")},
    # Types are values, which nothing calls.
    **{("torch", name): f"torch.{name}" for name in TYPES},
    ("numpy", "dtype"): Record,
    ("numpy", "ndarray"): Record,
    **{
        (f"numpy.{core}.multiarray", name): _record for core in ("core", "_core") for name in ("scalar", "_reconstruct")
    },
    **{(module, name): _Kind(name) for module in ("torch", "torch.storage") for name in DTYPES},
}
"""What the program of a file may name → what stands for it. Neither runs anything."""

HINTS = {
    "_rebuild_qtensor": "its weights are PyTorch's 8-bit ones, which linnet does not read: take the float weights",
    "_rebuild_device_tensor_from_numpy": "its tensors are of another device than a CPU or GPU: save them on the CPU",
}


class _Unpickler(pickle._Unpickler):
    """Python's own, in Python: the one in C takes memory for whatever place a program names."""

    dispatch: ClassVar[dict[int, Any]] = dict(pickle._Unpickler.dispatch)

    def __init__(self, file: io.BytesIO, storage_of: Callable[[Any], Storage]) -> None:
        super().__init__(file)
        self._storage_of = storage_of

    def find_class(self, module: str, name: str) -> Any:
        """A stand-in; raises NotOurs for every name that is not known."""
        known = KNOWN.get((str(module), str(name)))
        if known is None:
            if name in HINTS:
                raise NotOurs(HINTS[name])
            raise NotOurs(
                f"its pickle asks for '{module}.{name}', and linnet opens nothing but tensors: nothing of it was run. "
                "Save the weights alone: torch.save(model.state_dict(), FILE)"
            )
        return known

    def skip_state(self) -> None:
        """Drops what a program would set inside an object: no stand-in needs it, and none may be changed."""
        stack: list[Any] = vars(self)["stack"]
        stack.pop()

    dispatch[pickle.BUILD[0]] = skip_state

    def get_extension(self, code: int) -> Any:
        """Refuses names by number."""
        raise NotOurs("its pickle asks for a registered extension, and linnet opens nothing but tensors")

    def persistent_load(self, pid: Any) -> Storage:
        """The storage that a program refers to."""
        return self._storage_of(pid)


def read_pickle(content: bytes) -> Any:
    """What a file of `torch.save` holds, tensors as `StoredTensor`.

    Raises:
        NotOurs: if its pickle asks for anything but tensors.
        Exception: of any kind, if it is damaged.
    """
    return _read_archive(content) if content[:4] == b"PK\x03\x04" else _read_legacy(content)


def _storages(found: dict[str, Storage]) -> Callable[[Any], Storage]:
    """A function that gives the storage a program refers to, each once."""

    def storage_of(pid: Any) -> Storage:
        if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] != "storage" or not isinstance(pid[1], _Kind):
            raise ValueError("its pickle refers to something that is no storage")
        if len(pid) > 5 and pid[5] is not None:
            raise NotOurs("its storages are views of one another, as files before PyTorch 0.4 have them")
        key, count = str(pid[2]), pid[4]
        if not isinstance(count, int) or isinstance(count, bool) or count < 0:
            raise ValueError(f"storage {key!r} has a senseless size")
        known = found.setdefault(key, Storage(key, pid[1].name, count))
        if (known.kind, known.count) != (pid[1].name, count):
            raise ValueError(f"storage {key!r} is described in two ways")
        return known

    return storage_of


def _read_legacy(content: bytes) -> Any:
    """Magic number, protocol, system, the object, the keys of its storages, then each one's count and numbers."""
    file = io.BytesIO(content)
    found: dict[str, Storage] = {}
    parts = [_Unpickler(file, _storages(found)).load() for _ in range(5)]
    protocol, system, result, keys = parts[1:]
    if protocol != PROTOCOL or not isinstance(system, dict) or not isinstance(keys, list):
        raise ValueError("what stands before its tensors is not what PyTorch writes")
    if system.get("little_endian") is False:
        raise NotOurs("its numbers are big-endian: save it on an ordinary machine")
    place = file.tell()
    for key in keys:
        storage = found.get(str(key))
        if storage is None:
            raise ValueError(f"storage {key!r} belongs to no tensor")
        dtype = DTYPES[storage.kind]
        count = int.from_bytes(content[place : place + 8], "little")
        if count != storage.count:
            raise ValueError(f"storage {key!r} has {count} numbers instead of {storage.count}")
        # Raises where the file ends before it.
        storage.values = np.frombuffer(content, dtype, count, place + 8)
        place += 8 + count * dtype.itemsize
    return result


def _read_archive(content: bytes) -> Any:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
    program = next((name for name in entries if name.endswith("/data.pkl")), "data.pkl")
    folder = program.removesuffix("data.pkl")
    if any(name.startswith(f"{folder}code/") for name in entries):
        raise NotOurs(
            "it is a TorchScript program, which linnet does not run. Save the weights alone: "
            "torch.save(model.state_dict(), FILE)"
        )
    order = entries.get(f"{folder}byteorder")
    if order is not None and bytes(_member(content, order)) != b"little":
        raise NotOurs("its numbers are big-endian: save it on an ordinary machine")
    if entries[program].file_size > LARGEST_PICKLE:
        raise ValueError(f"its pickle has {entries[program].file_size} bytes")
    found: dict[str, Storage] = {}
    result = _Unpickler(io.BytesIO(bytes(_member(content, entries[program]))), _storages(found)).load()
    if sum(storage.count * DTYPES[storage.kind].itemsize for storage in found.values()) > len(content):
        raise ValueError("its storages are larger than the file")
    for storage in found.values():
        values = _member(content, entries[f"{folder}data/{storage.key}"])
        storage.values = np.frombuffer(values, DTYPES[storage.kind], storage.count)
    return result


def _member(content: bytes, entry: zipfile.ZipInfo) -> memoryview:
    """The bytes of a file in an archive, which PyTorch never compresses, where they lie.

    Raises:
        ValueError: if they are compressed, are not all there, or are not those that were written.
    """
    if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size or entry.flag_bits & 1:
        raise ValueError(f"'{entry.filename}' is compressed or encrypted, which PyTorch never does")
    place = entry.header_offset
    head = content[place : place + 30]
    if head[:4] != b"PK\x03\x04":
        raise ValueError(f"'{entry.filename}' is not where the directory says")
    place += 30 + int.from_bytes(head[26:28], "little") + int.from_bytes(head[28:30], "little")
    found = memoryview(content)[place : place + entry.file_size]
    if len(found) != entry.file_size or zlib.crc32(found) != entry.CRC:
        raise ValueError(f"'{entry.filename}' is damaged")
    return found


def tensors_in(value: Mapping[Any, Any]) -> Iterator[tuple[str, StoredTensor]]:
    """Names and tensors that stand directly in a dictionary."""
    for name, entry in value.items():
        if isinstance(entry, StoredTensor):
            yield str(name), entry
