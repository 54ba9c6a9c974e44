"""What the folder of a run says of it: written before anything is trained, read by a run that goes on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from linnet.architecture import Architecture, from_options, options_of
from linnet.data.sources import locate
from linnet.images import Preprocessing
from linnet.training import folder as files
from linnet.training.plan import Plan
from linnet.training.recipe import Recipe
from linnet.training.recipes import recipe_from

FORMAT = 2
"""Of a run's folder. Runs of version 0.1 have none: their networks' parts and their recipes' fields had other names."""


@dataclass(frozen=True)
class Begun:
    """What the folder of a run says of it.

    Attributes:
        recipe: with every field decided.
        given: the recipe as it was given.
        decisions: a sentence for each field that was decided.
        contract: how pictures become inputs.
        architecture: of the network.
        provenance: of the checkpoints.
        classes: of the data.
        asked: `Plan.asked` of that time.
    """

    recipe: Recipe
    given: Recipe
    decisions: Sequence[str]
    contract: Preprocessing
    architecture: Architecture
    provenance: dict[str, Any]
    classes: tuple[str, ...]
    asked: dict[str, Any]


def write_begun(begun: Begun, plan: Plan) -> None:
    """Writes it down, and for people what was trained on and started from."""
    document = {
        "format": FORMAT,
        "recipe": begun.recipe.name,
        "given": asdict(begun.given),
        "resolved": asdict(begun.recipe),
        "decisions": list(begun.decisions),
        "data": str(locate(plan.data)),
        "start": plan.start.start,
        "asked": begun.asked,
        "architecture": options_of(begun.architecture),
        "preprocessing": begun.contract.to_json(),
        "classes": list(begun.classes),
        "provenance": begun.provenance,
    }
    files.write_json(plan.out / files.RECIPE, document)


def read_begun(plan: Plan) -> Begun | None:
    """What a run that is to go on has written down; None where one is to begin.

    Raises:
        ValueError: if what stands there is damaged, or of another version.
    """
    if not (plan.resume and files.goes_on(plan.out)):
        return None
    path = plan.out / files.RECIPE
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document.get("format") == FORMAT:
            return Begun(
                recipe_from(document["recipe"], document["resolved"]),
                recipe_from(document["recipe"], document["given"]),
                tuple(document["decisions"]),
                Preprocessing.from_json(document["preprocessing"]),
                from_options(document["architecture"]),
                document["provenance"],
                tuple(document["classes"]),
                dict(document["asked"]),
            )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"'{path}' is damaged ({error}). Start anew with --overwrite.") from None
    raise ValueError(
        f"The run in '{plan.out}' was begun by another version of linnet, and this one cannot go on with it to the "
        f"bit. Begin a new run from its weights: --start {plan.out / files.LAST} and another --out."
    )
