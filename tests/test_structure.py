"""Who may import whom, what stays unloaded, and is the public surface complete?"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import linnet
from linnet.architecture import operations
from linnet.cli import COMMANDS
from linnet.engine import library

SOURCE = Path(linnet.__file__).parent

# Written once for everybody; each imports nothing of linnet.
GROUND = {"boxes", "colours", "files", "kinds", "machine"}

# Part of the package → parts that it may import. Everything not listed under a part is forbidden to it.
ALLOWED: dict[str, set[str]] = {
    "architecture": set(),
    **{part: set() for part in GROUND},
    "figures": {"files"},
    "images": GROUND,
    "results": GROUND,
    "segmentation": {"architecture", "engine", "quantisation", *GROUND},
    "quantisation": {"architecture", *GROUND},
    "checkpoint": {"architecture", "images", "quantisation", *GROUND},
    "detection": {"architecture", *GROUND},
    "engine": {"architecture", "quantisation", *GROUND},
    "nn": {"architecture", "checkpoint", "engine", "images", "quantisation", *GROUND},
    # What runs a network; torch's runtime imports `nn` once it is asked for.
    "engine.runtimes": {"architecture", "checkpoint", "engine", "images", "nn", *GROUND},
    "data": {"architecture", "images", *GROUND},
    "weights": {"architecture", "checkpoint", "detection", "engine", "images", "quantisation", *GROUND},
    "page": {"architecture", "checkpoint", "detection", "engine", "images", "quantisation", "results", *GROUND},
    # The .pte file is made of the torch module, which is imported once one is asked for.
    "export": {
        "architecture", "checkpoint", "detection", "engine", "images", "nn", "page", "quantisation", "segmentation",
        "weights", *GROUND,
    },
    "paper": {"architecture", "checkpoint", "engine", "figures", "images", "nn", "predictor", *GROUND},
    "choosing": {
        "architecture", "catalogue", "checkpoint", "data", "engine", "engine.runtimes", "export", "figures",
        "images", "nn", "paper", "published", "quantisation", "tasks", "training", *GROUND,
    },
    "published": set(),
    "catalogue": {"checkpoint", "published", "weights", *GROUND},
    "predictor": {
        "architecture", "catalogue", "checkpoint", "detection", "engine", "engine.runtimes", "export", "images",
        "results", "segmentation", *GROUND,
    },
    "bench": {
        "architecture", "checkpoint", "engine", "export", "images", "nn", "predictor", "segmentation", "weights",
        *GROUND,
    },
    "explanation": {"architecture", "images", "predictor", "results", *GROUND},
    "films": {"images", "predictor", "results", *GROUND},
    "serving": {"checkpoint", "export", "images", "page", "predictor", "results", *GROUND},
    "predictions": {"data", "detection", "images", "predictor", "results", "tasks", *GROUND},
    "cluster": {
        "catalogue", "checkpoint", "data", "detection", "engine", "engine.runtimes", "images", "predictions",
        "predictor", *GROUND,
    },
    "evaluation": {"checkpoint", "data", "detection", "figures", "images", "predictor", "results", *GROUND},
    # Recipes, starts and the loop: nothing here knows a task.
    "training": {
        "architecture", "catalogue", "checkpoint", "data", "evaluation", "figures", "images", "nn", *GROUND,
    },
    "tasks": {
        "architecture", "catalogue", "checkpoint", "data", "detection", "evaluation", "figures", "images", "nn",
        "predictor", "results", "segmentation", "training", *GROUND,
    },
    # Eight bits without training: calibrated on data, measured, kept or not.
    "quantisation.post_training": {
        "architecture", "checkpoint", "data", "engine", "engine.runtimes", "evaluation", "images", "predictor",
        "quantisation", "results", "tasks", *GROUND,
    },
    # From a data set to a measured checkpoint, of any task.
    "training.run": {
        "architecture", "checkpoint", "data", "evaluation", "images", "nn", "predictor", "tasks", "training", *GROUND,
    },
    "cli": {
        "architecture", "bench", "catalogue", "checkpoint", "choosing", "cluster", "data", "detection", "engine",
        "engine.runtimes", "evaluation", "explanation", "export", "films", "images", "paper", "predictions",
        "predictor", "published", "quantisation.post_training", "results", "serving", "tasks", "training",
        "training.run", "weights", *GROUND,
    },
}  # fmt: skip

HEAVY = {
    "av",
    "starlette",
    "uvicorn",
    "ray",
    "torch",
    "kornia",
    "pyarrow",
    "matplotlib",
    "tyro",
    "rich",
    "tflite",
    "threadpoolctl",
    "faster_coco_eval",
}

# Third-party packages that a part may load when it is imported (not inside a function).
AT_IMPORT = {
    "architecture": set(),
    "boxes": {"numpy"},
    "images": {"numpy"},
    "results": {"numpy"},
    "segmentation": {"numpy"},
    "quantisation": {"numpy"},
    "checkpoint": {"numpy"},
    "detection": {"numpy"},
    "engine": {"numpy"},
    "nn": {"numpy", "torch"},
    "data": {"numpy"},
    "weights": {"numpy", "tflite", "flatbuffers"},
    "page": {"numpy"},
    "export": {"numpy", "onnx", "tflite", "flatbuffers"},
    "paper": {"numpy"},
    "catalogue": set(),
    "choosing": {"numpy"},
    "cluster": {"numpy"},
    "published": set(),
    "predictor": {"numpy"},
    "explanation": {"numpy"},
    "films": {"numpy"},
    "serving": {"starlette", "uvicorn"},
    "predictions": {"numpy"},
    "bench": {"numpy"},
    "evaluation": {"numpy"},
    "training": {"numpy", "torch", "lightning_fabric", "safetensors"},
    "tasks": set(),
    "cli": {"tyro"},
}

# Modules for training in a part that works without torch; nothing of the part that does so may import them.
WITH_TORCH = {
    "data/batches/augmentation.py": {"torch", "kornia"},
    "data/batches/box_loading.py": {"torch"},
    "data/batches/evaluation.py": {"torch"},
    "data/batches/loading.py": {"torch"},
    "data/batches/mask_loading.py": {"torch"},
    "data/batches/streaming.py": {"torch"},
    "detection/losses.py": {"torch"},
    "detection/matching.py": {"torch"},
    "detection/tensors.py": {"torch"},
    "segmentation/losses.py": {"torch"},
    "tasks/classification/features.py": {"numpy", "torch"},
    "tasks/classification/objective.py": {"numpy", "torch", "lightning_fabric"},
    "tasks/classification/start.py": {"numpy"},
    "tasks/classification/trainer.py": {"numpy", "torch"},
    "tasks/detection/mirror.py": {"numpy"},
    "tasks/detection/objective.py": {"numpy", "torch", "lightning_fabric"},
    "tasks/detection/start.py": {"numpy", "torch"},
    "tasks/detection/trainer.py": {"torch"},
    "tasks/evaluating.py": {"numpy", "torch"},
    "tasks/segmentation/objective.py": {"numpy", "torch", "lightning_fabric"},
    "tasks/segmentation/sizes.py": {"numpy"},
    "tasks/segmentation/start.py": {"numpy", "torch"},
    "tasks/segmentation/trainer.py": {"torch"},
}


def part_of(path: Path) -> str:
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return part_named(".".join(parts))


def part_named(module: str) -> str:
    """The part that a module belongs to, by its name below linnet: a few modules and folders are parts of their own."""
    parts = module.split(".")
    names = [".".join(parts[:count]) for count in range(len(parts), 0, -1)]
    return next((name for name in names if name in ALLOWED), parts[0])


def imported_modules(path: Path, *, only_at_import: bool = False) -> set[str]:
    """Full names of all modules a file imports; type-checking blocks count only for the structure."""
    tree = ast.parse(path.read_text())
    skipped: set[ast.AST] = set()
    for node in ast.walk(tree):
        typing_block = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        if only_at_import and (typing_block or function):
            skipped |= set(ast.walk(node))
    names: set[str] = set()
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            names.add(node.module or "")
    return names


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_go_down_only(path: Path) -> None:
    part = part_of(path)
    if part in ("__init__", "__main__"):
        return
    assert part in ALLOWED, f"{part} is a new part: say here what it may import"
    for module in imported_modules(path):
        if module.startswith("linnet."):
            other = part_named(module.removeprefix("linnet."))
            assert other == part or other in ALLOWED[part], f"{path.name} ({part}) imports {module}"


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE)))
def test_heavy_packages_are_imported_where_they_are_needed(path: Path) -> None:
    part = part_of(path)
    tops = {module.split(".")[0] for module in imported_modules(path, only_at_import=True)}
    foreign = tops - sys.stdlib_module_names - {"linnet"}
    allowed = AT_IMPORT.get(part.split(".")[0], set()) | WITH_TORCH.get(path.relative_to(SOURCE).as_posix(), set())
    assert foreign <= allowed, f"{path.name} imports {foreign} at once"


def test_no_part_imports_another_in_a_circle() -> None:
    order: list[str] = []
    while len(order) < len(ALLOWED):
        ready = [part for part in ALLOWED if part not in order and ALLOWED[part] <= set(order)]
        assert ready, f"a circle among {set(ALLOWED) - set(order)}"
        order += ready


def imports_of_modules() -> dict[str, set[str]]:
    """Module → modules of linnet that it imports, also within functions; what only type checkers see does not count."""
    names = {
        ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts).removesuffix(".__init__"): path
        for path in SOURCE.rglob("*.py")
    }
    graph: dict[str, set[str]] = {}
    for name, path in names.items():
        tree = ast.parse(path.read_text())
        unseen = {
            inner
            for node in ast.walk(tree)
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
            for inner in ast.walk(node)
        }
        found = set()
        for node in ast.walk(tree):
            if node in unseen:
                continue
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                members = {f"{node.module}.{alias.name}" for alias in node.names}
                found |= (members & names.keys()) or {node.module}
        graph[name] = (found & names.keys()) - {name}
    return graph


def circles(graph: dict[str, set[str]]) -> set[frozenset[str]]:
    """The largest groups of modules in which each imports every other, directly or through others."""

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        waiting = [start]
        while waiting:
            fresh = graph[waiting.pop()] - seen
            seen |= fresh
            waiting += fresh
        return seen

    after = {name: reached(name) for name in graph}
    return {frozenset(other for other in after[name] if name in after[other]) for name in graph if name in after[name]}


def test_circles_are_found() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": {"e"}, "e": {"d"}, "f": {"a"}}
    assert circles(graph) == {frozenset("abc"), frozenset("de")}


def test_no_module_imports_another_in_a_circle() -> None:
    """Also inside folders and within functions."""
    assert not circles(imports_of_modules())


KINDS = {
    name
    for name, kind in (*vars(operations).items(), *vars(library).items())
    if isinstance(kind, type) and issubclass(kind, (operations.Operation, library.LayerBody))
} | {"Weighted"}
"""Operations and the engine's layers."""

OF_TASKS = {
    "Classification",
    "DeepLab",
    "Detection",
    "Detections",
    "Detector",
    "Region",
    "SSD",
    "SSDLite",
    "Segmentation",
}
OF_TASKS |= {"BoxFindings", "MaskFindings", "TrackedDetection", "TrackedDetections"}
"""What belongs to one task, and could be asked for instead of the task."""


def switches(tree: ast.AST, kinds: set[str]) -> list[int]:
    """Lines that ask something which of some kinds it is, but for assertions, which only tell a type checker.

    `of_kind`, which picks operations out, asks too.
    """
    told = {part for node in ast.walk(tree) if isinstance(node, ast.Assert) for part in ast.walk(node)}
    lines = []
    for node in (each for each in ast.walk(tree) if isinstance(each, ast.expr | ast.pattern)):
        asked: ast.AST | None = None
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node not in told:
            asked = node.args[1] if node.func.id in ("isinstance", "issubclass", "of_kind") else None
        elif isinstance(node, ast.Compare) and "type(" in ast.unparse(node.left):
            asked = node
        elif isinstance(node, ast.MatchClass):
            asked = node.cls
        if asked is not None and kinds & {part.id for part in ast.walk(asked) if isinstance(part, ast.Name)}:
            lines.append(node.lineno)
    return lines


def test_switches_are_found() -> None:
    assert {"Add", "Pool", "Convolve", "Linear", "LinearLayer"} <= KINDS
    asking = ("isinstance(x, Add | Sum)", "of_kind(x, Pool)", "type(x) is Add", "type(x) in (Add, Pool)")
    assert all(switches(ast.parse(text), KINDS) == [1] for text in asking)
    assert switches(ast.parse("match x:\n    case Add(): pass"), KINDS) == [2]
    others = ("assert isinstance(x, Pool)", "isinstance(x, Sum)", "T = {Add: 1}\nT[type(x)](x)", "type(x) in T")
    assert not any(switches(ast.parse(text), KINDS) for text in others)


@pytest.mark.parametrize(
    ("kinds", "most"),
    [
        # What picks convolutions, linear layers or both out of a network.
        pytest.param(KINDS, 6, id="operations and layers"),
        # Headers of format 1, boxes in a film and in `linnet check`, options that a foreign file says.
        pytest.param(OF_TASKS, 5, id="tasks"),
    ],
)
def test_nothing_is_asked_for_its_kind(kinds: set[str], most: int) -> None:
    """What runs and writes operations has a table of their kinds (docs/decisions/0013); a task's folder knows its task.

    The numbers may only fall.
    """
    asked = {
        path.relative_to(SOURCE).as_posix(): lines
        for path in SOURCE.rglob("*.py")
        if not path.is_relative_to(SOURCE / "tasks") and (lines := switches(ast.parse(path.read_text()), kinds))
    }
    assert sum(map(len, asked.values())) <= most, asked


def modules_after(script: str) -> set[str]:
    code = f"import sys\n{script}\nprint(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


def run_quietly(arguments: list[str]) -> str:
    return f"""
import contextlib, io
from linnet.cli import main
with contextlib.redirect_stdout(io.StringIO()):
    main({arguments!r})
"""


def test_help_loads_neither_numpy_nor_tyro() -> None:
    loaded = modules_after(run_quietly(["--help"]))
    assert not loaded & {"numpy", "PIL", *HEAVY}


def test_no_command_loads_torch(small_model: Path, picture_file: Path, tmp_path: Path) -> None:
    folder = picture_file.parent / "data"
    for name in ("ant", "bee", "cat", "dog"):
        (folder / name).mkdir(parents=True)
        (folder / name / "a.png").write_bytes(picture_file.read_bytes())
    model = ["--model", str(small_model)]
    commands = {
        "predict": [str(picture_file), *model],
        "evaluate": [str(folder), *model],
        "check": [str(folder)],
        "profile": model,
        "quantize": [str(small_model), str(folder), "--out", str(tmp_path / "int8.safetensors"), "--most-drop", "1"],
        "choose": ["--multiply-adds", "1"],
        "models": [],
        "paper": ["table2"],
        "export": [str(small_model), str(tmp_path / "out.onnx")],
        "verify": [str(small_model)],
        "convert": ["nowhere.tflite", "--out", str(tmp_path / "out.safetensors")],
        "bench": [*model, "--runtimes", "numpy", "--seconds", "0.1"],
    }
    # Training is what torch is for.
    # A server that has what it needs does not end by itself; what it loads then is asked in tests/serving.
    commands["serve"] = [*model, "--host", "192.0.2.1"]
    assert commands.keys() == COMMANDS.keys() - {"train"}
    for name, arguments in commands.items():
        loaded = modules_after(run_quietly([name, *arguments]))
        assert "torch" not in loaded, name
        assert "matplotlib" not in loaded, name
        others = {f"linnet.cli.{other}" for other in COMMANDS if other != name}
        assert not loaded & others, f"{name} imports other commands"


def test_detecting_loads_no_torch() -> None:
    loaded = modules_after("import linnet\nlinnet.detection.anchors(linnet.ssdlite())")
    assert "linnet.detection.suppression" in loaded
    assert not loaded & {"torch", "PIL"}


def test_the_public_names_are_complete_sorted_and_documented() -> None:
    assert linnet.__all__ == sorted(linnet.__all__)
    assert set(linnet.__all__) == set(linnet._PLACES)
    assert dir(linnet) == linnet.__all__
    for name in linnet.__all__:
        assert (getattr(linnet, name).__doc__ or "").strip(), f"linnet.{name} has no docstring"
    with pytest.raises(AttributeError, match="nonsense"):
        linnet.nonsense  # noqa: B018


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse((SOURCE / "__init__.py").read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.asname for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert seen == set(linnet.__all__)


def test_no_public_function_hides_a_module() -> None:
    modules = {".".join(path.relative_to(SOURCE).with_suffix("").parts) for path in SOURCE.rglob("*.py")}
    packages = {".".join(path.parent.relative_to(SOURCE).parts) for path in SOURCE.rglob("*/__init__.py")}
    for package in sorted(packages):
        module = __import__(f"linnet.{package}", fromlist=["__all__"])
        for name in getattr(module, "__all__", []):
            assert f"{package}.{name}" not in modules | packages, f"linnet.{package}.{name} hides a module"
    for name, (_, attribute) in linnet._PLACES.items():
        assert attribute is None or name not in modules | packages
