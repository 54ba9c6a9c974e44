"""Does a state come back to the bit, and is everything that is no state of this run refused?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from linnet.architecture import MobileNetV2
from linnet.nn import build
from linnet.training.averages import Average
from linnet.training.optimizers import build_optimizer
from linnet.training.recipe import Recipe
from linnet.training.state import Parts, TrainingState, load_state, save_state


def parts(optimizer: Any = "sgd", *, width: float = 0.1, seed: int = 0) -> Parts:
    network = build(MobileNetV2(width=width, resolution=32, classes=3), generator=torch.Generator().manual_seed(seed))
    return Parts(network, build_optimizer(network, Recipe(optimizer=optimizer)), Average(network, 0.9))


def step(given: Parts, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    given.network(torch.randn(4, 3, 32, 32, generator=generator)).square().mean().backward()
    given.optimizer.step()
    given.optimizer.zero_grad()
    assert given.average is not None
    given.average.update(given.network)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "rmsprop"])
def test_it_comes_back_to_the_bit(optimizer: str, tmp_path: Path) -> None:
    # Dropout draws from torch's own generator, which other tests have moved; some draws diverge, and no NaN is equal.
    torch.manual_seed(0)
    first = parts(optimizer)
    for seed in range(2):
        step(first, seed)
    state = TrainingState(epochs=7, epoch=2, step=3, best=0.5, history=[{"number": 1}])
    save_state(tmp_path / "state", state, first)
    for seed in range(2, 4):
        step(first, seed)
    # Loading sets torch's generator back too: dropout draws what it drew before.
    second = parts(optimizer, seed=9)
    assert load_state(tmp_path / "state", second) == state
    for seed in range(2, 4):
        step(second, seed)
    for name, value in first.network.state_dict().items():
        assert torch.equal(value, second.network.state_dict()[name]), name
    assert first.average is not None
    assert second.average is not None
    assert first.average.updates == second.average.updates
    assert all(torch.equal(value, second.average.values[name]) for name, value in first.average.values.items())


@pytest.mark.parametrize("content", [b"", b"\x08\x00", b"{}", b"\x80\x04pickle", bytes(5000)])
def test_what_is_no_state_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "state").write_bytes(content)
    with pytest.raises(ValueError, match="is damaged or no state of a run"):
        load_state(tmp_path / "state", parts())


def test_a_cut_state_is_refused(tmp_path: Path) -> None:
    save_state(tmp_path / "state", TrainingState(epochs=1), parts())
    content = (tmp_path / "state").read_bytes()
    (tmp_path / "state").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match="is damaged"):
        load_state(tmp_path / "state", parts())


def test_another_networks_state_is_refused(tmp_path: Path) -> None:
    save_state(tmp_path / "state", TrainingState(epochs=1), parts(width=0.3))
    with pytest.raises(ValueError, match="belongs to another network"):
        load_state(tmp_path / "state", parts())


def test_the_average_warms_up() -> None:
    given = parts()
    assert given.average is not None
    average = Average(given.network, 0.9)
    before = average.values["heads.classifier.weight"].clone()
    with torch.no_grad():
        given.network.classifier.weight.add_(1)  # type: ignore[operator, union-attr]
    average.update(given.network)
    # After one update min(0.9, 2 / 11): the average has moved by 9 / 11 of the way.
    torch.testing.assert_close(average.values["heads.classifier.weight"] - before, torch.full_like(before, 9 / 11))
    with pytest.raises(KeyError), average.applied(given.network):
        raise KeyError
    torch.testing.assert_close(given.network.classifier.weight, before + 1)  # type: ignore[union-attr]
