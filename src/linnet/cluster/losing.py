"""What is done where processes of a cluster are lost.

Ray starts a killed process anew, on another machine if its own is gone, and gives it the same work. It would do so for
ever, also where the work is what kills it. So it may do it a few times; then its run is over, and `persist` begins
another with what is not done, until all is or it is known what cannot be.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import TypeVar

from linnet.data.pieces import Archive, Files, Piece, Rows, name_of

T = TypeVar("T")

RESTARTS = {"max_restarts": 4, "max_task_retries": 2}
"""How often, of each actor in a run and of each piece."""

MOST_FRUITLESS = 3
"""Pieces in a row that are given up; after that it is not the pieces."""


class ProcessLostError(OSError):
    """Processes of a cluster were lost more often than Ray starts them anew."""


class Outcome(Enum):
    """What came of an attempt."""

    DONE = "done"
    ADVANCED = "advanced"
    """Processes were lost, but something was done that was not done before."""
    FRUITLESS = "fruitless"


def persist(
    pieces: Sequence[T],
    attempt: Callable[[Sequence[T]], Outcome],
    *,
    is_done: Callable[[T], bool],
    described: Callable[[T], str],
) -> None:
    """Attempts pieces of work until all are done, however often processes are lost.

    What kills its process also keeps others from being done. It is found by attempting pieces alone, and given up when
    nothing comes of that either; the others are then attempted without it.

    Args:
        pieces: of the work.
        attempt: tries to do some of them.
        is_done: whether nothing is left to do of one.
        described: what to call one in a sentence.

    Raises:
        ProcessLostError: naming what was given up, when everything else is done; or at once if every piece is.
    """
    left, given_up, fruitless = list(pieces), list[T](), 0
    while left:
        outcome = attempt(left)
        if outcome is Outcome.DONE:
            break
        if outcome is Outcome.FRUITLESS:
            while left and is_done(left[0]):
                del left[0]
            if not left:
                break
            if len(left) > 1:
                outcome = attempt(left[:1])
            if outcome is Outcome.FRUITLESS:
                given_up.append(left[0])
                fruitless += 1
                if fruitless == MOST_FRUITLESS:
                    raise ProcessLostError(_everything_kills(described(left[0])))
            if outcome is not Outcome.ADVANCED:
                del left[0]
        if outcome is not Outcome.FRUITLESS:
            fruitless = 0
    if given_up:
        raise ProcessLostError(_these_kill([described(piece) for piece in given_up]))


def piece_title(piece: Piece) -> str:
    """What to call a piece in a sentence."""
    if isinstance(piece, Files):
        first, last = piece.names[0], piece.names[-1]
        return f"'{first}'" if first == last else f"the {len(piece.names):,} files from '{first}' to '{last}'"
    if isinstance(piece, Rows):
        return f"rows {piece.first:,} to {piece.first + piece.count - 1:,} of '{name_of(piece.file)}'"
    return f"'{name_of(piece.file)}'" if isinstance(piece, Archive) else str(piece)


def is_done(piece: Piece, done: Callable[[str], bool]) -> bool:
    """Whether every picture of a piece is done. Of an archive that is, all of it is read."""
    try:
        return next(iter(piece.sources(lambda name: not done(name))), None) is None
    except (ValueError, OSError):
        return False


def killing_sentence(title: str) -> str:
    """What is said of work that ends whatever process it is given to."""
    return (
        f"Every process of the cluster that works on {title} is killed. A picture there takes more memory than there "
        "is, or breaks the process: `linnet predict` of half of them, without --out, and so on finds it."
    )


def _these_kill(titles: Sequence[str]) -> str:
    more = f" and {len(titles) - 1:,} more pieces" * (len(titles) > 1)
    return f"{killing_sentence(titles[0] + more)} Everything else is done and kept; the same command tries these again."


def _everything_kills(title: str) -> str:
    return (
        f"The processes of the cluster are killed whatever they work on, last on {title}. There may be too little "
        "memory for all of them: with more cores for each (--threads) there are fewer. What was predicted is kept; "
        "the same command goes on."
    )
