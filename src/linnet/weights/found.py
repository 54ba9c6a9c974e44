"""What stands behind a path: the first bytes of a file, the names in a folder or archive; and what a stranger is."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable, Collection
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath

from linnet.kinds import (
    CHECKPOINT,
    DOCUMENT,
    LFS,
    LOOKED_AT,
    ONE_FILE,
    OTHERS,
    POINTER,
    SAVED_MODEL,
    TENSORFLOW,
    kind_of_name,
    looks,
    what_is,
)
from linnet.weights.conversion import in_short

MOST_MEMBERS = 20_000
"""Files in a folder or an archive that are looked at; a MobileNet has some hundred tensors."""

ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/+(.*)", re.DOTALL)
"""An address on the web or in a bucket; a letter alone is a drive's."""

NO_WEIGHTS = frozenset(
    {".txt", ".md", ".csv", ".tsv", ".yaml", ".yml", ".xml", ".html", ".py", ".js", ".ts", ".c", ".h", ".java", ".log"}
    | {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".mp4", ".parquet", ".npy"}
)
"""Endings of what lies beside networks in folders."""

MOST_LOOKED_INTO = 500
"""Files of a folder that are opened to find the one that holds a network."""

LARGEST_DIRECTORY = 1 << 24
"""Bytes of an archive behind its files; a directory of `MOST_MEMBERS` has a tenth."""

KNOWN = (
    "TFLite, ONNX, PyTorch, safetensors, Keras, TF.js, a SavedModel or a frozen graph of TensorFlow, or a folder of "
    "Hugging Face"
)

MODEL, OLD_MODEL = "model.json", "tensorflowjs_model.pb"
"""What describes a model of TensorFlow.js, since its version 1 and before."""

MANIFEST = "weights_manifest.json"
"""How the name ends of a list of what lies in TensorFlow.js' shards."""

OF_SAVED_MODELS = frozenset({SAVED_MODEL, "keras_metadata.pb", "fingerprint.pb"})
"""Protobufs of a SavedModel, none of which is a network by itself."""

LARGEST_TEXT = 1 << 26
"""Bytes of a description or manifest of TensorFlow.js; the largest of Keras Applications has 2 million."""

FOLDERS: tuple[tuple[str, str], ...] = (
    ("model.safetensors.index.json", f"holds its weights in several files, {ONE_FILE}"),
    ("pytorch_model.bin.index.json", f"holds its weights in several files, {ONE_FILE}"),
    (
        "archive_format",
        "is a program that torch.export wrote, which linnet does not run. Save the weights alone: "
        "torch.save(model.state_dict(), FILE)",
    ),
)
"""A file of a folder → what the folder is that no format takes."""


@dataclass(frozen=True)
class Found:
    """What stands behind a path.

    Attributes:
        path: of the file or folder.
        start: the first bytes of a file; empty for a folder.
        members: names in a folder or a zip archive, with `/` between parts; None for any other file.
    """

    path: Path
    start: bytes
    members: frozenset[str] | None = None

    @property
    def of_another_library(self) -> bool:
        """Whether a file has the ending of a library whose files begin as ONNX' do, such as Core ML's."""
        return self.members is None and self.start[:1] == b"\x08" and self.path.suffix.lower() in OTHERS

    def guess(self) -> str:
        """What it is although no format takes it, to stand behind its name."""
        if self.members is not None:
            return self._guess_of_many(self.members)
        if not self.start:
            return "is empty; weights were expected"
        found = what_is(self.path, self.start)
        if found is None and self.path.suffix == ".bin" and (described := _description_of(self.path)):
            return f"holds the numbers of a model of TensorFlow.js alone: name '{described}' beside it"
        if found == f"is {DOCUMENT}":
            return f"{found} that describes no network; expected was {KNOWN}"
        return found or f"{looks(self.start) or 'is of no known format'}; expected was {KNOWN}"

    def only_model(self, is_known: Callable[[bytes], bool]) -> Path | None:
        """The one file in a folder that begins as a file of weights; None of any other folder.

        Its name does not matter, but for pickles and archives, which may hold anything.

        Args:
            is_known: of the first bytes of a file, whether they begin a format that is read.
        """
        if self.members is None or self.start or self._named_by({name for name in self.members if "/" not in name}):
            return None
        names = [name for name in sorted(self.members) if _may_be_weights(name)]
        if len(names) > MOST_LOOKED_INTO or len(self.members) == MOST_MEMBERS:
            return None
        found: dict[Path, Path] = {}
        for name in names:
            path = self.path / name
            kind = kind_of_name(path)
            try:
                with path.open("rb") as file:
                    start = file.read(LOOKED_AT)
                if is_known(start) and (kind is not None or start[:1] not in (b"\x80", b"P")):
                    # Two names may be of one file, as in a cache of Hugging Face's hub.
                    found.setdefault(path.resolve(), path)
            except (OSError, RuntimeError):
                continue
        return next(iter(found.values())) if len(found) == 1 else None

    @staticmethod
    def _named_by(names: Collection[str]) -> str | None:
        """What a folder is that holds a file of one of `FOLDERS`."""
        return next((text for name, text in FOLDERS if name in names), None)

    def _saved(self, names: Collection[str]) -> str | None:
        """What to do with a SavedModel that is not read, or with several; None without one."""
        folders = sorted(name.rpartition("/")[0] for name in names if name.rpartition("/")[2] == SAVED_MODEL)
        if len(folders) > 1:
            unpacked = "unpack it, and name" if self.start else "name"
            return f"holds several SavedModels: {unpacked} one of its folders, such as {' or '.join(folders[:3])}"
        if any(name.endswith(f"{SAVED_MODEL}txt") for name in names):
            return "is a SavedModel as text, which linnet does not read: save it again, as saved_model.pb"
        return None

    def _guess_of_many(self, members: frozenset[str]) -> str:
        """What a folder or an archive is that no format takes: what lies at its top says most."""
        top = {name for name in members if "/" not in name}
        files = {name.rpartition("/")[2] for name in members}
        models = sorted(name for name in top if is_model(name))
        if text := self._named_by(top) or self._saved(members) or self._named_by([] if models else files):
            return text
        # A SavedModel has variables as a checkpoint has.
        if not models and SAVED_MODEL not in files and any(CHECKPOINT.search(name) for name in files):
            return TENSORFLOW
        inside = models or sorted(name for name in members if is_model(name))
        kind = "a zip archive" if self.start else "a folder"
        if inside:
            unpacked = "unpack it, and name" if self.start else "name"
            return f"is {kind} of no known format: {unpacked} one of its files, such as {' or '.join(inside[:3])}"
        shown = ", ".join(sorted(members)[:3]) or "nothing"
        return f"is {kind} of no known format: it holds {shown}; expected was {KNOWN}"


def _may_be_weights(name: str) -> bool:
    """Whether a file of a folder is opened to see whether it holds weights."""
    path = PurePosixPath(name)
    hidden = any(part.startswith((".", "__MACOSX")) for part in path.parts)
    if hidden or path.name == SAVED_MODEL:
        # A SavedModel is a folder, which is read as a whole.
        return False
    return path.suffix.lower() not in OTHERS and path.suffix.lower() not in NO_WEIGHTS


def is_model(name: str) -> bool:
    """Whether a file has the name of one that is read by itself, alone or with what it names."""
    kind = kind_of_name(Path(name))
    if name.rpartition("/")[2] in OF_SAVED_MODELS:
        return False
    return name.endswith(MANIFEST) or (kind is not None and kind.name not in (DOCUMENT, "a zip archive"))


def _description_of(shard: Path) -> str | None:
    """The name of the file beside a shard of TensorFlow.js that says which network it is of."""
    for path in sorted(shard.parent.glob("*.json")):
        if path.name == MODEL or path.name.endswith(MANIFEST):
            try:
                small = path.is_file() and path.stat().st_size <= LARGEST_TEXT
                named = small and f'"{shard.name}"'.encode() in path.read_bytes()
            except OSError:
                continue
            if named:
                graph = path.with_name(OLD_MODEL)
                return graph.name if path.name == MANIFEST and graph.is_file() else path.name
    return None


class NotFetchedError(OSError):
    """A file that is needed is only a pointer of Git LFS to it: nothing is damaged."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"'{path}' {POINTER}.")
        self.filename = str(path)

    def __str__(self) -> str:
        return str(self.args[0])


def check_fetched(path: Path, content: bytes) -> None:
    """Raises a NotFetchedError if the content of a file is a pointer."""
    if content.startswith(LFS):
        raise NotFetchedError(path)


def look(source: str | Path) -> Found:
    """What stands behind a path.

    Raises:
        OSError: if nothing does, or it cannot be read.
        ValueError: if it is an address, or a damaged archive.
    """
    path = Path(source)
    # A path has lost one of the slashes behind `s3:`.
    address = ADDRESS.match(str(source))
    if address and not path.exists():
        text = f"{address[1]}://{address[2]}"
        raise ValueError(f"'{text}' is an address: fetch the file first; the path of one on this machine was expected.")
    if path.is_dir():
        inside = (each for each in path.rglob("*") if each.is_file())
        names = [each.relative_to(path).as_posix() for each in islice(inside, MOST_MEMBERS)]
        return Found(path, b"", frozenset(names))
    if not path.exists():
        raise FileNotFoundError(f"There is no file '{path}'.")
    if not path.is_file():
        raise OSError(f"'{path}' is no regular file; a file of weights was expected.")
    with path.open("rb") as file:
        start = file.read(LOOKED_AT)
    return Found(path, start, _archived(path) if start[:4] == b"PK\x03\x04" else None)


def _archived(path: Path) -> frozenset[str]:
    try:
        _check_directory(path)
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except Exception as error:
        # A damaged directory leads its reader anywhere.
        raise ValueError(f"'{path}' is a damaged or cut off zip archive ({in_short(error)}).") from None
    if len(names) > MOST_MEMBERS:
        raise ValueError(f"'{path}' is a zip archive of {len(names)} files, far more than weights need.")
    return frozenset(names)


def _check_directory(path: Path) -> None:
    """Refuses an archive whose end says that its directory is huge, before anything is made of it."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(size - 65_557, 0))
        end = file.read()
    mark = end.rfind(b"PK\x05\x06")
    if mark < 0:
        raise ValueError("its directory is missing")
    length = int.from_bytes(end[mark + 12 : mark + 16], "little")
    if length != 0xFFFFFFFF and length > LARGEST_DIRECTORY:
        raise ValueError(f"its directory has {length} bytes")
