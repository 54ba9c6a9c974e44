"""How the commands speak with a terminal: options in; tables, JSON and progress out."""

from __future__ import annotations

import ast
import inspect
import json
import re
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import field, fields, make_dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_type_hints

if TYPE_CHECKING:
    from rich.table import Table

    from linnet.architecture.network import OptionError

T = TypeVar("T")


class UsageError(ValueError):
    """An option whose value makes no sense: the command was used wrongly, and ends with 2."""


def as_flag(error: OptionError) -> UsageError:
    """What is wrong with an option, said of the flag that gave it."""
    flag = error.name.replace("_", "-")
    return UsageError(f"--{flag} (={error.value!r}) {error.allowed}.")


def check_least(flag: str, value: int | None, least: int) -> None:
    """Raises a UsageError if an option's number is too small."""
    if value is not None and value < least:
        raise UsageError(f"{flag} (={value}) must be at least {least}.")


@cache
def documents(kind: Any) -> dict[str, str]:
    """The text that stands under each field of a dataclass and of those that it inherits from, each on one line."""
    found: dict[str, str] = {}
    for each in reversed(kind.__mro__[:-1]):
        try:
            source = inspect.getsource(each)
        except OSError:
            # A class that was made while linnet runs.
            continue
        for entry, text in pairwise(ast.parse(textwrap.dedent(source)).body[0].body):  # type: ignore[attr-defined]
            documented = isinstance(entry, ast.AnnAssign) and isinstance(text, ast.Expr)
            if documented and isinstance(text.value, ast.Constant) and isinstance(entry.target, ast.Name):
                found[entry.target.id] = unwrapped(str(text.value.value))
    return found


def unwrapped(text: str) -> str:
    """Each paragraph on one line, for the terminal to break where it is narrow."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in re.split(r"\n\s*\n", text.strip()))


def parse(kind: type[T], command: str, description: str | None, arguments: list[str]) -> T:
    """The options of a command from its arguments; prints help or what is wrong, and exits 0 or 2, by itself.

    Args:
        kind: a dataclass; the texts under its fields are their help.
        command: its name.
        description: what the command does, before the options.
        arguments: behind the command's name.
    """
    import tyro

    # tyro would break the help where the source is broken.
    options: Any = kind
    hints, texts = get_type_hints(kind, include_extras=True), documents(options)
    helped = [
        (
            entry.name,
            Annotated[hints[entry.name], tyro.conf.arg(help=texts[entry.name])],
            field(default=entry.default, default_factory=entry.default_factory, kw_only=entry.kw_only),
        )
        for entry in fields(options)
        if entry.name in texts
    ]
    return tyro.cli(
        make_dataclass(kind.__name__, helped, bases=(kind,), frozen=True),
        prog=f"linnet {command}",
        description=unwrapped(description or ""),
        args=arguments,
        config=(tyro.conf.FlagCreatePairsOff, tyro.conf.OmitSubcommandPrefixes),
    )


def print_json(document: Any) -> None:
    """One JSON document on stdout."""
    print(json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False))


def table(columns: Sequence[tuple[str, str]], rows: Sequence[Sequence[str]]) -> Table:
    """A table for people; columns are (heading, `left` or `right`)."""
    from rich import box
    from rich.table import Table

    result = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading, justify in columns:
        result.add_column(heading, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for row in rows:
        result.add_row(*row)
    return result


def show(*parts: Any) -> None:
    """Prints tables and text on stdout; text is taken literally."""
    from rich.console import Console

    # A file or a pipe has no width; tables are then folded at 160 columns.
    console = Console(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else 160)
    for part in parts:
        console.print(part, soft_wrap=isinstance(part, str))


@contextmanager
def progress(total: int | None, text: str) -> Iterator[Callable[[int], None]]:
    """A bar on stderr if that is a terminal; silence otherwise. Yields what to call with the number done.

    Without a total the bar tells the number alone.
    """
    if not sys.stderr.isatty():
        yield lambda done: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(text, total=total)
        yield lambda done: bar.update(task, completed=done)


def prepare_folder(flag: str, folder: Path | None) -> None:
    """Makes the folder that an option names before the work begins: better now than after an hour."""
    if folder is not None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OSError(f"{flag} '{folder}' cannot be made ({error.strerror}).") from None


def millions(number: float) -> str:
    """A count in millions: 300.77 M."""
    return f"{number / 1e6:,.2f} M"


def size(number_of_bytes: float) -> str:
    """Bytes in units of 1000."""
    for unit, factor in (("MB", 1e6), ("kB", 1e3)):
        if number_of_bytes >= factor:
            return f"{number_of_bytes / factor:,.1f} {unit}"
    return f"{number_of_bytes:.0f} B"


def bars(counts: Sequence[int]) -> str:
    """A histogram in one line: ▁ to █, a dot where there is nothing."""
    most = max(*counts, 1)
    return "".join("▁▂▃▄▅▆▇█"[min(8 * count // most, 7)] if count else "·" for count in counts)


class Lines:
    """What a long run says where stderr is no terminal: lines, and nothing between them."""

    def say(self, sentence: str) -> None:
        """One line."""
        print(f"linnet: {sentence}", file=sys.stderr, flush=True)

    def update(self, text: str, done: int, total: int, note: str) -> None:
        """Nothing: a log file needs no bar."""


class Bar(Lines):
    """One bar at the bottom of the terminal, and lines above it.

    Args:
        thread: redraw it in a thread of its own too, so that the time left goes on; else only when it moves.
    """

    def __init__(self, *, thread: bool = True) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self.thread = thread
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=Console(stderr=True, highlight=False, markup=False),
            transient=True,
            auto_refresh=thread,
        )
        self.task = self.bar.add_task("", total=None, note="", visible=False)
        self.text = ""

    def say(self, sentence: str) -> None:
        """One line, above the bar."""
        self.bar.console.print(sentence, soft_wrap=True)

    def update(self, text: str, done: int, total: int, note: str) -> None:
        """Moves the bar; another text begins a new one, so that the time left is its own."""
        if text != self.text:
            self.text = text
            self.bar.reset(self.task, total=total, visible=True, description=text, note=note)
        self.bar.update(self.task, completed=done, note=note, refresh=not self.thread)


@contextmanager
def live_progress(*, thread: bool = True) -> Iterator[Lines]:
    """A bar with lines above it on a terminal, lines alone elsewhere; both on stderr. `thread` is as of `Bar`."""
    if not sys.stderr.isatty():
        yield Lines()
        return
    bar = Bar(thread=thread)
    with bar.bar:
        yield bar
