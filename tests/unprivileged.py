"""Work done without the rights of root, which passes every test of permissions."""

from __future__ import annotations

import os
from collections.abc import Callable


def as_nobody(work: Callable[[], object]) -> str:
    """What an unprivileged child process has to say."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        message = "nothing was raised"
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setresgid(65534, 65534, 65534)
                os.setresuid(65534, 65534, 65534)
            work()
        except Exception as error:
            message = f"{type(error).__name__}: {error}"
        os.write(writer, message.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        message = pipe.read()
    os.waitpid(child, 0)
    return message
