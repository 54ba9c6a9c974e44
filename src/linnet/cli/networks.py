"""Flags of networks, made from the dataclasses that describe them: what an architecture can say, a flag can say."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Mapping
from dataclasses import MISSING, field, fields
from functools import cache
from itertools import pairwise
from typing import Annotated, Any, Literal, get_args, get_type_hints

import tyro

from linnet.architecture import FAMILIES, Architecture
from linnet.architecture.ssdlite import BACKBONES, DETECTORS

BACKBONE_HELP = "What gives the features; the options of both are flags below."

Flag = tuple[str, Any, Any]
"""Name, type and dataclass field of a flag, as `dataclasses.make_dataclass` takes them."""


def network_flags(family: str, *, variant: str = "tensorflow") -> list[Flag]:
    """One flag for each option of a family; a detector's are its own, its backbone by name, and every backbone's.

    Args:
        family: a key of `FAMILIES`.
        variant: of a detector: what gives the defaults.
    """
    if family not in DETECTORS:
        return [_flag(FAMILIES[family], entry.name, entry.default) for entry in fields(_kind(family))]
    default: Any = DETECTORS[family](variant=variant)
    flags = {entry.name: _flag(_kind(family), entry.name, getattr(default, entry.name)) for entry in fields(default)}
    names: Any = Literal[tuple(BACKBONES)]
    flags["backbone"] = ("backbone", Annotated[names, tyro.conf.arg(help=BACKBONE_HELP)], field(default="mobilenet_v2"))
    for kind in reversed(BACKBONES.values()):
        for entry in fields(kind):
            value = getattr(default.backbone, entry.name, entry.default)
            flags.setdefault(entry.name, _flag(kind, entry.name, value))
    return list(flags.values())


def trainable_flags() -> list[Flag]:
    """One flag for each option that any family has; None where it is not given.

    Without what the data decide, what the recipe does, and what a flag of the command says for all families.
    """
    flags: dict[str, Flag] = {}
    for family in FAMILIES:
        for name, hint, _ in network_flags(family):
            if name not in ("classes", "resolution", "dropout", "folded"):
                kind, help_text = get_args(hint)
                flags.setdefault(name, (name, Annotated[kind | None, help_text], field(default=None)))
    return list(flags.values())


def network_of(family: str, values: Mapping[str, Any], *, variant: str = "tensorflow") -> Architecture:
    """The network that flags describe.

    Raises:
        ValueError: on any option that makes no sense, with its name, its value and what is allowed.
    """
    if family in DETECTORS:
        return DETECTORS[family](variant=variant, **values)
    return _kind(family)(**values)


def _kind(family: str) -> Any:
    return FAMILIES[family]


def _flag(kind: type, name: str, default: Any) -> Flag:
    hint = get_type_hints(kind)[name]
    default = field(default=default) if default is not MISSING else field()
    return name, Annotated[hint, tyro.conf.arg(help=documents(kind).get(name, ""))], default


@cache
def documents(kind: Any) -> dict[str, str]:
    """The text that stands under each field of a dataclass and of those that it inherits from."""
    found: dict[str, str] = {}
    for each in reversed(kind.__mro__[:-1]):
        body = ast.parse(textwrap.dedent(inspect.getsource(each))).body[0].body  # type: ignore[attr-defined]
        for entry, text in pairwise(body):
            documented = isinstance(entry, ast.AnnAssign) and isinstance(text, ast.Expr)
            if documented and isinstance(text.value, ast.Constant) and isinstance(entry.target, ast.Name):
                found[entry.target.id] = " ".join(str(text.value.value).split())
    return found
