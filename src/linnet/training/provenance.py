"""Where a trained model comes from: data, recipe, command, source, machine, and what it started from."""

from __future__ import annotations

import subprocess
from datetime import date
from pathlib import Path
from typing import Any

from linnet.data.sources import locate
from linnet.machine import usable_cores
from linnet.training.environment import command, environment
from linnet.training.starts import Start


def describe_origin(data: Path, recipe: str, start: Start, licence: str | None = None) -> dict[str, Any]:
    """The provenance that goes into every checkpoint of a run; the start's own origin and licence go on with it."""
    known = dict(start.checkpoint.provenance) if start.checkpoint is not None else {}
    machine, cores = environment(), usable_cores()
    provenance = {
        "data": str(locate(data)),
        "recipe": recipe,
        "command": command(),
        "commit": _commit(),
        "date": date.today().isoformat(),
        "machine": machine["gpu"] or f"{machine['processor']}, {cores} core{'s' * (cores > 1)}",
        "start": "none" if start.file is None else start.file.name,
    }
    provenance |= {key: known[key] for key in ("source", "licence", "sha256", "url") if key in known}
    return provenance | ({} if licence is None else {"licence": licence})


def _commit() -> str | None:
    """Commit of linnet's own source, where it is run from a checkout."""
    try:
        done = subprocess.run(
            ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short=12", "HEAD"],
            capture_output=True,
            text=True,
            timeout=5,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
