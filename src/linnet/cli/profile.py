"""What a network costs: parameters, multiply-adds and activation memory.

The network is a model (--model) or a description (--architecture mobilenet_v2 --width 0.5 --resolution 160 …, or
--architecture ssdlite --backbone mobilenet_v1 --classes 80 …; `linnet profile --architecture ssdlite --help` lists its
options).
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field, make_dataclass
from itertools import pairwise
from typing import Annotated, Any, Literal

import tyro

from linnet.architecture import FAMILIES, Architecture, Block, Detector, family_of, options_of
from linnet.architecture.cost import INVERTED, Cost, block_memory, cost, layerwise_memory, materialised
from linnet.architecture.network import OptionError
from linnet.architecture.ssdlite import DETECTORS, VARIANTS, Variant
from linnet.catalogue import find_model
from linnet.checkpoint import Checkpoint, load_checkpoint, random_checkpoint
from linnet.cli.networks import network_flags, network_of
from linnet.cli.plan import ScheduleName, describe_plan, show_plan
from linnet.cli.terminal import UsageError, as_flag, millions, parse, print_json, show, size, table
from linnet.engine.runtimes import MOST_THREADS

VARIANT_HELP = "What gives the defaults below: TensorFlow's released network, or what suits small data and objects."


@dataclass(frozen=True)
class Printing:
    """How the result is shown."""

    detail: bool = False
    """One row for each convolution instead of one for each block."""
    runtime: Literal["none", "native"] = "none"
    """`native` shows the engine's plan too: what runs as one, how, and in how much memory."""
    threads: int | None = None
    """Of the plan; all cores if this is not given."""
    schedule: ScheduleName = "auto"
    """Of the plan's blocks: whole layers, three-row buffers, groups of channels, or what costs least for each."""
    time: bool = False
    """Run the plan for a second and show times (with --runtime native)."""
    json: bool = False
    """Print one JSON document instead of tables."""


@dataclass(frozen=True)
class ModelOptions:
    """Options of `linnet profile` for a model."""

    model: str
    """A checkpoint file, or a name that `linnet models` lists."""
    architecture: str | None = None
    """A family instead: mobilenet_v1, mobilenet_v2 (the default), ssd or ssdlite, followed by its own options."""
    printing: Annotated[Printing, tyro.conf.OmitArgPrefixes] = field(default_factory=Printing)


def main(arguments: list[str]) -> int:
    """Runs the command."""
    family, rest = _take_family(arguments)
    if family is None:
        options = parse(ModelOptions, "profile", __doc__, rest)
        checkpoint = load_checkpoint(find_model(options.model))
        architecture, printing = checkpoint.architecture, options.printing
    else:
        if family not in FAMILIES:
            print(f"linnet profile: --architecture (={family!r}) must be {' or '.join(FAMILIES)}.", file=sys.stderr)
            return 2
        architecture, printing = _describe(family, rest)
        checkpoint = None
    price = cost(architecture)
    plan = _plan(architecture, checkpoint, printing)
    if printing.json:
        print_json(_document(architecture, price) | ({"plan": plan} if plan else {}))
        return 0
    _show(architecture, price, printing.detail)
    if plan:
        show("")
        show_plan(plan)
    return 0


def _plan(architecture: Architecture, checkpoint: Checkpoint | None, printing: Printing) -> dict[str, Any] | None:
    """The engine's plan if it is wanted; of a described network with random weights, which change neither."""
    if printing.runtime == "none":
        if printing.time or printing.threads is not None or printing.schedule != "auto":
            raise UsageError("--time, --threads and --schedule belong to --runtime native.")
        return None
    if printing.threads is not None and not 1 <= printing.threads <= MOST_THREADS:
        raise UsageError(f"--threads (={printing.threads}) must be from 1 to {MOST_THREADS}.")
    return describe_plan(
        checkpoint or random_checkpoint(architecture),
        threads=printing.threads,
        schedule=printing.schedule,
        timed=printing.time,
    )


def _take_family(arguments: list[str]) -> tuple[str | None, list[str]]:
    """The value of --architecture, and the other arguments; MobileNetV2 where no model is named either."""
    rest = list(arguments)
    for number, argument in enumerate(rest):
        if argument.startswith("--architecture="):
            del rest[number]
            return argument.partition("=")[2], rest
        if argument == "--architecture" and number + 1 < len(rest):
            family = rest[number + 1]
            del rest[number : number + 2]
            return family, rest
    named = any(argument in ("-h", "--help") or argument.split("=")[0] == "--model" for argument in rest)
    return (None if named else "mobilenet_v2"), rest


def _describe(family: str, arguments: list[str]) -> tuple[Architecture, Printing]:
    """A network from flags that its own dataclass gives; of a detector the variant gives their defaults."""
    options: list[tuple[str, Any, Any]] = []
    variant = "tensorflow"
    if family in DETECTORS:
        given = " ".join(arguments).replace("=", " ").split()
        variants = [value for flag, value in pairwise(given) if flag == "--variant" and value in VARIANTS]
        variant = variants[-1] if variants else variant
        options.append(("variant", Annotated[Variant, tyro.conf.arg(help=VARIANT_HELP)], field(default=variant)))
    flags = network_flags(family, variant=variant)
    options += [*flags, ("printing", Annotated[Printing, tyro.conf.OmitArgPrefixes], field(default_factory=Printing))]
    described = make_dataclass("DescribedOptions", options, frozen=True, kw_only=True)
    result: Any = parse(described, f"profile --architecture {family}", __doc__, arguments)
    values = {name: getattr(result, name) for name, *_ in flags}
    try:
        return network_of(family, values, variant=variant), result.printing
    except OptionError as error:
        raise as_flag(error) from None


def _sections(architecture: Architecture, price: Cost) -> dict[str, tuple[int, int]]:
    """Parameters and multiply-adds of a detector's parts; nothing for other networks."""
    if not isinstance(architecture, Detector):
        return {}
    sections = {"backbone": [0, 0], "extras": [0, 0], "heads": [0, 0]}
    for row in price.layers:
        section = sections[{"extras": "extras", "predictors": "heads"}.get(row.name.split(".")[0], "backbone")]
        section[0] += row.parameters
        section[1] += row.multiply_adds
    return {name: (parameters, multiply_adds) for name, (parameters, multiply_adds) in sections.items()}


def _document(architecture: Architecture, price: Cost) -> dict[str, Any]:
    return {
        "architecture": options_of(architecture),
        "parameters": price.parameters,
        "multiply_adds": price.multiply_adds,
        "activation_memory": {
            "largest_tensor": 4 * price.largest_tensor.elements,
            "layerwise_peak": layerwise_memory(architecture).peak.bytes,
            "block_peak": block_memory(architecture).peak.bytes,
            "largest_materialised": max(count for _, count in materialised(architecture, bytes_per_element=4)),
            "split_peaks": {
                str(splits): block_memory(architecture, splits=splits).peak.bytes for splits in range(1, 7)
            },
        },
        "layers": [
            {
                "name": row.name,
                "kind": row.kind,
                "output": list(row.output),
                "parameters": row.parameters,
                "multiply_adds": row.multiply_adds,
                "activation_bytes": 4 * row.elements,
            }
            for row in price.layers
        ],
    } | _detector_document(architecture, price)


def _detector_document(architecture: Architecture, price: Cost) -> dict[str, Any]:
    """What a detector's document has more."""
    if not isinstance(architecture, Detector):
        return {}
    return {
        "anchors": architecture.anchors,
        "sections": {
            name: {"parameters": parameters, "multiply_adds": multiply_adds}
            for name, (parameters, multiply_adds) in _sections(architecture, price).items()
        },
    }


def _show(architecture: Architecture, price: Cost, detail: bool) -> None:
    columns = (
        ("layer", "left"),
        ("kind", "left"),
        ("output", "left"),
        ("parameters", "right"),
        ("multiply-adds", "right"),
        ("output bytes", "right"),
    )
    costs = {row.name: row for row in price.layers}
    rows = []
    for layer in architecture.layers:
        parts = [costs[convolution.label] for convolution in layer.convolutions] or [costs[layer.name]]
        for group in [[part] for part in parts] if detail else [parts]:
            last = group[-1]
            rows.append(
                (
                    last.name if detail else layer.name,
                    last.kind if detail else _kind(layer),
                    " x ".join(map(str, last.output)),
                    f"{sum(part.parameters for part in group):,}",
                    f"{sum(part.multiply_adds for part in group):,}",
                    size(4 * last.elements),
                )
            )
    height, width = architecture.input_size
    show(f"{family_of(architecture)}, width {architecture.width:g}, {height} x {width}", table(columns, rows))
    layerwise, blocks = layerwise_memory(architecture).peak, block_memory(architecture).peak
    whole, whole_bytes = max(materialised(architecture, bytes_per_element=4), key=lambda entry: entry[1])
    sections = _sections(architecture, price)
    show(
        f"parameters     {price.parameters:>12,}   ({millions(price.parameters)})",
        *(f"  {name:<20}{parameters:>12,}" for name, (parameters, _) in sections.items()),
        f"multiply-adds  {price.multiply_adds:>12,}   ({millions(price.multiply_adds)})",
        *(f"  {name:<20}{multiply_adds:>12,}" for name, (_, multiply_adds) in sections.items()),
        *([f"anchors        {architecture.anchors:>12,}"] if isinstance(architecture, Detector) else []),
        "activation memory, float32:",
        f"  largest tensor      {size(4 * price.largest_tensor.elements):>9}   ({price.largest_tensor.name})",
        f"  layer by layer      {size(layerwise.bytes):>9}   ({layerwise.operation})",
        f"  block by block      {size(blocks.bytes):>9}   ({blocks.operation}; inner tensors never whole, section 5.1)",
        f"  must exist whole    {size(whole_bytes):>9}   ({whole.name}; the quantity of Table 3)",
    )


def _kind(block: Block) -> str:
    if block.kind != INVERTED:
        return block.kind
    first, *_, last = block.convolutions
    ratio = last.in_channels / first.in_channels
    stride = max(convolution.stride for convolution in block.convolutions)
    shortcut = ", adds input" if block.joins_input else ", adds expansion" if block.adds else ""
    return f"{block.kind} t={ratio:g} s={stride}{shortcut}"
