"""Training runs in this process."""

from __future__ import annotations

from typing import Any

from linnet.training.plan import Plan, Reporter
from linnet.training.run import run_training


def completed(plan: Plan, reporter: Reporter | None = None) -> Any:
    """What a run came to."""
    outcome = run_training(plan, reporter)
    assert outcome is not None
    return outcome
