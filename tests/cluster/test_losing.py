"""Does work go on where processes are lost, and end where they are lost whatever is tried?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linnet.cluster.losing import MOST_FRUITLESS, Outcome, ProcessLostError, is_done, persist, piece_title
from linnet.data.pieces import Archive, Files, Rows


class Cluster:
    """Pieces are numbers. In an attempt `at_once` are done in order before what kills is known to have killed."""

    def __init__(self, killing: set[int], at_once: int, killed: Sequence[int] = ()) -> None:
        self.killing, self.at_once, self.killed = killing, at_once, list(killed)
        self.done: list[int] = []
        self.attempts = 0

    def attempt(self, pieces: Sequence[int]) -> Outcome:
        self.attempts += 1
        before = len(self.done)
        chance = self.killed.pop() if self.killed else None
        for number, piece in enumerate(each for each in pieces if each not in self.done):
            if piece in self.killing or number == chance:
                break
            self.done.append(piece)
        else:
            return Outcome.DONE
        # Others of the attempt are done or not, as it comes.
        rest = [piece for piece in pieces if piece not in self.done and piece not in self.killing]
        self.done += rest[: self.at_once]
        return Outcome.ADVANCED if len(self.done) > before else Outcome.FRUITLESS

    def run(self, pieces: Sequence[int]) -> None:
        persist(pieces, self.attempt, is_done=self.done.__contains__, described="piece {}".format)


@given(st.integers(0, 12), st.sets(st.integers(0, 11), max_size=MOST_FRUITLESS - 1), st.integers(0, 3))
def test_what_kills_is_named_when_all_else_is_done(count: int, killing: set[int], at_once: int) -> None:
    killing = {piece for piece in killing if piece < count}
    cluster = Cluster(killing, at_once)
    if killing:
        with pytest.raises(ProcessLostError, match=rf"works on piece {min(killing)}\b.*Everything else is done"):
            cluster.run(range(count))
    else:
        cluster.run(range(count))
    assert sorted(cluster.done) == sorted(set(range(count)) - killing)


@given(st.integers(0, 12), st.lists(st.integers(0, 3), max_size=MOST_FRUITLESS - 1), st.integers(0, 3))
def test_what_is_killed_by_chance_costs_attempts_alone(count: int, killed: list[int], at_once: int) -> None:
    """Of a piece that is killed by chance twice in a row, alone the second time, more cannot be known."""
    cluster = Cluster(set(), at_once, [place for place in killed if place])
    cluster.run(range(count))
    assert cluster.done == list(range(count)) or sorted(cluster.done) == list(range(count))
    assert cluster.attempts <= 1 + len(killed)


def test_where_everything_kills_it_ends() -> None:
    cluster = Cluster(set(range(100)), 0)
    with pytest.raises(ProcessLostError, match="whatever they work on, last on piece 2"):
        cluster.run(range(100))
    assert cluster.attempts == 2 * MOST_FRUITLESS


def test_pieces_have_names(tmp_path: Path) -> None:
    assert piece_title(Files(("a.png",))) == "'a.png'"
    assert piece_title(Files(("a.png", "b.png"))) == "the 2 files from 'a.png' to 'b.png'"
    assert piece_title(Rows(Path("x.parquet"), 1, 100, 50)) == "rows 100 to 149 of 'x.parquet'"
    assert piece_title(Archive(Path("x.tar"))) == "'x.tar'"
    # What cannot be read is not done.
    assert not is_done(Archive(tmp_path / "x.tar"), lambda name: True)
    assert is_done(Files(("a.png",)), lambda name: True)
    assert not is_done(Files(("a.png", "b.png")), lambda name: name == "a.png")
