"""Everything a run needs to go on as if it had never stopped, in one file that holds no code."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from linnet.files import write_atomically
from linnet.training.averages import Average, copy_into

FORMAT = 1


@dataclass
class TrainingState:
    """Where a run is. Positions count what is done.

    Attributes:
        epoch: whole epochs.
        step: steps of the epoch that has begun.
        steps: all steps.
        epochs: length of the run; a time budget changes it after the first epoch.
        best: best score so far.
        since_best: epochs since then.
        seconds: time spent training, stops left out.
        epoch_seconds: of it, in the epoch that has begun.
        sums: running sums of the epoch that has begun: losses, pictures, seconds of each stage.
        history: one entry an epoch.
    """

    epochs: int
    epoch: int = 0
    step: int = 0
    steps: int = 0
    best: float | None = None
    since_best: int = 0
    seconds: float = 0.0
    epoch_seconds: float = 0.0
    sums: dict[str, float] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Parts:
    """What changes while a run goes on, beside its position."""

    network: nn.Module
    optimizer: torch.optim.Optimizer
    average: Average | None = None
    scaler: Any = None


def save_state(path: Path, state: TrainingState, parts: Parts) -> None:
    """Writes the state: whole or not at all.

    Raises:
        OSError: if it cannot be written; an older state survives.
    """
    tensors: dict[str, Tensor] = {f"network/{name}": value for name, value in parts.network.state_dict().items()}
    numbers: dict[str, Any] = {}
    for index, values in _optimizer_state(parts.optimizer).items():
        for key, value in values.items():
            if isinstance(value, Tensor):
                tensors[f"optimizer/{index}/{key}"] = value
            else:
                numbers[f"{index}/{key}"] = value
    if parts.average is not None:
        tensors |= {f"average/{name}": value for name, value in parts.average.values.items()}
    tensors["random/torch"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors["random/cuda"] = torch.cuda.get_rng_state()
    document = {
        "format": FORMAT,
        "state": asdict(state),
        "optimizer": numbers,
        "average_updates": parts.average.updates if parts.average else 0,
        "scaler": parts.scaler.state_dict() if parts.scaler is not None else {},
    }
    plain = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    write_atomically(path, save(plain, metadata={"linnet": json.dumps(document)}))


def load_state(path: Path, parts: Parts) -> TrainingState:
    """Puts a written state back into a run's parts, and says where the run was.

    Raises:
        OSError: if the file is missing or may not be read.
        ValueError: if it is damaged, or belongs to another network or optimiser.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as file:
            document = json.loads((file.metadata() or {})["linnet"])
        tensors = load_file(path)
    except (SafetensorError, KeyError, ValueError) as error:
        raise ValueError(f"'{path}' is damaged or no state of a run ({error}). Start anew with --overwrite.") from None
    if document.get("format") != FORMAT:
        raise ValueError(f"'{path}' has format {document.get('format')!r}; this linnet goes on from format {FORMAT}.")
    try:
        _restore(tensors, document, parts)
    except (KeyError, RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"'{path}' belongs to another network or recipe ({reason}).") from None
    return TrainingState(**document["state"])


def _restore(tensors: dict[str, Tensor], document: dict[str, Any], parts: Parts) -> None:
    def under(prefix: str) -> dict[str, Tensor]:
        return {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}

    own = parts.network.state_dict()
    stored = under("network/")
    if own.keys() != stored.keys() or any(own[name].shape != stored[name].shape for name in own):
        raise ValueError("its tensors are not this network's")
    copy_into(own, stored)
    states: dict[int, dict[str, Any]] = {}
    for name, value in under("optimizer/").items():
        index, key = name.split("/")
        states.setdefault(int(index), {})[key] = value
    for name, number in document["optimizer"].items():
        index, key = name.split("/")
        states.setdefault(int(index), {})[key] = number
    whole = parts.optimizer.state_dict()
    parts.optimizer.load_state_dict(whole | {"state": states})
    if parts.average is not None:
        copy_into(parts.average.values, under("average/"))
        parts.average.updates = document["average_updates"]
    if parts.scaler is not None and document["scaler"]:
        parts.scaler.load_state_dict(document["scaler"])
    torch.set_rng_state(tensors["random/torch"])
    if "random/cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["random/cuda"])


def _optimizer_state(optimizer: torch.optim.Optimizer) -> dict[int, dict[str, Any]]:
    states: dict[int, dict[str, Any]] = optimizer.state_dict()["state"]
    return states
