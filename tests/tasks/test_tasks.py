"""Is every task whole, do they agree with data sets, recipes and architectures, and is nothing else asked of them?"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any, get_args

import pytest

import linnet
from linnet.architecture import FAMILIES
from linnet.catalogue import EMBEDDED, models_in
from linnet.checkpoint import read_header
from linnet.data import samples
from linnet.data.labels import LABELS
from linnet.export.engine_results import RESULTS
from linnet.page.model import TASKS as PAGES
from linnet.predictions.rows import LISTS
from linnet.predictor import INTERPRETERS
from linnet.tasks import TASKS

SOURCE = Path(linnet.__file__).parent


def test_the_tasks_are_those_of_the_data_the_networks_and_the_predictor() -> None:
    assert TASKS.keys() == set(get_args(samples.Task)) == set(LABELS)
    families: dict[str, Any] = dict(FAMILIES)
    assert {kind.task for kind in families.values()} == TASKS.keys()
    assert INTERPRETERS.keys() == TASKS.keys() == LISTS.keys() == PAGES.keys() == RESULTS.keys()
    assert all(task.name == name for name, task in TASKS.items())


def test_each_tasks_own_recipe_is_of_the_task() -> None:
    recipes = pytest.importorskip("linnet.training.recipes").RECIPES
    for task in TASKS.values():
        assert recipes[task.recipe].task == task.name
    assert {recipe.task for recipe in recipes.values()} == TASKS.keys()


@pytest.mark.parametrize("name", models_in(EMBEDDED))
def test_what_an_embedded_model_scored_is_said(name: str) -> None:
    document = read_header(models_in(EMBEDDED)[name])
    task = TASKS[document["task"]]
    summary = task.summary(document["score"])
    assert summary
    rows = dict(task.rows(document["score"]))
    assert summary.split()[0] in rows
    headings, *classes = task.class_rows(document["score"]["per_class"])
    assert len(classes) == len(document["classes"])
    assert all(len(row) == len(headings) for row in classes)


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_what_was_not_measured_is_not_said(task: Any) -> None:
    assert task.summary({}) is None


def test_commands_and_runs_ask_no_task_for_its_name() -> None:
    """A third task comes in by adding files: nobody above the tasks compares a task with a word."""
    above = [*SOURCE.glob("cli/*.py"), *SOURCE.glob("training/**/*.py"), SOURCE / "predictor.py"]
    # What depends on labels in data stands in `data/labels`.
    above += [path for path in SOURCE.glob("data/*.py") if path.name != "recognition.py"]
    above += [*SOURCE.glob("data/checks/*.py"), *SOURCE.glob("data/batches/*.py")]
    folders = ("bench", "export", "films", "page", "predictions", "results", "serving")
    above += [path for folder in folders for path in SOURCE.glob(f"{folder}/**/*.py")]
    words = set(TASKS)
    for path in above:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Compare):
                constants = {part.value for part in ast.walk(node) if isinstance(part, ast.Constant)}
                assert not constants & words, f"{path}:{node.lineno}"
