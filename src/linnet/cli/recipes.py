"""Flags of recipes, made from their dataclasses: a field that is not given is what the named recipe says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, fields, replace
from typing import Annotated, Any, Literal, get_type_hints

import tyro

from linnet.architecture.network import OptionError
from linnet.cli.networks import Flag
from linnet.cli.terminal import UsageError, as_flag, documents
from linnet.training.recipe import Recipe
from linnet.training.recipes import RECIPES

UNSET = "recipe"
"""Default of every flag: None has a meaning of its own in many fields."""

OPEN = {name for recipe in RECIPES.values() for name in recipe.choices(100, pretrained=True)}
"""Fields in which None is decided from the data."""

DECIDED = "by the data"


def recipe_flags() -> list[Flag]:
    """One flag for each field that any recipe has; its help says what each recipe takes."""
    flags: dict[str, Flag] = {}
    for recipe in RECIPES.values():
        kind: Any = type(recipe)
        hints, texts = get_type_hints(kind), documents(kind)
        for entry in fields(recipe):
            if entry.metadata.get("flag", True) and entry.name not in flags:
                flags[entry.name] = _flag(entry.name, hints[entry.name], texts[entry.name])
    return list(flags.values())


def recipes_described() -> str:
    """What each recipe is for, what it costs and what to expect of it, in paragraphs."""
    return "\n\n".join(f"Recipe {recipe.name}. {recipe.about.strip()}" for recipe in RECIPES.values())


def _flag(name: str, hint: Any, text: str) -> Flag:
    if hint is bool:
        return name, Annotated[bool, tyro.conf.arg(help=text)], field(default=False)
    given: Any = hint | Literal["recipe"]
    return name, Annotated[given, tyro.conf.arg(help=f"{text} {_defaults(name)}")], field(default=UNSET)


def _defaults(name: str) -> str:
    """What each recipe takes, as a sentence."""
    by_value: dict[Any, list[str]] = {}
    for recipe in RECIPES.values():
        if hasattr(recipe, name):
            value = getattr(recipe, name)
            by_value.setdefault(DECIDED if value is None and name in OPEN else value, []).append(recipe.name)
    if len(by_value) == 1:
        return f"Every recipe has {next(iter(by_value))}."
    return "; ".join(f"{_listed(names)}: {value}" for value, names in by_value.items()) + "."


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def given_fields(values: Mapping[str, Any]) -> dict[str, Any]:
    """Of the values of all flags, those that were given."""
    return {name: value for name, value in values.items() if value != UNSET and value is not False}


def recipe_of(recipe: Recipe, given: Mapping[str, Any]) -> Recipe:
    """A recipe with the fields that flags gave.

    Raises:
        UsageError: on a field that the recipe does not have, or a value that makes no sense.
    """
    known = {entry.name for entry in fields(recipe)}
    for unknown in given.keys() - known:
        raise UsageError(
            f"--{unknown.replace('_', '-')} is no option of the recipe {recipe.name}, which is for {recipe.task}. "
            "Leave it away."
        )
    try:
        return replace(recipe, **given)
    except OptionError as error:
        raise as_flag(error) from None
    except ValueError as error:
        raise UsageError(str(error)) from None
