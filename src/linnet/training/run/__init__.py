"""One training run, from a data set to a folder with a checkpoint that was measured from disk.

Three stages, each with a frozen result that the next one takes: `prepare` decides and writes down everything that the
run depends on, `learn` trains, `measure` scores the checkpoint that was written.
"""

from __future__ import annotations

from linnet.nn.memory import trim
from linnet.training.plan import Outcome, Plan, Reporter
from linnet.training.run.learning import learn
from linnet.training.run.measuring import measure
from linnet.training.run.preparing import prepare


def run_training(plan: Plan, reporter: Reporter | None = None) -> Outcome | None:
    """Trains as planned and writes everything into the run's folder.

    Returns:
        What the run came to; None in all processes but the first, which alone measures and writes.

    Raises:
        ValueError: if data, start and recipe do not fit each other, or the loss diverges.
        OSError: if a file cannot be read or written.
        Stopped: if it was asked to stop; `--resume` goes on.
    """
    prepared = prepare(plan, reporter or Reporter())
    learned = learn(prepared)
    # Nothing is measured before every process has let go of its part.
    prepared.fabric.barrier()
    # What measures runs on memory of its own: the steps' need not stay beside it.
    trim()
    return measure(learned) if prepared.leads else None
