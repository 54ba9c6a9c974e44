"""The native library, bound with ctypes; absent where linnet was installed without a compiler."""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path

NAMES = ("liblinnet_native.so", "liblinnet_native.dylib", "linnet_native.dll")


@cache
def load_library() -> ctypes.CDLL | None:
    """The library that was built with this package, or None. Declares the types of its functions."""
    import linnet.engine

    # Not beside __file__: an editable install keeps the library elsewhere on the package's path.
    for folder in linnet.engine.__path__:
        for name in NAMES:
            path = Path(folder) / name
            if path.is_file():
                library = ctypes.CDLL(str(path))
                library.linnet_version.restype = ctypes.c_char_p
                library.linnet_version.argtypes = []
                library.linnet_instruction_set.restype = ctypes.c_char_p
                library.linnet_instruction_set.argtypes = []
                return library
    return None


def native_version() -> str | None:
    """Version of the native library, which equals the package's; None where there is no library."""
    library = load_library()
    return None if library is None else str(library.linnet_version().decode())


def instruction_set() -> str | None:
    """The widest vector instruction set of this processor that linnet knows: `avx512`, `avx2`, `neon` or `baseline`."""
    library = load_library()
    return None if library is None else str(library.linnet_instruction_set().decode())
