"""What a network costs: parameters, multiply-adds and activation memory.

The network is a model (--model), or it is described by options: `--width 0.5 --resolution 160` is a MobileNetV2, and
`--architecture ssdlite --backbone mobilenet_v1 --classes 80` a detector, `--architecture deeplab --variant modern` a
segmenter. An option that the family does not have is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, make_dataclass
from typing import Any, Literal

from linnet.architecture import FAMILIES, Architecture, Block, family_of, options_of
from linnet.architecture.cost import INVERTED, Cost, block_memory, cost, layerwise_memory, materialised
from linnet.catalogue import find_model
from linnet.checkpoint import Checkpoint, load_checkpoint, random_checkpoint
from linnet.cli.networks import UNSET, given_options, network_flags, network_of
from linnet.cli.plan import ScheduleName, describe_plan, show_plan
from linnet.cli.terminal import UsageError, millions, parse, print_json, show, size, table
from linnet.engine.runtimes import MOST_THREADS


@dataclass(frozen=True)
class Options:
    """Options of `linnet profile`, beside those of networks."""

    model: str | None = None
    """The model: a checkpoint file, or a name that `linnet models` lists."""
    architecture: str | None = None
    """The family of a network to describe instead: mobilenet_v1, mobilenet_v2 (the default), ssd, ssdlite
    or deeplab."""
    variant: Literal["tensorflow", "paper", "modern"] | None = None
    """The variant of a detector or a segmenter: TensorFlow's released detector and the paper's segmenter, which are the
    defaults, or what suits small data and small objects (`modern`)."""
    detail: bool = False
    """Show one row for each convolution instead of one for each block."""
    runtime: Literal["none", "native"] = "none"
    """`native` also shows the engine's plan: which layers run as one step, how, and in how much memory."""
    threads: int | None = None
    """Threads of the plan. The default is all cores."""
    schedule: ScheduleName = "auto"
    """How the plan runs its blocks: whole layers, buffers of three rows, groups of channels, or for each block what
    costs least."""
    time: bool = False
    """Run the plan for a second and show the time of each step. It belongs to --runtime native."""
    json: bool = False
    """Print one JSON document instead of tables."""


def main(arguments: list[str]) -> int:
    """Runs the command."""
    of_networks = network_flags()
    combined = make_dataclass("Options", of_networks, bases=(Options,), frozen=True, kw_only=True)
    combined.__doc__ = Options.__doc__
    options: Any = parse(combined, "profile", __doc__, arguments)
    architecture, checkpoint = _network(options, {name: getattr(options, name) for name, *_ in of_networks})
    price = cost(architecture)
    plan = _plan(architecture, checkpoint, options)
    if options.json:
        print_json(_document(architecture, price, _size_of(checkpoint)) | ({"plan": plan} if plan else {}))
        return 0
    _show(architecture, price, options.detail, checkpoint)
    if plan:
        show("")
        show_plan(plan)
    return 0


def _network(options: Options, values: Mapping[str, Any]) -> tuple[Architecture, Checkpoint | None]:
    """The network of a model, and the model; or the network that the options describe."""
    if options.model is None:
        family = options.architecture or "mobilenet_v2"
        if family not in FAMILIES:
            raise UsageError(f"--architecture (={family!r}) must be {' or '.join(FAMILIES)}.")
        return network_of(family, values, variant=options.variant), None
    described = given_options(
        {"architecture": options.architecture or UNSET, "variant": options.variant or UNSET} | dict(values)
    )
    for name in described:
        raise UsageError(f"--{name.replace('_', '-')} describes a network, and --model names one: give one of them.")
    checkpoint = load_checkpoint(find_model(options.model))
    return checkpoint.architecture, checkpoint


def _plan(architecture: Architecture, checkpoint: Checkpoint | None, options: Options) -> dict[str, Any] | None:
    """The engine's plan if it is asked for; of a described network with random weights, which change neither."""
    if options.runtime == "none":
        if options.time or options.threads is not None or options.schedule != "auto":
            raise UsageError("--time, --threads and --schedule belong to --runtime native.")
        return None
    if options.threads is not None and not 1 <= options.threads <= MOST_THREADS:
        raise UsageError(f"--threads (={options.threads}) must be from 1 to {MOST_THREADS}.")
    return describe_plan(
        checkpoint or random_checkpoint(architecture),
        threads=options.threads,
        schedule=options.schedule,
        timed=options.time,
    )


def _sections(architecture: Architecture, price: Cost) -> dict[str, tuple[int, int]]:
    """Parameters and multiply-adds of the parts of a network that has any, such as a detector."""
    if not architecture.sections:
        return {}
    sections = {name: [0, 0] for name in ("backbone", *architecture.sections.values())}
    for row in price.layers:
        section = sections[architecture.sections.get(row.name.split(".")[0], "backbone")]
        section[0] += row.parameters
        section[1] += row.multiply_adds
    return {name: (parameters, multiply_adds) for name, (parameters, multiply_adds) in sections.items()}


def _size_of(checkpoint: Checkpoint | None) -> int:
    """Bytes of each number of an activation: 1 of a quantised network, else 4."""
    return 4 if checkpoint is None or checkpoint.quantisation is None else 1


def _document(architecture: Architecture, price: Cost, element: int) -> dict[str, Any]:
    return {
        "architecture": options_of(architecture),
        "parameters": price.parameters,
        "multiply_adds": price.multiply_adds,
        "activation_memory": {
            "largest_tensor": element * price.largest_tensor.elements,
            "layerwise_peak": layerwise_memory(architecture, bytes_per_element=element).peak.bytes,
            "block_peak": block_memory(architecture, bytes_per_element=element).peak.bytes,
            "largest_materialised": max(count for _, count in materialised(architecture, bytes_per_element=element)),
            "split_peaks": {
                str(splits): block_memory(architecture, bytes_per_element=element, splits=splits).peak.bytes
                for splits in range(1, 7)
            },
        },
        "layers": [
            {
                "name": row.name,
                "kind": row.kind,
                "output": list(row.output),
                "parameters": row.parameters,
                "multiply_adds": row.multiply_adds,
                "activation_bytes": element * row.elements,
            }
            for row in price.layers
        ],
    } | _further_document(architecture, price)


def _further_document(architecture: Architecture, price: Cost) -> dict[str, Any]:
    """What the document of a network with sections has more."""
    sections = {
        name: {"parameters": parameters, "multiply_adds": multiply_adds}
        for name, (parameters, multiply_adds) in _sections(architecture, price).items()
    }
    return architecture.further_counts | ({"sections": sections} if sections else {})


def _show(architecture: Architecture, price: Cost, detail: bool, checkpoint: Checkpoint | None) -> None:
    element, scheme = _size_of(checkpoint), None if checkpoint is None else checkpoint.quantisation
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
                    size(element * last.elements),
                )
            )
    height, width = architecture.input_size
    show(f"{family_of(architecture)}, width {architecture.width:g}, {height} x {width}", table(columns, rows))
    layerwise, blocks = (
        memory(architecture, bytes_per_element=element).peak for memory in (layerwise_memory, block_memory)
    )
    whole, whole_bytes = max(materialised(architecture, bytes_per_element=element), key=lambda entry: entry[1])
    sections = _sections(architecture, price)
    show(
        f"parameters     {price.parameters:>12,}   ({millions(price.parameters)})",
        *(f"  {name:<20}{parameters:>12,}" for name, (parameters, _) in sections.items()),
        f"multiply-adds  {price.multiply_adds:>12,}   ({millions(price.multiply_adds)})",
        *(f"  {name:<20}{multiply_adds:>12,}" for name, (_, multiply_adds) in sections.items()),
        *(f"{name:<15}{count:>12,}" for name, count in architecture.further_counts.items()),
        f"activation memory, {'float32' if scheme is None else scheme.dtype}:",
        f"  largest tensor      {size(element * price.largest_tensor.elements):>9}   ({price.largest_tensor.name})",
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
