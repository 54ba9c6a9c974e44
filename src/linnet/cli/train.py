"""Trains a classifier, or a detector, on your own pictures: whichever the data show.

DATA is a folder of class folders (with or without train, validation and test folders above them), a folder with a
labels.csv, Parquet, or WebDataset shards (a folder, or an address with a shards.json in it); or pictures with boxes: a
COCO json, or a folder with COCO, VOC or YOLO annotations. Everything goes into the folder --out: the best checkpoint,
curves, what the network saw, what it confuses, and a card. What is not given is decided from the data, and the run says
why.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, make_dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from linnet.cli.terminal import UsageError, live_progress, parse, print_json, show
from linnet.data import recognise_task
from linnet.data.recognition import FormatName

if TYPE_CHECKING:
    from linnet.training.plan import Outcome, Plan, Voice
    from linnet.training.state import TrainingState
    from linnet.training.task import Epoch

RecipeName = Literal["finetune", "features", "scratch-small", "imagenet", "paper", "detect-finetune", "detect-paper"]

DEFAULT, DEFAULT_OF_BOXES = "finetune", "detect-finetune"
"""Recipes of data with classes and with boxes."""


@dataclass(frozen=True)
class Options:
    """Options of `linnet train`, beside the recipe's fields."""

    data: tyro.conf.Positional[Path]
    """Class folders, a folder with a labels.csv, Parquet, or a folder or address of WebDataset shards; or pictures with
    boxes: a COCO json, or a folder with COCO, VOC or YOLO annotations."""
    out: Path
    """Folder of the run."""
    format: FormatName | None = None
    """As what DATA is read; decided by looking if this is not given."""
    images: Path | None = None
    """Folder of the pictures of a COCO json or of VOC files, where it is nowhere near them."""
    recipe: RecipeName | None = None
    """Where the fields below begin; each can be changed. `finetune`, or of boxes `detect-finetune`, if this is not
    given."""
    start: str | None = None
    """Weights to start from: a checkpoint, a model's name, `auto` for ImageNet weights, `none`. `auto` if this is not
    given, but `none` for the recipes that begin from nothing."""
    architecture: Literal["mobilenet_v1", "mobilenet_v2", "ssdlite", "ssd"] | None = None
    """Family; that of the start if this is not given, and `ssdlite` for boxes."""
    variant: Literal["tensorflow", "modern"] | None = None
    """Of boxes: the released detector exactly, or what suits small data and small objects, which is the default."""
    backbone: Literal["mobilenet_v1", "mobilenet_v2"] | None = None
    """Of boxes: what gives the features; the start's if this is not given."""
    width: float | None = None
    """Width multiplier of a network from nothing."""
    resolution: int | None = None
    """Side of the network's input in pixels; the start's if this is not given."""
    early_stride: Literal[1, 2, 4] | None = None
    """Of a network from nothing: 2 or 1 for small pictures (32 px)."""
    resume: bool = False
    """Go on with the run in --out, exactly as if it had not stopped."""
    overwrite: bool = False
    """Replace the run in --out."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """What trains."""
    licence: str | None = None
    """Licence of the trained weights, for the checkpoint and its card; that of the start if this is not given."""
    half: bool = False
    """Write the checkpoint as float16: half the size."""
    json: bool = False
    """Print the final figures as one JSON document; the run itself speaks on stderr."""


def main(arguments: list[str]) -> int:
    """Runs the command."""
    if find_spec("torch") is None:
        raise ModuleNotFoundError("Training needs torch: pip install 'linnet[train]'.", name="torch")
    options, plan = read_plan(arguments)
    return run(options, plan)


def read_plan(arguments: list[str]) -> tuple[Options, Plan]:
    """Options and plan from the arguments; the recipe's fields are flags with the defaults of the named recipe."""
    from linnet.training.plan import Plan
    from linnet.training.recipes import RECIPES
    from linnet.training.start import Wanted

    kind = RECIPES.get(_recipe_name(arguments), RECIPES[DEFAULT])
    combined = make_dataclass(
        "Options",
        [("fields", Annotated[kind, tyro.conf.arg(name="")], field(default_factory=kind))],
        bases=(Options,),
        frozen=True,
        kw_only=True,
    )
    combined.__doc__ = Options.__doc__
    try:
        options: Any = parse(combined, "train", __doc__, arguments)
    except ValueError as error:
        raise UsageError(_as_flag(str(error), kind)) from None
    names = ("width", "early_stride", "variant", "backbone")
    shape = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    recipe = options.fields
    # A detector that begins from another keeps that one's resolution.
    resolution = options.resolution or (None if recipe.task == "detection" else recipe.resolution)
    wanted = Wanted(options.start or recipe.start, options.architecture, resolution, shape)
    plan = Plan(
        options.data,
        options.out,
        recipe,
        wanted,
        resume=options.resume,
        overwrite=options.overwrite,
        device=options.device,
        half=options.half,
        licence=options.licence,
        images=options.images,
        format=options.format,
    )
    if plan.resume and plan.overwrite:
        raise UsageError("--resume goes on with a run and --overwrite replaces it: give one of them.")
    return options, plan


def _recipe_name(arguments: Sequence[str]) -> str:
    """The value of --recipe, or what the data show: needed before the flags can be known."""
    for place, argument in enumerate(arguments):
        if argument == "--recipe" and place + 1 < len(arguments):
            return arguments[place + 1]
        if argument.startswith("--recipe="):
            return argument.partition("=")[2]
    return DEFAULT_OF_BOXES if any(recognise_task(path) == "detection" for path in _paths(arguments)) else DEFAULT


def _paths(arguments: Sequence[str]) -> list[Path]:
    """What may be DATA: arguments that exist as files or folders, but not what other flags name."""
    before = ("", *arguments)
    words = [
        word
        for flag, word in zip(before, arguments, strict=False)
        if flag not in ("--out", "--start", "--images", "--format")
    ]
    return [Path(word) for word in words if not word.startswith("-") and Path(word).exists()]


def _as_flag(message: str, kind: type) -> str:
    """A message of the recipe's own check, with the flag in the place of the field."""
    for entry in fields(kind):
        message = message.replace(f"`{entry.name}`", f"--{entry.name.replace('_', '-')}")
    return message


def run(options: Options, plan: Plan) -> int:
    """Trains and says what came of it."""
    from linnet.training.run import run_training
    from linnet.training.task import Stopped

    start = time.perf_counter()
    with live_progress() as bar:
        try:
            outcome = run_training(plan, _voice(bar))
        except Stopped:
            print("linnet: stopped. The same command with --resume goes on.", file=sys.stderr)
            return 1
        except (RuntimeError, MemoryError) as error:
            raise _explain(error, plan) from error
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


def _voice(bar: Any) -> Voice:
    """Sentences and one line an epoch on stderr; between them a bar, if that is a terminal."""
    from linnet.training.plan import Voice

    def step(state: TrainingState, steps: int, loss: float, rate: float) -> None:
        bar.update(
            f"epoch {state.epoch + 1}/{state.epochs}", state.step, steps, f"loss {loss:.3f}, {rate:.0f} images/s"
        )

    def epoch(result: Epoch, state: TrainingState) -> None:
        bar.say(describe_epoch(result, state.epochs))
        if result.number == 1:
            bar.say(describe_stages(result))

    return Voice(bar.say, step, epoch, lambda text, done, total: bar.update(text, done, total, ""))


def describe_epoch(epoch: Epoch, epochs: int) -> str:
    """One line: how far, how good, how fast, and what holds it up."""
    figures = epoch.figures
    parts = [f"epoch {epoch.number}/{epochs}: loss {epoch.losses['loss']:.3f}"]
    if "top1" in figures:
        text = f"validation top-1 {figures['top1']:.2%}"
        if "average_top1" in figures:
            text += f", averaged {figures['average_top1']:.2%}"
        parts.append(text + (" *" if epoch.best else ""))
    if "AP" in figures:
        text = f"validation AP {figures['AP']:.3f}, AP50 {figures['AP50']:.3f}"
        if "average_AP" in figures:
            text += f", averaged {figures['average_AP']:.3f} and {figures['average_AP50']:.3f}"
        parts.append(text + (" *" if epoch.best else ""))
    if abs(gap := figures.get("gap", 0.0)) > 0.05:
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
    total = sum(stages.values()) + epoch.stages["evaluating"]
    shares = ", ".join(f"{text} {seconds / total:.0%}" for text, seconds in stages.items())
    pictures = epoch.images_per_second * sum(stages.values())
    decoding = pictures / max(epoch.stages["decoding"], 1e-9)
    return (
        f"time: {shares}, evaluation {epoch.stages['evaluating'] / total:.0%}; one worker decodes {decoding:.0f} "
        f"images/s. What holds it up: {max(stages, key=lambda text: stages[text])}."
    )


def _explain(error: Exception, plan: Plan) -> Exception:
    """What torch means, in a sentence."""
    text = str(error)
    if isinstance(error, MemoryError) or "can't allocate memory" in text or "out of memory" in text.lower():
        batch = plan.recipe.batch
        ways = [f"--batch {max(batch // 2, 1)}", f"--accumulate {2 * plan.recipe.accumulate}", "--recompute"]
        return ValueError(f"Out of memory at batch {batch}. Try {', or '.join(ways)}, or a smaller --resolution.")
    if "DataLoader worker" in text and "killed" in text:
        return ValueError(
            "A process that decodes pictures was killed, often for memory. Try fewer --workers, and --resume."
        )
    if ("onnection" in text and ("closed" in text or "reset" in text)) or "gloo" in text.lower() or "NCCL" in text:
        return ValueError(
            "Another process of this run has ended; its own output says why. --resume goes on from the last epoch, "
            "also with another number of processes."
        )
    return error
