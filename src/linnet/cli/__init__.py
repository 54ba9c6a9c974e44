"""The command line: one file a command, and only the named one is imported."""

from __future__ import annotations

import sys
import warnings
from importlib import import_module
from io import TextIOWrapper

COMMANDS = {
    "predict": "what is on these pictures",
    "evaluate": "accuracy on labelled pictures, with a report",
    "train": "a classifier of your own pictures, from a folder to a model",
    "quantize": "a model of eight bits, kept only if it is as good",
    "check": "what is wrong or odd in a data set, before training",
    "profile": "parameters, multiply-adds and memory of a network, per layer",
    "choose": "the width, resolution and precision that fit a budget on this machine",
    "convert": "other people's weights to a linnet checkpoint",
    "export": "a model for other runtimes, run and compared before it is kept",
    "verify": "whether a file computes here what it did where it was written",
    "serve": "models over HTTP: a page, and an interface for programs",
    "bench": "linnet's engine beside every runtime that is installed",
    "paper": "the paper's tables and figures, made again beside the printed values",
    "models": "the models on this machine and those to download",
}

DONE, FAILED, WRONG_USAGE = 0, 1, 2


def main(arguments: list[str] | None = None) -> int:
    """Runs one command and returns its exit code: 0 done, 1 the work failed, 2 wrong usage."""
    given = sys.argv[1:] if arguments is None else arguments
    for stream in (sys.stdout, sys.stderr):
        # What a terminal's encoding cannot show must not end the work.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if not given or given[0] in ("-h", "--help", "help"):
        print(_help())
        return DONE if given else WRONG_USAGE
    if given[0] == "--version":
        from importlib.metadata import version

        print(f"linnet {version('linnet')}")
        return DONE
    name, rest = given[0], given[1:]
    if name not in COMMANDS:
        print(f"linnet: there is no command {name!r}. There are {', '.join(COMMANDS)}.", file=sys.stderr)
        return WRONG_USAGE
    debug = "--debug" in rest
    rest = [argument for argument in rest if argument != "--debug"]
    warnings.showwarning = _show_warning
    _show_log()
    try:
        return int(import_module(f"linnet.cli.{name}").main(rest))
    except KeyboardInterrupt:
        print("\nlinnet: stopped.", file=sys.stderr)
        return FAILED
    except BrokenPipeError:
        # The reader of our output has gone, as `head` does; nothing is left to say to it.
        sys.stderr.close()
        return FAILED
    except Exception as error:
        if debug:
            raise
        from linnet.cli.terminal import UsageError

        print(f"linnet: {_sentence(error)}", file=sys.stderr)
        return WRONG_USAGE if isinstance(error, UsageError) else FAILED


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {text}" for name, text in COMMANDS.items()]
    return "\n".join(
        [
            "usage: linnet COMMAND [options]",
            "",
            "MobileNetV2, whole: priced, trained, checked, and run on small machines.",
            "",
            *lines,
            "",
            "linnet COMMAND --help explains a command. --debug after any command shows the traceback of an error.",
        ]
    )


def _sentence(error: Exception) -> str:
    """One line for an error. Those that linnet raises are sentences; others are named as what they are."""
    if isinstance(error, OSError) and error.strerror:
        text = error.strerror if error.filename is None else f"'{error.filename}': {error.strerror}"
        return f"{text}."
    if isinstance(error, ValueError | OSError | ModuleNotFoundError) and str(error):
        return " ".join(str(error).split())
    if isinstance(error, MemoryError):
        return "out of memory."
    return f"internal error: {type(error).__name__}: {' '.join(str(error).split())} (--debug shows where)."


def _show_log() -> None:
    """Messages of the library, such as the begin of a download, on stderr."""
    import logging

    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("linnet: %(message)s"))
    logger = logging.getLogger("linnet")
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    print(f"linnet: warning: {message}", file=sys.stderr)
