"""Does the readable text hold every page, its pictures, and what is missing?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from conftest import ROOT

from linnet.cli import main
from linnet.machine import processor_name
from linnet.paper import ITEMS, make, prose
from linnet.paper.book import kept_pages, placed, write_book
from linnet.paper.page import Page, PaperTable


def test_every_page_has_its_place_and_only_one() -> None:
    assert sorted(placed()) == sorted(ITEMS)


def test_the_text_links_pictures_that_are_there(tmp_path: Path) -> None:
    pages = {name: make(name) for name in ("table1", "figure1")}
    written = write_book(pages, {"figure6": "there are no results of trainings."}, tmp_path / "paper.md")
    text = written[0].read_text()
    assert [path.name for path in written] == ["paper.md", "figure1.png"]
    assert "(paper/figure1.png)" in text
    assert (tmp_path / "paper" / "figure1.png").stat().st_size > 5000
    assert "*figure6 is not here: there are no results of trainings.*" in text
    assert text.index("### Table 1") < text.index("## Why the bottleneck is linear") < text.index("### Figure 1")
    assert "table2" not in text
    assert text.count("Made by `linnet paper ") == 2


@pytest.mark.parametrize(("name", "folder"), [("paper", "paper-pictures"), ("my paper.md", "my%20paper")])
def test_odd_names_of_the_text_have_their_pictures(tmp_path: Path, name: str, folder: str) -> None:
    written = write_book({"figure2": make("figure2")}, {}, tmp_path / name)
    assert f"({folder}/figure2.png)" in (tmp_path / name).read_text()
    assert written[1] == tmp_path / folder.replace("%20", " ") / "figure2.png"
    assert written[1].exists()


def test_pages_that_are_made_again_leave_the_others_as_they_are(tmp_path: Path) -> None:
    path, table = tmp_path / "paper.md", PaperTable(("a", "b"), [("x", "1")])
    first = Page("figure6", "Figure 6", "Text.", (table,), finding="It grows.", notes=("a note",))
    write_book({"table2": Page("table2", "Table 2", "Old.", (table,), finding="As is."), "figure6": first}, {}, path)
    whole = path.read_text()
    machine = whole.replace(processor_name(), "another processor")
    path.write_text(machine)
    write_book({"figure6": first}, {}, path)
    assert path.read_text() == machine
    write_book({"figure6": replace(first, title="Figure 6, longer", finding="It shrinks.")}, {}, path)
    text = path.read_text()
    assert text == machine.replace("It grows.", "It shrinks.").replace("Figure 6\n", "Figure 6, longer\n").replace(
        "* Figure 6.", "* Figure 6, longer."
    )
    write_book({}, {"table2": "it is gone."}, path)
    assert "*table2 is not here: it is gone.*" in path.read_text()
    assert "Old." not in path.read_text()
    # Of a text that is no book nothing is kept.
    path.write_text("# Notes\n\n### Figure 6\n\nMade by `linnet paper figure6`.\n")
    write_book({"table2": Page("table2", "Table 2", "", ())}, {}, path)
    assert "figure6" not in path.read_text()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["figure6", "sweeps"])
def test_the_documentation_shows_the_trainings_that_there_are(name: str) -> None:
    text = (ROOT / "docs" / "paper.md").read_text("utf-8")
    page = make(name, ROOT / "docs" / "experiments")
    shown = page.markdown(level=3, folder="paper/").rstrip().replace(f"{ROOT}/", "")
    assert kept_pages(text)[name].block == shown, f"run `linnet paper {name} --book docs/paper.md`"
    assert f"* {page.title}. {page.finding}\n" in text


def test_a_page_without_a_place_is_refused(tmp_path: Path) -> None:
    page = Page("table9", "Table 9", "", ())
    with pytest.raises(KeyError, match="No chapter has table9"):
        write_book({"table9": page}, {}, tmp_path / "paper.md")
    assert not list(tmp_path.iterdir())


def test_the_command_goes_on_where_results_are_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["paper", "figure6", "table2", "--results", str(tmp_path), "--book", str(tmp_path / "book.md")]
    assert main(arguments) == 1
    captured = capsys.readouterr()
    assert "3,504,872" in captured.out
    assert "linnet paper: figure6 could not be made: there are no results of trainings in" in captured.err
    assert "*figure6 is not here: there are no results" in (tmp_path / "book.md").read_text()


def test_all_words_of_a_page_are_shown() -> None:
    """What a Markdown file says in other places than the code reads would be lost unseen."""
    for name in ("figure2", "table3", "table7"):
        page = make(name)
        shown = "\n".join([page.title, *page.paragraphs, *page.notes])
        lines = (Path(prose.__file__).with_name(f"{name}.md")).read_text("utf-8").splitlines()
        for line in lines:
            if line and "{" not in line and line != prose.NOTES:
                assert line.removeprefix("# ").removeprefix("* ").strip() in shown, line


def test_a_missing_number_is_named() -> None:
    with pytest.raises(KeyError, match="kernel"):
        prose.read("figure2", side="14 x 14")
