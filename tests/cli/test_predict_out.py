"""Does `linnet predict --out` count exactly, go on, and refuse what makes no sense?"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from networks import checkpoint_of
from PIL import Image
from test_commands import run, run_json

from linnet.architecture.deeplab import deeplab
from linnet.checkpoint import save_checkpoint
from linnet.images import decode

parquet = pytest.importorskip("pyarrow.parquet", reason="needs pyarrow: pip install 'linnet[train]'")


@pytest.fixture(autouse=True)
def _there(tmp_path: Path, picture_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINNET_CACHE", str(tmp_path / "own-cache"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for number in range(4):
        shutil.copy(picture_file, tmp_path / "photos" / f"{number}.png")
    (tmp_path / "photos" / "broken.jpg").write_bytes(b"nonsense")


def test_it_counts_and_goes_on(small_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["predict", "photos/", "--model", small_model, "--out", "out.parquet"]
    code, out, err = run(command, capsys)
    assert (code, err) == (0, "")
    assert out.startswith("5 pictures in 'out.parquet': 4 predicted, 1 that could not be read; 5 of them were done now")
    shutil.copy("photos/0.png", "photos/late.png")
    # Another way to write the same place.
    command[1] = "./photos"
    document = run_json([*command, "--uncertain", 2], capsys)
    assert document == {
        **{"out": "out.parquet", "pictures": 6, "predicted": 5, "errors": 1, "new": 1, "new_errors": 0},
        "uncertain": "out-uncertain",
    }
    table = parquet.read_table("out.parquet")
    assert sorted(table.column("file").to_pylist()) == sorted(map(str, Path("photos").iterdir()))
    assert len(list(Path("out-uncertain").glob("*.png"))) == 2
    code, _, err = run([*command, "--uncertain", 2], capsys)
    assert (code, err.count("\n")) == (1, 1)
    assert "'out-uncertain' is there already" in err


def test_each_page_of_a_stack_has_a_row(small_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pages = [Image.new("L", (20, 16), 60 * number) for number in range(3)]
    pages[0].save("photos/stack.tif", save_all=True, append_images=pages[1:])
    command = ["predict", "photos", "--model", small_model, "--out", "out.parquet", "--uncertain", 9]
    assert run_json(command, capsys)["pictures"] == 5 + 3
    names = parquet.read_table("out.parquet").column("file").to_pylist()
    assert names[-3:] == [f"photos/stack.tif, page {number}" for number in (1, 2, 3)]
    copies = sorted(Path("out-uncertain").glob("*stack*"))
    assert [decode(copy).size for copy in copies] == [(20, 16)] * 3


@pytest.mark.parametrize(
    ("flags", "code", "said"),
    [
        (["--top", 2], 1, "top (None there, 2 here)"),
        (["--model", "cifar10"], 1, "the model ("),
        (["--out", "photos"], 1, "holds other files"),
        (["--out", "photos/0.png"], 1, "is a file"),
        (["--draw", "drawn"], 2, "does not go with --out"),
        (["--out", "new.csv"], 1, "must end with .parquet, or be a folder"),
        (["--out", "new.PARQUET"], 1, "must end with .parquet, or be a folder"),
        (["--uncertain", 0], 2, "at least 1"),
    ],
)
def test_what_makes_no_sense_is_a_sentence(
    flags: list[object], code: int, said: str, small_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["predict", "photos", "--model", small_model, "--out", "out.parquet"]
    run(command, capsys)
    before = Path("out.parquet").read_bytes()
    got, out, err = run([*command, *flags], capsys)
    assert (got, out, err.count("\n")) == (code, "", 1)
    assert said in err
    assert Path("out.parquet").read_bytes() == before
    assert not list(Path().glob("new*"))


def test_a_source_that_is_not_there_leaves_nothing_behind(
    small_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["predict", "phtos", "--model", small_model, "--out", "out.parquet"]
    code, out, err = run(command, capsys)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "'phtos'" in err
    command[1] = "photos"
    assert run(command, capsys)[0] == 0


def test_what_is_of_another_task_is_said_in_whole_words(
    small_model: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    segmenter = deeplab(variant="modern", width=0.1, resolution=(24, 32), classes=3)
    save_checkpoint(checkpoint_of(segmenter), tmp_path / "segmenter.safetensors")
    command = ["predict", "photos", "--model", small_model, "--out", "out.parquet"]
    run(command, capsys)
    command[3] = tmp_path / "segmenter.safetensors"
    code, _, err = run(command, capsys)
    assert code == 1
    assert "the task (classification there, segmentation here)" in err


def test_of_another_folder_of_the_same_name_nothing_is_added(
    small_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out.parquet"
    command = ["predict", "photos", "--model", small_model, "--out", out]
    run(command, capsys)
    (tmp_path / "elsewhere").mkdir()
    shutil.copytree("photos", "elsewhere/photos")
    monkeypatch.chdir(tmp_path / "elsewhere")
    code, _, err = run(command, capsys)
    assert code == 1
    assert "the place of the source" in err


def test_a_film_is_no_picture(small_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(["predict", "film.mp4", "--model", small_model, "--out", "out.parquet"], capsys)
    assert (code, "'film.mp4' is a film or a camera" in err) == (2, True)
    assert not Path("out.parquet").exists()


def test_uncertain_needs_results(small_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(["predict", "photos/0.png", "--model", small_model, "--uncertain", 3], capsys)
    assert (code, "--uncertain belongs to --out" in err) == (2, True)


def test_parquet_shards_and_lists_are_sources(
    small_model: Path, picture_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import pyarrow as arrow

    parquet.write_table(arrow.table({"image": [picture_file.read_bytes()] * 3}), "pictures.parquet")
    Path("list.txt").write_text("photos/0.png\npictures.parquet\n")
    code, out, _ = run(["predict", "list.txt", "--model", small_model, "--out", "out", "--json"], capsys)
    assert (code, json.loads(out)["pictures"]) == (0, 4)
    files = parquet.read_table("out").column("file").to_pylist()
    assert files == ["photos/0.png", *(f"pictures.parquet, row {row}" for row in range(3))]
