"""Do the commands run that README, CONTRIBUTING and the pages of docs/ show in blocks of `sh`?

Each block runs in a folder that has what its lines name, line by line. What is not run stands in `NOT_RUN` with its
reason; a line that is neither fails.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from conftest import ROOT
from film_writer import times_of, write_film
from masks import write_masks
from measured import keep_measured
from networks import checkpoint_of
from pictures import COLOURS, write_pictures, write_scenes

from linnet.architecture import MobileNetV2
from linnet.checkpoint import save_checkpoint
from linnet.cli import main

PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "docs/*.md", "docs/decisions/*.md", "docs/howto/*.md", "native/*.md")
    for path in ROOT.glob(pattern)
)

NOT_RUN = {
    "make demo": "makes an environment of its own; test_install.py runs the demo's program",
    "make test": "is this suite",
    "make test-parity": "makes an environment of its own",
    "make test-mediapipe": "makes an environment of its own",
    "make setup": "makes an environment of its own",
    "make fix": "changes the project's files",
    "make check": "is run beside this suite, by .ci/run",
    "make docs": "is run beside this suite, by .ci/run",
    "make bench": "measures for minutes",
    "python -m http.server": "serves until it is stopped",
    "pip install linnet": "needs a package index; test_install.py installs linnet",
    "torchrun --nnodes 4": "needs four machines",
    "gcc": "tests/export/test_c_file.py compiles the page's program",
    "arm-none-eabi-gcc": "tests/export/test_c_boards.py compiles for these processors, where it is installed",
    "linnet serve": "does not end by itself; tests/serving runs it",
    "linnet predict camera:0": "needs a camera; tests/films runs a picture of FFmpeg's in its place",
    "docker build": "needs Docker",
    "docker run": "needs Docker",
    "linnet predict photos/ --out results/ --cluster local": "needs Ray; tests/cluster runs it",
    "linnet predict s3://bucket/photos": "needs a bucket and a cluster",
    "ray start": "needs several machines",
}
"""Beginning of a line → why it is not run. That the targets of `make` exist is tested in test_readme.py."""

SLOW = ("torchrun", "linnet choose --classes 10 --target c")
"""Beginnings of lines that take seconds."""

TRAINS = re.compile(r"(\S*/)?linnet (train|quantize) ")
"""How a line begins that takes seconds, and that others of its block go on from; tests/training has the command too."""

SHORTER = {
    "--quantise-epochs": "--epochs 1 --batch 4 --workers 0 --resolution 64 --quantise-epochs 1",
    "train masks/": "--epochs 1 --batch 4 --workers 0 --view-side 32",
    "--epochs 30": "--epochs 1 --batch 4 --workers 0 --resolution 64",
    "train boxes/ --out finer/": "--epochs 1 --batch 4 --workers 0 --repeats 1 --resolution 64",
    "train boxes/": "--epochs 1 --batch 4 --workers 0 --resolution 64 --repeats 1",
    "train data/ --out run/ --recipe features": "--workers 0 --resolution 64",
    "train": "--epochs 1 --batch 4 --workers 0 --resolution 64",
    "quantize": "--most-drop 1",
}
"""What stands in a line → flags that it gets here, so that it ends soon; what a recipe decides from the data is tested
elsewhere."""


def lines_of(block: str) -> list[str]:
    """Its commands, each on one line, without comments."""
    joined = block.replace("\\\n", " ")
    return [line for line in map(str.strip, joined.splitlines()) if line and not line.startswith("#")]


STORIES = ("docs/tutorial.md", "docs/howto/small-data.md", "docs/howto/moving.md")
"""Pages whose blocks follow one another, each on what the ones before it have left."""


def blocks_of(page: str) -> list[list[str]]:
    """The commands of each block of a page; of a story, all as one."""
    found = [
        lines_of(block) for block in re.findall(r"```sh\n(.*?)```", (ROOT / page).read_text("utf-8"), flags=re.DOTALL)
    ]
    return [[line for lines in found for line in lines]] if page in STORIES else found


BLOCKS = {f"{page}-{number}": lines for page in PAGES for number, lines in enumerate(blocks_of(page))}
"""Page and number of a block → its commands."""


def reason_of(line: str) -> str | None:
    """Why a line is not run; None: it is."""
    return next((reason for beginning, reason in NOT_RUN.items() if f"{line} ".startswith(f"{beginning} ")), None)


@pytest.fixture(scope="module")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with everything that the lines name, small; the weights that trainings start from stand in the cache."""
    folder = tmp_path_factory.mktemp("furnished")
    start = checkpoint_of(MobileNetV2(width=0.1, resolution=64, classes=7))
    save_checkpoint(start, folder / "cache" / "imagenet-v2-1.0-224-tf2.safetensors")
    write_pictures(folder / "data", train=6, validation=3, test=2)
    save_checkpoint(
        checkpoint_of(MobileNetV2(width=0.1, resolution=64, classes=len(COLOURS)), classes=tuple(sorted(COLOURS))),
        folder / "mine.safetensors",
    )
    write_scenes(folder / "boxes", train=8, validation=4, test=4)
    write_masks(folder / "masks", test=2)
    if find_spec("av") is not None:
        write_film(folder / "film.mp4", times_of(5))
    shutil.copytree(ROOT / "examples", folder / "examples")
    return folder


@pytest.fixture
def desk(furnished: Path, tmp_path: Path, picture_file: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, in which the lines are run."""
    monkeypatch.setenv("LINNET_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    shutil.copytree(furnished, tmp_path, dirs_exist_ok=True)
    (tmp_path / "photos").mkdir()
    shutil.copy(picture_file, tmp_path / "photos")
    return tmp_path


def is_slow(name: str, line: str) -> bool:
    """Whether a line of a block runs among the slow tests, as all lines of a block do that trains."""
    return line.startswith(SLOW) or any(TRAINS.match(each) for each in BLOCKS[name])


def run_line(line: str) -> None:
    """As a shell would; linnet's own commands in this process, where they take no second to begin."""
    words = shlex.split(line, comments=True)
    more = next((flags for beginning, flags in SHORTER.items() if beginning in " ".join(words)), "")
    # What `make` has put into .venv is what runs here.
    program, arguments = words[0].removeprefix(".venv/bin/"), [*words[1:], *more.split()]
    if program == "linnet":
        if arguments[0] == "choose":
            keep_measured(classes=10)
        assert main(arguments) == 0, line
        return
    programs = {"python": [sys.executable], "torchrun": [sys.executable, "-m", "torch.distributed.run"]}
    assert program in programs, f"{line!r} neither is run here nor stands in NOT_RUN"
    done = subprocess.run(
        [*programs[program], *arguments],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, f"{line}\n{done.stderr}"


def test_there_are_blocks() -> None:
    assert {name.rsplit("-", 1)[0] for name in BLOCKS} >= {"README.md", "CONTRIBUTING.md", "docs/scaling.md"}
    # What is excused is there.
    lines = [f"{line} " for block in BLOCKS.values() for line in block]
    for beginning in NOT_RUN:
        assert any(line.startswith(f"{beginning} ") for line in lines), beginning


def lines_to_run(name: str, *, slow: bool) -> list[str]:
    return [line for line in BLOCKS[name] if reason_of(line) is None and is_slow(name, line) == slow]


@pytest.mark.parametrize("name", [name for name in BLOCKS if lines_to_run(name, slow=False)])
def test_it_runs(name: str, desk: Path) -> None:
    for line in lines_to_run(name, slow=False):
        if "film.mp4" in line:
            pytest.importorskip("av", reason="films need PyAV: pip install 'linnet[video]'")
        run_line(line)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in BLOCKS if lines_to_run(name, slow=True)])
def test_its_slow_lines_run(name: str, desk: Path) -> None:
    for line in lines_to_run(name, slow=True):
        if "film.mp4" in line:
            pytest.importorskip("av", reason="films need PyAV: pip install 'linnet[video]'")
        run_line(line)
