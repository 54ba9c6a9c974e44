"""What torch's failures mean, in sentences that say what to do."""

from __future__ import annotations

import torch
from torch.distributed import DistError

from linnet.training.recipe import Recipe

NO_MEMORY = "can't allocate memory"
KILLED_WORKER = "DataLoader worker"
LOST_PROCESS = ("Connection closed", "Connection reset", "gloo")
"""torch has no class of its own for these and raises a bare RuntimeError; the tests provoke the real ones."""


def explain_failure(error: Exception, recipe: Recipe) -> Exception:
    """A sentence in the place of what torch raised; the error itself where it is none of the known ones."""
    text = str(error)
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or NO_MEMORY in text:
        smaller, finer = max(recipe.batch // 2, 1), 2 * recipe.accumulate
        return ValueError(
            f"Out of memory at batch {recipe.batch}. Try --batch {smaller}, or --accumulate {finer}, or --recompute, "
            "or a smaller --resolution."
        )
    if KILLED_WORKER in text:
        return ValueError(
            "A process that decodes pictures was killed, often for memory. Try fewer --workers, and --resume."
        )
    if isinstance(error, DistError) or any(words in text for words in LOST_PROCESS):
        return ValueError(
            "Another process of this run has ended; its own output says why. --resume goes on from the last epoch, "
            "also with another number of processes."
        )
    return error
