"""Trains a classifier, a detector or a segmenter on your own pictures: whichever the data show.

DATA is a data set in any format that `linnet check` reads (docs/data.md): class folders with or without train,
validation and test folders above them, a table of labels, Parquet, or WebDataset shards; pictures with boxes; or
pictures with masks. Everything goes into the folder --out: the best checkpoint, curves, what the network saw, what it
confuses, and a card. What is not given is decided from the data, and the run says why.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, make_dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro

from linnet.architecture.network import OptionError
from linnet.cli.terminal import UsageError, as_flag, live_progress, parse, print_json, show
from linnet.data import recognise_task
from linnet.data.recognition import FormatName

if TYPE_CHECKING:
    from linnet.training.objective import Epoch
    from linnet.training.plan import Outcome, Plan, Reporter
    from linnet.training.state import TrainingState

Family = Literal["deeplab", "mobilenet_v1", "mobilenet_v2", "ssd", "ssdlite"]

RecipeName = Literal[
    "finetune",
    "features",
    "scratch-small",
    "imagenet",
    "paper",
    "detect-finetune",
    "detect-paper",
    "segment-finetune",
]


@dataclass(frozen=True)
class Options:
    """Options of `linnet train`, beside the recipe's fields."""

    data: tyro.conf.Positional[Path]
    """The data set: class folders, a table of labels, Parquet, or WebDataset shards; or pictures with boxes or masks in
    any format that `linnet check` reads."""
    out: Path
    """The folder of the run."""
    format: FormatName | None = None
    """The format of the data. The default is to recognise it."""
    images: Path | None = None
    """The folder with the pictures of a COCO json or of VOC files, if it does not lie beside them."""
    ignore: str | None = None
    """Of masks, a value or the name of a class whose pixels are neither learnt nor counted, beside 255."""
    recipe: RecipeName | None = None
    """The recipe. Its fields are flags below. The default is `finetune`, `detect-finetune` if the data have boxes, and
    `segment-finetune` if they have masks alone: of a COCO json's polygons it makes masks where it is given."""
    start: str | None = None
    """The weights to start from: a checkpoint, the name of a model, `auto` for ImageNet weights, or `none`. The default
    is `auto`, and `none` for the recipes that begin from nothing."""
    architecture: Family | None = None
    """The family of the network. The default is that of the start, `ssdlite` if the data have boxes, and `deeplab` if
    they have masks."""
    variant: Literal["tensorflow", "paper", "modern"] | None = None
    """The variant of a detector or a segmenter: TensorFlow's released detector or the paper's segmenter exactly, or
    what suits small data and small things (`modern`), which is the default."""
    resolution: tuple[int, ...] | None = None
    """The side of the network's input in pixels, or its height and its width. The default is that of the start; of a
    segmenter that of most pictures, at most 512 pixels on the longer side."""
    resume: bool = False
    """Go on with the run in --out, exactly as if it had not stopped."""
    overwrite: bool = False
    """Replace the run in --out."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """The device that trains."""
    licence: str | None = None
    """The licence of the trained weights, for the checkpoint and its card. The default is that of the start."""
    half: bool = False
    """Write the checkpoints as float16, which takes half the size."""
    json: bool = False
    """Print the final figures as one JSON document. The run itself reports on stderr."""


def main(arguments: list[str]) -> int:
    """Runs the command."""
    if find_spec("torch") is None:
        raise ModuleNotFoundError("Training needs torch: pip install 'linnet[train]'.", name="torch")
    options, plan = read_plan(arguments)
    return run(options, plan)


def read_plan(arguments: list[str]) -> tuple[Options, Plan]:
    """Options and plan from the arguments; options of all networks and fields of all recipes are flags."""
    from linnet.cli.networks import trainable_flags
    from linnet.cli.recipes import given_fields, recipe_flags, recipe_of, recipes_described
    from linnet.tasks import TASKS
    from linnet.training.plan import Plan
    from linnet.training.recipes import RECIPES
    from linnet.training.starts import StartOptions

    of_networks, of_recipes = trainable_flags(), recipe_flags()
    combined = make_dataclass("Options", [*of_networks, *of_recipes], bases=(Options,), frozen=True, kw_only=True)
    combined.__doc__ = Options.__doc__
    options: Any = parse(combined, "train", f"{__doc__}\n\n{recipes_described()}", arguments)
    if options.resume and options.overwrite:
        raise UsageError("--resume goes on with a run and --overwrite replaces it: give one of them.")
    task = TASKS[recognise_task(options.data, format=options.format) or "classification"]
    named = RECIPES[options.recipe or task.recipe]
    fields_given = given_fields({name: getattr(options, name) for name, *_ in of_recipes})
    recipe = recipe_of(named, fields_given)
    asked = {name: getattr(options, name) for name in ("variant", *(name for name, *_ in of_networks))}
    named_too = ("recipe", "start", "architecture", "resolution", "half")
    given = [*fields_given, *(name for name in named_too if getattr(options, name))]
    given += [name for name, value in asked.items() if value is not None]
    start = StartOptions(
        options.start or recipe.start,
        options.architecture,
        _resolution(options.resolution),
        {name: value for name, value in asked.items() if value is not None},
    )
    return options, Plan(
        options.data,
        options.out,
        recipe,
        start,
        resume=options.resume,
        overwrite=options.overwrite,
        device=options.device,
        half=options.half,
        licence=options.licence,
        images=options.images,
        format=options.format,
        ignore=options.ignore,
        given=frozenset(given),
    )


def _resolution(sides: tuple[int, ...] | None) -> int | tuple[int, int] | None:
    """One side, or height and width."""
    if not sides:
        return None
    if len(sides) > 2:
        raise UsageError(f"--resolution takes one side or height and width; there are {len(sides)} numbers.")
    return sides[0] if len(sides) == 1 else (sides[0], sides[1])


def run(options: Options, plan: Plan) -> int:
    """Trains and says what came of it."""
    from linnet.training.failures import explain_failure
    from linnet.training.objective import Stopped
    from linnet.training.run import run_training

    start = time.perf_counter()
    with live_progress() as bar:
        try:
            outcome = run_training(plan, _reporter(bar))
        except Stopped:
            print("linnet: stopped. The same command with --resume goes on.", file=sys.stderr)
            return 1
        except OptionError as error:
            raise as_flag(error) from None
        except (RuntimeError, MemoryError) as error:
            raise explain_failure(error, plan.recipe) from error
    if outcome is not None:
        _report(outcome, options.json, time.perf_counter() - start)
    return 0


def _report(outcome: Outcome, as_json: bool, seconds: float) -> None:
    figures = outcome.measured.to_json()
    if as_json:
        print_json(figures | {"checkpoint": str(outcome.checkpoint), "data": outcome.data})
        return
    measured = outcome.measured
    show(
        f"{outcome.data}: {measured.sentence} of {measured.images} pictures, {seconds / 60:.1f} minutes in all",
        f"written: {outcome.checkpoint}  (linnet predict PICTURE --model {outcome.checkpoint})",
    )


def _reporter(bar: Any) -> Reporter:
    """Sentences and one line an epoch on stderr; between them a bar, if that is a terminal."""
    from linnet.training.plan import Reporter

    def step(state: TrainingState, steps: int, loss: float, rate: float) -> None:
        bar.update(
            f"epoch {state.epoch + 1}/{state.epochs}", state.step, steps, f"loss {loss:.3f}, {rate:.0f} images/s"
        )

    def epoch(result: Epoch, epochs: int, figures: str) -> None:
        bar.say(describe_epoch(result, epochs, figures))
        if result.number == 1:
            bar.say(describe_stages(result))

    return Reporter(bar.say, step, epoch, lambda text, done, total: bar.update(text, done, total, ""))


def describe_epoch(epoch: Epoch, epochs: int, figures: str) -> str:
    """One line: how far, how good, how fast, and what holds it up."""
    eight = ", in eight bits" * epoch.quantised
    parts = [f"epoch {epoch.number}/{epochs}{eight}: loss {epoch.losses['loss']:.3f}", figures + " *" * epoch.best]
    if abs(gap := epoch.figures.get("gap", 0.0)) > 0.05:
        parts.append(f"training mode {gap:+.1%}: the statistics lag, see --batch-norm")
    parts.append(f"{epoch.images_per_second:.0f} images/s, {epoch.seconds:.0f} s")
    stages = epoch.stages
    waiting = stages["waiting"] / max(stages["waiting"] + stages["network"] + stages["augmenting"], 1e-9)
    if waiting > 0.25:
        parts.append(f"{waiting:.0%} of it waiting for pictures: more --workers")
    return ", ".join(parts)


def describe_stages(epoch: Epoch) -> str:
    """Where the time of an epoch went, and which stage to look at first."""
    names = {"network": "the network", "waiting": "waiting for pictures", "augmenting": "augmenting them"}
    stages = {text: epoch.stages[name] for name, text in names.items()}
    pictures = epoch.images_per_second * sum(stages.values())
    stages["evaluation"] = epoch.stages["evaluating"]
    total = sum(stages.values())
    shares = ", ".join(f"{text} {seconds / total:.0%}" for text, seconds in stages.items())
    decoding = pictures / max(epoch.stages["decoding"], 1e-9)
    slowest = max(stages, key=lambda text: stages[text])
    return f"time: {shares}; one worker decodes {decoding:.0f} images/s. What holds it up: {slowest}."
