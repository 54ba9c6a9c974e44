"""What the site has that no file holds: the commands' own help."""

from __future__ import annotations

import contextlib
import io
import os
import re
import textwrap
from typing import Any

WIDTH = 78
"""Characters of a line: what the page holds without a scroll bar."""


def on_files(files: Any, config: Any) -> Any:
    """Adds the page of commands before the site is built."""
    from mkdocs.structure.files import File

    files.append(File.generated(config, "reference/commands.md", content=commands()))
    return files


def commands() -> str:
    """Every command with what `--help` prints."""
    from linnet.cli import COMMANDS

    parts = ["# Commands", "What `linnet COMMAND --help` prints, of linnet as it is here."]
    for name, about in COMMANDS.items():
        parts += [f"## linnet {name}", f"{about[0].upper()}{about[1:]}.", f"```text\n{_help(name)}\n```"]
    return "\n\n".join(parts) + "\n"


def _help(name: str) -> str:
    from linnet.cli import main

    output, before = io.StringIO(), dict(os.environ)
    os.environ |= {"COLUMNS": str(WIDTH), "NO_COLOR": "1", "TERM": "dumb"}
    try:
        with contextlib.redirect_stdout(output), contextlib.suppress(SystemExit):
            main([name, "--help"])
    finally:
        os.environ.clear()
        os.environ |= before
    lines = re.sub(r"\x1b\[[0-9;]*m", "", output.getvalue()).strip().splitlines()
    # Sentences before the options are left to the terminal to break.
    return "\n".join(part for line in lines for part in (textwrap.wrap(line, WIDTH) if len(line) > WIDTH else [line]))
