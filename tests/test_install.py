"""Can linnet be installed where there is no compiler, and does a library that does not build go unnoticed?"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent


def install(source: Path, target: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    # The tools to build with stand in this environment: nothing is downloaded.
    options = ("--no-deps", "--no-build-isolation", "--no-index", "--target", str(target), "--verbose")
    places = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return subprocess.run(
        [sys.executable, "-m", "pip", "install", *options, str(source)],
        capture_output=True,
        text=True,
        env=os.environ | {"PATH": places, "PIP_DISABLE_PIP_VERSION_CHECK": "1"} | environment,
        check=False,
        timeout=300,
    )


def run_installed(target: Path, script: str) -> str:
    """Runs a script on what was installed, not on this repository; with the other packages of this environment."""
    paths = [str(target), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    lead = f"import sys\nsys.path[:0] = {paths!r}\nimport linnet\nassert linnet.__file__.startswith({str(target)!r})\n"
    # -S: the environment's own hook for the repository is not run.
    command = [sys.executable, "-S", "-I", "-c", lead + script]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr
    return done.stdout


USING = """
import numpy as np
from linnet.cli import main
predict = linnet.load("cifar10")
print(predict.runtime, len(predict(np.zeros((50, 60, 3), np.uint8)).top(5)))
main(["models", "--runtimes"])
main(["paper", "table2"])
main(["predict", "--runtime", "native", "nowhere.jpg"])
"""


def test_without_a_compiler_all_but_the_engine_works(tmp_path: Path) -> None:
    done = install(ROOT, tmp_path / "there", CC="/nonexistent", CXX="/nonexistent")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "There is no C++ compiler" in done.stdout + done.stderr
    assert not list((tmp_path / "there").rglob("*.so"))
    lines = run_installed(tmp_path / "there", USING + "sys.stdout.flush()").splitlines()
    assert lines[0] == "numpy 5"
    assert any("only the first of them has the stride s" in line for line in lines), lines
    assert any("native" in line and "without a C++ compiler" in line for line in lines), lines


def test_with_a_compiler_the_engine_is_there_and_small(tmp_path: Path) -> None:
    if shutil.which("g++") is None and shutil.which("clang++") is None:
        pytest.skip("there is no C++ compiler here")
    done = install(ROOT, tmp_path / "there")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert run_installed(tmp_path / "there", 'print(linnet.load("cifar10").runtime)') == "native\n"
    (library,) = (tmp_path / "there").rglob("*linnet_native*")
    # Small systems have no C++ library.
    assert b"libstdc++" not in library.read_bytes()
    # Half of it are the kernels of bytes, for each instruction set one size of tile after the other.
    assert library.stat().st_size <= 1_100_000


def test_code_that_does_not_build_stops_the_install(tmp_path: Path) -> None:
    if shutil.which("g++") is None and shutil.which("clang++") is None:
        pytest.skip("there is no C++ compiler here")
    for name in ("pyproject.toml", "CMakeLists.txt", "README.md", "LICENSE", "src", "native"):
        source = ROOT / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, tmp_path / name)
    with (tmp_path / "native" / "engine" / "network.cpp").open("a") as file:
        file.write("this is no C++\n")
    done = install(tmp_path, tmp_path / "there")
    assert done.returncode != 0
    assert "network.cpp" in done.stdout + done.stderr


def test_the_demo_runs_of_a_wheel_without_a_compiler(tmp_path: Path) -> None:
    """In an environment that has linnet and what it needs, and finds no program but its own: torch is not needed."""
    wheel = build_wheel(tmp_path)
    folder = tmp_path / "environment"
    venv.create(folder, with_pip=False)
    own = folder / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", str(own), "install", "--quiet", "--no-deps", "--no-index")
    subprocess.run([*pip, str(wheel)], check=True, timeout=300)
    (packages,) = (folder / "lib").glob("python*/site-packages")
    # What linnet needs, and scikit-image's photographs, are this environment's.
    (packages / "others.pth").write_text(f"{sysconfig.get_path('purelib')}\n{sysconfig.get_path('platlib')}\n")
    environment = {"PATH": str(own.parent), "LINNET_CACHE": str(tmp_path / "cache"), "HOME": str(tmp_path)}
    for program, *arguments in (("release/installed.py", str(tmp_path)), ("examples/demo.py", "--model", "clothing")):
        done = subprocess.run(
            [str(own), str(ROOT / program), *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    assert (tmp_path / "demo" / "demo.png").is_file()
    assert "astronaut" in (tmp_path / "demo" / "index.html").read_text(encoding="utf-8")


def build_wheel(folder: Path) -> Path:
    options = ("--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--wheel-dir", str(folder))
    places = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", *options, str(ROOT)],
        env=os.environ | {"PATH": places},
        check=True,
        timeout=300,
    )
    (wheel,) = folder.glob("linnet-*-py3-none-*.whl")
    return wheel


def test_the_sdist_has_what_the_project_has_and_nothing_else(tmp_path: Path) -> None:
    """Built of the project's files among what working on it leaves behind; it is enough to build a wheel of."""
    known = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if known.returncode:
        pytest.skip("this is no checkout of the repository: nothing says which files belong to it")
    files = {name for name in known.stdout.splitlines() if (ROOT / name).is_file()}
    source = tmp_path / "source"
    foreign = (
        "demo/demo.png",
        "runs/a/checkpoint.safetensors",
        "build/notes",
        "src/linnet/__pycache__/a.pyc",
        ".venv/b",
    )
    for name in files:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, source / name)
    for name in foreign:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text("left behind")
    script = f"from scikit_build_core.build import build_sdist; print(build_sdist({str(tmp_path)!r}))"
    subprocess.run([sys.executable, "-c", script], cwd=source, check=True, timeout=100, stdout=subprocess.DEVNULL)
    (path,) = tmp_path.glob("linnet-*.tar.gz")
    with tarfile.open(path) as archive:
        found = {name.split("/", 1)[1] for name in archive.getnames()}
    left_out = {name for name in files if name.startswith((".ci/", ".github/"))}
    assert found - {"PKG-INFO"} == files - left_out
