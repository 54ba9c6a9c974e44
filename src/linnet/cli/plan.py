"""The engine's plan for a network, as `linnet profile --runtime native` prints it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from linnet.architecture.cost import cost
from linnet.checkpoint import Checkpoint
from linnet.cli.terminal import show, size, table
from linnet.engine.library import engine_instruction_set, measure_peak
from linnet.engine.runtimes import NativeRuntime
from linnet.engine.timing import measure_latency

if TYPE_CHECKING:
    from linnet.engine.native import NativeSession

ScheduleName = Literal["auto", "layerwise", "rows", "groups"]


def describe_plan(
    checkpoint: Checkpoint, *, threads: int | None, schedule: ScheduleName, timed: bool
) -> dict[str, Any]:
    """Steps, memory and, if asked for, times of the engine's plan, as plain data.

    Raises:
        ValueError: if there is no engine, or the network takes no pictures.
    """
    session = NativeRuntime(checkpoint, threads, schedule).session
    if session is None:
        raise ValueError(
            f"The network takes {checkpoint.architecture.input_channels} channels and no pictures: there is no plan."
        )
    document: dict[str, Any] = {
        "instruction_set": engine_instruction_set(),
        "threads": session.threads,
        "arena_bytes": session.arena_bytes,
        "weight_bytes": session.weight_bytes,
    }
    if timed:
        document |= _time(session)
    numbers, counts = session.network.numbers, _multiply_adds(session, checkpoint)
    steps: list[dict[str, Any]] = []
    done = -1
    for step in session.plan:
        first, last = numbers[step.first], numbers[step.last]
        # A layer that runs with the ones before it has a step that does nothing.
        if first <= done:
            continue
        done = last
        entry: dict[str, Any] = {
            "first": step.first,
            "last": step.last,
            "schedule": step.schedule,
            "group": step.group,
            "output_bytes": step.output_bytes,
            "element_bytes": step.element_bytes,
            "scratch_bytes": step.scratch_bytes,
            "multiply_adds": sum(counts.get(number, 0) for number in range(first, last + 1)),
        }
        steps.append(entry | ({"milliseconds": 1e3 * step.seconds} if timed else {}))
    return document | {"steps": steps}


def _time(session: NativeSession) -> dict[str, Any]:
    latency = measure_latency(session)
    return {
        "median_milliseconds": 1e3 * latency.median,
        "least_milliseconds": 1e3 * latency.least,
        "peak_multiply_adds_per_second": measure_peak(),
    }


def _multiply_adds(session: NativeSession, checkpoint: Checkpoint) -> dict[int, int]:
    """Of each layer of the program, which is that of the folded network."""
    numbers = session.network.numbers
    folded = checkpoint.architecture.with_options(folded=True)
    return {numbers[row.name]: row.multiply_adds for row in cost(folded).layers if row.name in numbers}


def show_plan(document: dict[str, Any]) -> None:
    """Prints what `describe_plan` gives."""
    timed = "least_milliseconds" in document
    peak = document.get("peak_multiply_adds_per_second")
    columns = [("runs as one", "left"), ("schedule", "left"), ("leaves", "right"), ("scratch", "right")]
    columns += [("least ms", "right"), ("GFLOP/s", "right")] if timed else []
    rows = []
    for step in document["steps"]:
        first, last = step["first"], step["last"]
        name = first if first == last else f"{first} – {last}"
        schedule = f"{step['schedule']} of {step['group']}" if step["group"] else step["schedule"]
        row = [name, schedule, size(step["output_bytes"]), size(step["scratch_bytes"])]
        if timed:
            row.append(f"{step['milliseconds']:.3f}")
            rate = 2e-6 * step["multiply_adds"] / max(step["milliseconds"], 1e-6)
            row.append(f"{rate:.1f}" if step["multiply_adds"] else "")
        rows.append(row)
    threads = document["threads"]
    head = f"native engine, {document['instruction_set']}, {threads} thread{'s' * (threads > 1)}"
    lines = [
        f"activations    {size(document['arena_bytes']):>12}   (all tensors and scratch spaces, planned beforehand)",
        f"packed weights {size(document['weight_bytes']):>12}",
    ]
    if timed:
        least = document["least_milliseconds"]
        total = sum(step["multiply_adds"] for step in document["steps"])
        lines.append(f"one picture    {least:>9.2f} ms   (fastest; median {document['median_milliseconds']:.2f} ms)")
        if peak:
            share = total / (least / 1e3) / (peak * threads)
            lines.append(f"               {share:>12.1%}   of what {2e-9 * peak:.1f} GFLOP/s a thread would do")
    show(head, table(columns, rows), *lines)
