"""An ONNX file in onnxruntime, computed right on every processor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

SILENT = 4
"""Level of onnxruntime's log: what is wrong is raised too."""


def session_of(model: Path | bytes, *, threads: int = 0) -> Any:
    """An ONNX file, or its bytes, in onnxruntime on the CPU; 0 threads for its own choice."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = SILENT
    # Where x86 has no VNNI, it overflows when weights are int8, unless told not to.
    options.add_session_config_entry("session.x64quantprecision", "1")
    return onnxruntime.InferenceSession(
        model if isinstance(model, bytes) else str(model), options, providers=["CPUExecutionProvider"]
    )
