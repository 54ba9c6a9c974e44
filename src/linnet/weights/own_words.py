"""What files of linnet say of themselves, held against what was found in them."""

from __future__ import annotations

from typing import Any, TypeVar

from linnet.architecture import Architecture, from_options

T = TypeVar("T", bound=Architecture)


def as_said(found: T, options: dict[str, Any] | None) -> T:
    """The architecture that a file of linnet names, if it has the operations that were found in the file.

    Several widths may round to the same channels, for example.
    """
    try:
        said = None if options is None else from_options(dict(options))
    except (AttributeError, KeyError, TypeError, ValueError):
        return found
    return said if isinstance(said, type(found)) and said.graph.operations == found.graph.operations else found
