"""HEIC, the pictures of telephones: read where pillow-heif is installed, and named where it is not."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec

HEIF_SUFFIXES = (".heic", ".heif")

INSTALL = "pip install 'linnet[heif]'"

HEIF = f"is a HEIC picture, which needs pillow-heif: {INSTALL}."
"""What is said of one that cannot be read, behind its name."""

BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")


def is_heif(content: bytes) -> bool:
    """Whether a file's first bytes are those of HEIC; AVIF begins like it, and is another format."""
    return content[4:8] == b"ftyp" and content[8:12] in BRANDS and b"avif" not in content[12:64]


@cache
def has_heif() -> bool:
    """Whether pillow-heif is installed."""
    return find_spec("pillow_heif") is not None


@cache
def install_heif() -> bool:
    """Makes Pillow read HEIC; False where pillow-heif is not installed."""
    if not has_heif():
        return False
    import pillow_heif

    pillow_heif.register_heif_opener()
    return True
