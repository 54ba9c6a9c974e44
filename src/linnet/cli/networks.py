"""Flags of networks, made from the dataclasses that describe them: what an architecture can say, a flag can say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, fields
from functools import cache
from typing import Annotated, Any, Literal, get_type_hints

import tyro

from linnet.architecture import COMPOSED, FAMILIES, Architecture
from linnet.architecture.network import OptionError
from linnet.architecture.ssdlite import BACKBONES
from linnet.cli.terminal import UsageError, as_flag, documents

UNSET = "default"
"""Default of a flag: None has a meaning of its own in `classes`."""

NEGATION = "no_"

BACKBONE_HELP = "The network that gives the features. Its options are flags too."

Flag = tuple[str, Any, Any]
"""Name, type and dataclass field of a flag, as `dataclasses.make_dataclass` takes them."""


def network_flags() -> list[Flag]:
    """One flag for each option that any family has; `UNSET` where it is not given, and help that says the defaults.

    An option that is yes or no has a second flag, `--no-…`, where some network has it by default.
    """
    flags: list[Flag] = []
    for name, (hint, text) in _options().items():
        help_text = tyro.conf.arg(help=f"{text} {_defaults(name)}".strip())
        if hint is bool:
            flags.append((name, Annotated[bool, help_text], field(default=False)))
            if any(value is True for value in _by_network(name).values()):
                against = tyro.conf.arg(help=f"The opposite of --{_dashed(name)}.")
                flags.append((f"{NEGATION}{name}", Annotated[bool, against], field(default=False)))
        else:
            given: Any = hint | Literal["default"]
            flags.append((name, Annotated[given, help_text], field(default=UNSET)))
    return flags


def trainable_flags() -> list[Flag]:
    """One flag for each option that any family has; None where it is not given.

    Without what the data decide, what the recipe does, and what a flag of the command says for all families.
    """
    return [
        (name, Annotated[hint | None, tyro.conf.arg(help=text)], field(default=None))
        for name, (hint, text) in _options().items()
        if name not in ("classes", "resolution", "dropout", "folded")
    ]


def network_of(family: str, values: Mapping[str, Any], *, variant: str | None = None) -> Architecture:
    """The network that the flags of `network_flags` describe.

    Args:
        family: a key of `FAMILIES`.
        values: of all flags, by name.
        variant: of a detector or a segmenter: what gives the options that are not given; None takes the released
            network's.

    Raises:
        UsageError: on an option that the family does not have, or whose value makes no sense.
    """
    given = given_options(values)
    if variant is not None:
        given["variant"] = variant
    known = {name for name, families in _families().items() if family in families}
    for unknown in [name for name in given if name not in known]:
        raise UsageError(f"--{_dashed(unknown)} is no option of {family}. Leave it away.")
    try:
        return COMPOSED.get(family, FAMILIES[family])(**given)
    except OptionError as error:
        raise as_flag(error) from None


def given_options(values: Mapping[str, Any]) -> dict[str, Any]:
    """The options that flags of `network_flags` gave.

    Raises:
        UsageError: on an option that is given together with its opposite.
    """
    given = {name: value for name, value in values.items() if value != UNSET and value is not False}
    for negated in [name for name in given if name.startswith(NEGATION)]:
        name = negated.removeprefix(NEGATION)
        if name in given:
            raise UsageError(f"--{_dashed(name)} and --{_dashed(negated)} contradict each other: give one of them.")
        del given[negated]
        given[name] = False
    return given


@cache
def _options() -> dict[str, tuple[Any, str]]:
    """Type and text of every option of every family; of what stands on a backbone its own, and its backbone's name."""
    options: dict[str, tuple[Any, str]] = {}
    for kind in _kinds():
        hints = get_type_hints(kind)
        for entry in fields(kind):
            options.setdefault(entry.name, (hints[entry.name], documents(kind).get(entry.name, "")))
    names: Any = Literal[tuple(BACKBONES)]
    options["backbone"] = (names, BACKBONE_HELP)
    return options


def _kinds() -> list[Any]:
    return list(FAMILIES.values())


@cache
def _families() -> dict[str, set[str]]:
    """Option → families that have it, or whose backbones may."""
    having: dict[str, set[str]] = {"variant": set(COMPOSED)}
    for family, kind in zip(FAMILIES, _kinds(), strict=True):
        kinds = [kind, *(BACKBONES.values() if family in COMPOSED else ())]
        for entry in (entry for each in kinds for entry in fields(each)):
            having.setdefault(entry.name, set()).add(family)
    return having


@cache
def _networks() -> dict[str, Any]:
    """What has defaults of its own, by what help calls it."""
    networks: dict[str, Any] = {family: COMPOSED.get(family, FAMILIES[family])() for family in FAMILIES}
    modern = {f"the modern {family}": COMPOSED[family](variant="modern") for family in ("ssdlite", "deeplab")}
    return networks | modern


def _by_network(name: str) -> dict[str, Any]:
    """The default of an option in each of `_networks` that has it."""
    found: dict[str, Any] = {}
    for label, network in _networks().items():
        for holder in (network, getattr(network, "backbone", None)):
            if any(entry.name == name for entry in fields(holder or network)):
                found.setdefault(label, getattr(holder or network, name))
    return found


def _defaults(name: str) -> str:
    """The defaults of an option as a sentence: one of most networks, and what others have instead."""
    if name == "backbone":
        return "The default is mobilenet_v2."
    labels: dict[str, list[str]] = {}
    for label, value in _by_network(name).items():
        labels.setdefault(_written(value), []).append(label)
    if set(labels) == {"no"}:
        return ""
    usual, *others = sorted(labels, key=lambda value: -len(labels[value]))
    exceptions = "; ".join(f"{value} for {' and '.join(labels[value])}" for value in others)
    return f"The default is {usual}{'; ' if exceptions else ''}{exceptions}."


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return " ".join(f"{each:g}" for each in value) or "none"
    return str(value)


def _dashed(name: str) -> str:
    return name.replace("_", "-")
