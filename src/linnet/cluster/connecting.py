"""A connection to a Ray cluster, or one that is started on this machine."""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from linnet.machine import usable_cores

LOCAL = "local"
"""Stands for a cluster of this machine alone, which ends with the command."""

STORE_BYTES = 1 << 28
"""Of the memory that processes of one machine share: models, names and rows, but no pictures, go through it."""

PATIENCE = 5.0
"""Seconds within which the head of a cluster answers, or is not there."""

STARTS = 5
"""Of Ray on this machine: it gives up when its own agents are not there in 15 seconds, a number that is fixed in it
(ray-project/ray, issue 65983) and too small where much else runs."""

USUAL_PORT = 6379

GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
"""With which HTTP/2 begins, which a cluster's head speaks: a line and a frame of settings (RFC 9113, section 3.4)."""

SETTINGS = 4
"""The type of such a frame, in its fourth byte, with which it answers."""


def ray_module() -> Any:
    """Ray; a ModuleNotFoundError that says what to install where it is missing."""
    # Nobody is told that linnet was used.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # What it says of itself is for those who work on it; what went wrong comes as an error.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    # What later versions will do by themselves, and warn of until then.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
        import ray.data
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "A cluster needs Ray: pip install 'linnet[cluster]', on every machine.", name=error.name
        ) from None
    return ray


@contextmanager
def connect(address: str = LOCAL) -> Iterator[None]:
    """Connects to a cluster while the block runs; does nothing where this process is connected already.

    Args:
        address: `local` for the cores of this machine, `auto` for the cluster that this machine belongs to, or the
            address of a cluster's head, `HOST:6379`.

    Raises:
        OSError: if no cluster is there, or none starts.
        ValueError: if it runs another version of Ray or Python.
        ModuleNotFoundError: without Ray.
    """
    if address not in (LOCAL, "auto") and find_spec("ray") is not None:
        # Before Ray is imported, which takes seconds.
        _check_there(address)
    ray = ray_module()
    if ray.is_initialized():
        yield
        return
    options: dict[str, Any] = {"address": address, "log_to_driver": False, "logging_level": logging.ERROR}
    if address == LOCAL:
        options |= {"num_cpus": usable_cores(), "include_dashboard": False, "object_store_memory": STORE_BYTES}
    # Older versions have no error of their own for tokens.
    refused: tuple[type[Exception], ...] = (
        ConnectionError,
        getattr(ray.exceptions, "AuthenticationError", ConnectionError),
    )
    try:
        with _quiet_stderr():
            start(options, STARTS if address == LOCAL else 1)
    except refused as error:
        if _wants_token(error):
            raise OSError(
                f"The cluster at '{address}' wants its token ({_first_line(error)}). Copy ~/.ray/auth_token from its "
                "head to this machine, where `ray get-auth-token --generate` makes one, and give the command with "
                "RAY_AUTH_MODE=token in its environment."
            ) from None
        raise OSError(f"There is no Ray cluster at '{address}' ({_first_line(error)}). {_how_to_start()}") from None
    except (RuntimeError, ValueError) as error:
        text = " ".join(str(error).split())
        if "ersion" not in text:
            raise
        raise ValueError(
            f"The cluster at '{address}' runs other versions than this machine: {text} Install the same on both: Ray "
            f"{ray.__version__}, Python {sys.version.split()[0]}."
        ) from None
    except Exception as error:
        # Ray has no class for what takes longer to start than the half minute that it waits.
        if type(error) is not Exception:
            raise
        raise OSError(
            f"Ray did not start ({_first_line(error)}). Where much else runs it takes longer than Ray waits: the same "
            "command goes on when less does."
        ) from None
    try:
        # Bars are for people.
        ray.data.DataContext.get_current().enable_progress_bars = sys.stderr.isatty()
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        yield
    finally:
        ray.shutdown()


def start(options: dict[str, Any], times: int = STARTS) -> None:
    """Starts Ray or connects to it; tried anew where it takes longer than Ray waits for.

    Raises:
        Exception: of this very class, which Ray has none of its own for, if it takes too long every time.
    """
    ray = ray_module()
    for left in reversed(range(times)):
        try:
            ray.init(**options)
        except Exception as error:
            if type(error) is not Exception:
                raise
            ray.shutdown()
            if not left:
                raise
        else:
            return


@contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Ray's native part says on stderr that it says nothing on stderr; what goes wrong comes as an error."""
    try:
        sys.stderr.flush()
        kept = os.dup(2)
    except (OSError, ValueError):
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _check_there(address: str) -> None:
    """Ray itself would try for minutes."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not port.isdecimal() or not host:
        raise ValueError(f"--cluster '{address}' must be `local`, `auto` or HOST:PORT, such as 10.0.0.1:{USUAL_PORT}.")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=PATIENCE) as there:
            answers = _is_head(there)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise OSError(f"There is no Ray cluster at '{address}' ({reason}). {_how_to_start()}") from None
    if not answers:
        raise OSError(
            f"There is no Ray cluster at '{address}': what listens there is something else. {_how_to_start()}"
        )


def _is_head(there: socket.socket) -> bool:
    """Whether what listens speaks as a cluster's head does; of one that wants encryption nothing is known."""
    if os.environ.get("RAY_USE_TLS", "0") not in ("", "0"):
        return True
    try:
        there.settimeout(PATIENCE)
        there.sendall(GREETING)
        return there.recv(9)[3:4] == bytes([SETTINGS])
    except OSError:
        # It says nothing, or hangs up.
        return False


def _wants_token(error: BaseException | None) -> bool:
    """Whether a cluster is there and wants a token, which Ray says in the causes of what it could not do."""
    while error is not None:
        if type(error).__name__ == "AuthenticationError" or "InvalidAuthToken" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def _how_to_start() -> str:
    return (
        f"`ray start --head --port {USUAL_PORT}` starts one, `ray start --address HOST:{USUAL_PORT}` adds a machine; "
        "`local` needs none."
    )


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0].rstrip(".")
