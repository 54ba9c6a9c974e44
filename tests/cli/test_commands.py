"""Do the commands do what the design's contract says: JSON keys, exit codes, one-line errors?"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import checkpoint_of
from PIL import Image

from linnet.architecture import MobileNetV2, from_options
from linnet.architecture.ssdlite import ssd, ssdlite
from linnet.checkpoint import save_checkpoint
from linnet.cli import COMMANDS, main
from linnet.cli.terminal import documents, unwrapped
from linnet.engine.library import native_version
from linnet.predictor import load


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINNET_CACHE", str(tmp_path / "own-cache"))


needs_native = pytest.mark.skipif(native_version() is None, reason="the native library is not built")


def run(arguments: list[Any], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command; tyro leaves by SystemExit."""
    try:
        code = main([str(argument) for argument in arguments])
    except SystemExit as leaving:
        code = int(leaving.code or 0)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def run_json(arguments: list[Any], capsys: pytest.CaptureFixture[str]) -> Any:
    code, out, _ = run([*arguments, "--json"], capsys)
    assert code == 0
    return json.loads(out)


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(["--help"], capsys)
    assert code == 0
    assert all(command in out for command in COMMANDS)
    assert run([], capsys)[0] == 2


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"], capsys)[1].startswith("linnet 0.")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "2000")
    code, out, _ = run([command, "--help"], capsys)
    assert code == 0
    assert f"usage: linnet {command}" in out
    assert "--json" in out
    # Broken into lines where the terminal ends, and not where the source is.
    module = importlib.import_module(f"linnet.cli.{command}")
    texts = [*documents(module.Options).values(), *unwrapped(module.__doc__ or "").split("\n\n")]
    assert len(texts) > 2
    if command == "train":
        from linnet.training.recipes import RECIPES

        texts += [paragraph for recipe in RECIPES.values() for paragraph in unwrapped(recipe.about).split("\n\n")]
    for text in texts:
        assert any(text in line for line in out.splitlines()), text


def test_paragraphs_are_unwrapped() -> None:
    assert unwrapped("One\n  two.\n\n`three`\n(four)\n") == "One two.\n\n`three` (four)"


def test_unknown_commands_and_options_are_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(["fly"], capsys)
    assert (code, out) == (2, "")
    assert "no command 'fly'" in err
    assert run(["predict", "--colour", "red"], capsys)[0] == 2
    assert run(["predict"], capsys)[0] == 2
    assert run(["evaluate"], capsys)[0] == 2
    assert run(["profile", "--architecture", "resnet"], capsys)[0] == 2
    assert run(["profile", "--width", "0"], capsys)[0] == 2


def test_predict_json(small_model: Path, picture_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = run_json(["predict", picture_file, "--model", small_model, "--top", 3], capsys)
    assert [entry["file"] for entry in document] == [str(picture_file)]
    predictions = document[0]["predictions"]
    assert [set(entry) for entry in predictions] == [{"label", "index", "score"}] * 3
    assert [entry["score"] for entry in predictions] == sorted((entry["score"] for entry in predictions), reverse=True)
    assert predictions[0]["label"] == load(small_model)(picture_file).label


def test_predict_tables_folders_globs_and_drawing(
    small_model: Path, picture_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "folder" / "deeper"
    folder.mkdir(parents=True)
    for path in (folder / "picture.jpg", folder.parent / "picture.jpg"):
        with Image.open(picture_file) as image:
            image.save(path)
    arguments = ["predict", folder.parent, tmp_path / "pic*.png", "--model", small_model, "--draw", tmp_path / "drawn"]
    code, out, err = run(arguments, capsys)
    assert (code, err) == (0, "")
    assert out.count("score") == 3
    drawn = sorted(path.name for path in (tmp_path / "drawn").iterdir())
    assert drawn == ["picture-2.png", "picture-3.png", "picture.png"]
    with Image.open(tmp_path / "drawn" / "picture.png") as image:
        assert image.width == 120
        assert image.height > 90


def test_a_failed_picture_is_told_and_the_others_go_on(
    small_model: Path, picture_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake = tmp_path / "fake.jpg"
    fake.write_text("<html>not found</html>")
    code, out, err = run(
        ["predict", fake, tmp_path / "none.jpg", picture_file, "--model", small_model, "--json"], capsys
    )
    assert code == 1
    document = json.loads(out)
    assert [set(entry) for entry in document] == [{"file", "error"}, {"file", "error"}, {"file", "predictions"}]
    assert "fake.jpg' is not a picture" in document[0]["error"]
    assert len(err.splitlines()) == 2
    assert "Traceback" not in err


def test_one_line_for_what_goes_wrong(
    small_model: Path, picture_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(small_model.read_bytes()[:-1])
    cases: list[tuple[list[Any], str]] = [
        (["predict", picture_file, "--model", "cifar11"], "no model 'cifar11' on this machine"),
        (["predict", picture_file, "--model", "nowhere.safetensors"], "no file 'nowhere.safetensors'"),
        (["predict", picture_file, "--model", broken], "damaged or incomplete"),
        (["predict", picture_file, "--model", picture_file], "a linnet checkpoint (.safetensors) was expected"),
        (["predict", picture_file, "--model", tmp_path], "is a folder"),
        (["convert", small_model, "--out", tmp_path / "x"], "linnet's own checkpoint already"),
        (["predict", tmp_path / "*.gif", "--model", small_model], "No file matches"),
        (["evaluate", tmp_path / "nowhere", "--model", small_model], "no file or folder"),
        (["profile", "--model", "nowhere.safetensors"], "no file"),
        (["profile", "--model", tmp_path], "folder"),
        (["convert", tmp_path / "nowhere.tflite", "--out", tmp_path / "x"], "no file"),
        (["convert", picture_file, "--out", tmp_path / "x"], "is a picture (PNG), and no weights"),
    ]
    for arguments, text in cases:
        code, out, err = run(arguments, capsys)
        assert (code, out) == (1, ""), arguments
        assert text in err, (arguments, err)
        assert err.startswith("linnet: ")
        assert len(err.splitlines()) == 1, err


def test_wrong_values_are_wrong_usage(
    small_model: Path, picture_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = picture_file.parent
    cases: list[tuple[list[Any], str]] = [
        (["predict", picture_file, "--model", small_model, "--top", 0], "--top (=0)"),
        (["predict", picture_file, "--model", small_model, "--threads", 0], "--threads (=0)"),
        (["evaluate", tmp_path, "--model", small_model, "--batch", 0], "--batch (=0)"),
        (["predict", picture_file, "--model", small_model, "--draw", folder], "holds pictures of this run"),
        (["convert", picture_file, "--out", picture_file], "is the source itself"),
    ]
    before = picture_file.read_bytes()
    for arguments, text in cases:
        code, out, err = run(arguments, capsys)
        assert (code, out) == (2, ""), arguments
        assert text in err
    assert picture_file.read_bytes() == before


def test_a_terminal_that_cannot_show_it_all(small_model: Path, picture_file: Path) -> None:
    odd = picture_file.with_name("x:cat:é.png")
    odd.write_bytes(picture_file.read_bytes())
    command = [sys.executable, "-m", "linnet", "predict", str(odd), "--model", str(small_model)]
    for encoding in ("ascii", "cp1252"):
        done = subprocess.run(command, env=os.environ | {"PYTHONIOENCODING": encoding}, capture_output=True, check=True)
        assert b"x:cat:" in done.stdout


def test_a_report_that_cannot_be_written_is_told_before_the_work(
    small_model: Path, labelled: tuple[Path, list[int]], picture_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(["evaluate", labelled[0], "--model", small_model, "--report", picture_file], capsys)
    assert (code, out) == (1, "")
    assert "--report" in err


def test_debug_shows_the_traceback(small_model: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds no pictures"):
        main(["predict", str(tmp_path / "empty"), "--model", str(small_model), "--debug"])


@pytest.fixture
def labelled(small_model: Path, tmp_path: Path) -> tuple[Path, list[int]]:
    """A folder with a labels.csv of ten pictures, and what the small model takes them for."""
    folder = tmp_path / "labelled"
    folder.mkdir()
    predict, guesses, rows = load(small_model), [], ["file,class_index"]
    generator = np.random.default_rng(3)
    for number in range(10):
        pixels = generator.integers(0, 255, (70, 80, 3), dtype=np.uint8) // (number + 1) * number
        Image.fromarray(pixels).save(folder / f"{number}.png")
        guesses.append(predict(pixels).index)
        rows.append(f"{number}.png,{guesses[-1] if number < 7 else (guesses[-1] + 1) % 4}")
    (folder / "labels.csv").write_text("\n".join(rows))
    return folder, guesses


def test_evaluate_json_and_report(
    small_model: Path, labelled: tuple[Path, list[int]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = run_json(["evaluate", labelled[0], "--model", small_model, "--report", tmp_path / "report"], capsys)
    assert (document["images"], document["top1"], document["top5"]) == (10, 0.7, 1.0)
    assert document["failed"] == []
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert len(report["mistakes"]) == 3
    for name in ("confusion.png", "reliability.png", "mistakes.png"):
        with Image.open(tmp_path / "report" / name) as image:
            assert min(image.size) > 100


def test_evaluate_says_how_sure_it_is_and_compares_two_models(
    small_model: Path, labelled: tuple[Path, list[int]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = run_json(["evaluate", labelled[0], "--model", small_model], capsys)
    # Wilson's of 7 of 10 and of 10 of 10.
    assert [round(end, 4) for end in document["top1_95"]] == [0.3968, 0.8922]
    assert [round(end, 4) for end in document["top5_95"]] == [0.7225, 1.0]
    assert all(low <= entry["top1"] <= high for entry in document["per_class"] for low, high in [entry["top1_95"]])
    itself = run_json(["evaluate", labelled[0], "--model", small_model, "--against", small_model], capsys)
    assert [entry["difference_95"] for entry in itself["differences"]] == [[0.0, 0.0]] * 3
    assert not any(entry["excludes_zero"] for entry in itself["differences"])
    assert itself["agreement"] == {"both": 7, "only_model": 0, "only_against": 0, "neither": 3}
    other = tmp_path / "other.safetensors"
    save_checkpoint(
        checkpoint_of(MobileNetV2(width=0.35, resolution=64, classes=4), classes=("ant", "bee", "cat", "dog"), seed=8),
        other,
    )
    (labelled[0] / "3.png").write_bytes(b"")
    code, out, err = run(["evaluate", labelled[0], "--model", small_model, "--against", other], capsys)
    assert code == 1
    assert err.count("3.png") == 1
    assert "top1: 0." in out
    assert "zero lies" in out
    assert "only the second on " in out


@pytest.mark.parametrize(
    ("classes", "reason"),
    [
        (("ant", "bee", "cat"), "it has 3 classes, not 4"),
        (("ant", "bee", "cat", "elk"), "only one of the two has the class 'dog'"),
        (("bee", "ant", "cat", "dog"), "its classes stand in another order"),
    ],
)
def test_evaluate_compares_no_models_of_other_classes(
    classes: tuple[str, ...],
    reason: str,
    small_model: Path,
    labelled: tuple[Path, list[int]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    other = tmp_path / "other.safetensors"
    architecture = MobileNetV2(width=0.35, resolution=64, classes=len(classes))
    save_checkpoint(checkpoint_of(architecture, classes=classes), other)
    code, out, err = run(["evaluate", labelled[0], "--model", small_model, "--against", other], capsys)
    assert (code, out) == (1, "")
    assert err.strip() == f"linnet: '{other}' cannot be compared with '{small_model}': {reason}."


def test_evaluate_names_failures_and_ends_with_1(
    small_model: Path, labelled: tuple[Path, list[int]], capsys: pytest.CaptureFixture[str]
) -> None:
    (labelled[0] / "3.png").write_bytes(b"")
    code, out, err = run(["evaluate", labelled[0], "--model", small_model, "--json"], capsys)
    assert code == 1
    assert json.loads(out)["images"] == 9
    assert "3.png" in err
    assert "Traceback" not in err


def test_profile_json(capsys: pytest.CaptureFixture[str]) -> None:
    document = run_json(["profile"], capsys)
    assert document["parameters"] == 3_504_872
    assert document["multiply_adds"] == 300_774_272
    memory = document["activation_memory"]
    assert memory["largest_tensor"] == 4 * 112 * 112 * 96
    assert memory["layerwise_peak"] == 2 * 3_010_560
    assert memory["block_peak"] == 2 * 1_204_224
    assert memory["largest_materialised"] == 2 * 401_408
    layers = document["layers"]
    assert {"name", "kind", "output", "parameters", "multiply_adds", "activation_bytes"} <= layers[0].keys()
    assert sum(layer["parameters"] for layer in layers) == document["parameters"]
    assert sum(layer["multiply_adds"] for layer in layers) == document["multiply_adds"]


@needs_native
def test_profile_shows_the_plan(capsys: pytest.CaptureFixture[str]) -> None:
    small = ["profile", "--width", "0.35", "--resolution", "64", "--runtime", "native", "--threads", "1"]
    document = run_json([*small, "--time"], capsys)
    plan = document["plan"]
    # Every layer in one step, and each once.
    assert plan["steps"][0]["first"] == "stem"
    assert plan["steps"][-1]["last"] == "classifier"
    assert sum(step["multiply_adds"] for step in plan["steps"]) == document["multiply_adds"]
    assert all(step["milliseconds"] > 0 for step in plan["steps"])
    assert plan["arena_bytes"] < document["activation_memory"]["layerwise_peak"]
    whole = run_json([*small, "--schedule", "layerwise"], capsys)["plan"]
    assert whole["arena_bytes"] > plan["arena_bytes"]
    assert {step["schedule"] for step in whole["steps"]} <= {"auto", "layerwise"}
    assert "milliseconds" not in whole["steps"][0]
    code, out, _ = run([*small, "--time"], capsys)
    assert code == 0
    assert "native engine" in out
    assert "of what" in out


def test_profile_refuses_times_without_a_plan(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--time"], ["--threads", "2"], ["--runtime", "native", "--threads", "0"]):
        code, _, errors = run(["profile", *arguments], capsys)
        assert code == 2
        assert len(errors.strip().splitlines()) == 1


def test_profile_takes_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--architecture", "mobilenet_v2", "--width", "0.5", "--resolution", "96", "160", "--classes", "10"]
    arguments += ["--shortcut", "expansion", "--expansion", "3", "--padding", "symmetric", "--depth", "1.2"]
    options = run_json(["profile", *arguments], capsys)["architecture"]
    assert (options["width"], options["resolution"], options["shortcut"]) == (0.5, [96, 160], "expansion")
    assert (
        run_json(["profile", "--architecture=mobilenet_v1", "--convolution", "full"], capsys)["parameters"]
        == 29_294_088
    )
    code, out, _ = run(["profile", "--classes", "None", "--detail"], capsys)
    assert code == 0
    assert "blocks.16.expand" in out
    assert "classifier" not in out


def test_profile_of_detectors(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--architecture", "ssdlite", "--backbone", "mobilenet_v2", "--classes", "80", "--resolution", "320"]
    document = run_json(["profile", *arguments], capsys)
    assert (document["parameters"], document["multiply_adds"]) == (4_337_013, 788_830_144)
    assert document["anchors"] == 2034
    assert document["sections"] == {
        "backbone": {"parameters": 2_223_872, "multiply_adds": 611_212_800},
        "extras": {"parameters": 656_960, "multiply_adds": 38_550_976},
        "heads": {"parameters": 1_456_181, "multiply_adds": 139_066_368},
    }
    assert from_options(document["architecture"]) == ssdlite(classes=80, resolution=320)
    code, out, _ = run(["profile", *arguments], capsys)
    assert code == 0
    lines = {" ".join(line.split()) for line in out.splitlines()}
    assert {"backbone 2,223,872", "extras 656,960", "heads 1,456,181", "anchors 2,034"} <= lines
    assert {"backbone 611,212,800", "extras 38,550,976", "heads 139,066,368"} <= lines


def test_profile_of_variants_and_what_they_leave_open(capsys: pytest.CaptureFixture[str]) -> None:
    for variant in ("tensorflow", "modern"):
        for family, build in (("ssd", ssd), ("ssdlite", ssdlite)):
            arguments = ["--architecture", family, f"--variant={variant}", "--backbone", "mobilenet_v1"]
            document = run_json(["profile", *arguments, "--scoring", "sigmoid"], capsys)
            expected = build(variant=variant, backbone="mobilenet_v1", scoring="sigmoid")
            assert from_options(document["architecture"]) == expected
    code, _, err = run(["profile", "--architecture", "ssdlite", "--variant", "mmdet"], capsys)
    assert code == 2
    assert "tensorflow" in err
    code, _, err = run(["profile", "--architecture", "ssdlite", "--scales", "0.1", "0.2"], capsys)
    assert code == 2
    assert "6 numbers" in err
    code, _, err = run(["profile", "--architecture", "mobilenet_v2", "--variant", "modern"], capsys)
    assert code == 2


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--architecture", "mobilenet_v1", "--expansion", "3"], "--expansion is no option of mobilenet_v1."),
        (["--variant", "modern"], "--variant is no option of mobilenet_v2."),
        (["--scales", "0.1"], "--scales is no option of mobilenet_v2."),
        (["--no-fine-level"], "--fine-level is no option of mobilenet_v2."),
        (["--architecture", "ssd", "--fine-level", "--no-fine-level"], "contradict each other"),
        (["--architecture", "ssd", "--backbone", "mobilenet_v1", "--expansion", "3"], "is no option of mobilenet_v1"),
        (["--architecture", "resnet"], "--architecture (='resnet') must be deeplab or mobilenet_v1"),
        (["--architecture", "ssd", "--classes", "None"], "--classes (=None) must be a whole number"),
        (["--model", "cifar10", "--width", "2"], "--width describes a network, and --model names one"),
        (["--model", "cifar10", "--architecture", "ssd"], "--architecture describes a network"),
    ],
)
def test_profile_refuses_options_of_other_networks(
    arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(["profile", *arguments], capsys)
    assert (code, out) == (2, "")
    assert text in err
    assert len(err.strip().splitlines()) == 1


def test_profile_takes_yes_and_no(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["profile", "--architecture", "ssdlite"]
    modern = run_json([*arguments, "--variant", "modern", "--no-fine-level", "--scales", *"123456"], capsys)
    assert modern["architecture"]["fine_level"] is False
    released = run_json([*arguments, "--no-reduced-first-level", "--folded"], capsys)["architecture"]
    assert released["reduced_first_level"] is False
    assert released["backbone"]["folded"] is True


def test_profile_of_a_model(small_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_json(["profile", "--model", small_model], capsys)["architecture"]["width"] == 0.35


def test_models(small_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cache = tmp_path / "own-cache"
    cache.mkdir()
    (cache / "mine.safetensors").write_bytes(small_model.read_bytes())
    (cache / "rotten.safetensors").write_bytes(b"rotten")
    code, out, err = run(["models", "--json"], capsys)
    rows = {row["name"]: row for row in json.loads(out)}
    assert code == 0
    assert rows["mine"]["where"] == "cached"
    assert rows["mine"]["parameters"] > 100_000
    assert rows["imagenet-v2-1.0-224"]["where"] == "download"
    assert rows["rotten"]["architecture"] == "damaged"
    assert "rotten" in err
    assert run(["models"], capsys)[0] == 0


def test_models_runtimes(capsys: pytest.CaptureFixture[str]) -> None:
    document = run_json(["models", "--runtimes"], capsys)
    built = native_version() is not None
    assert document["auto"] == ("native" if built else "numpy")
    assert {row["runtime"]: row["ready"] for row in document["runtimes"]} == {
        "native": built,
        "numpy": True,
        "torch": True,
    }


def test_a_reader_that_goes_away_is_no_error(small_model: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "linnet", "profile"], stdout=writer, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writer)
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_imagenet_figures(sample_data: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The scores that the converted files must reach on 500 pictures, and what the wrong padding costs."""
    from dataclasses import replace

    from linnet.checkpoint import load_checkpoint, save_checkpoint

    pictures, files = sample_data("imagenet-samples") / "dev", sample_data("tflite")
    least = {"mobilenet_v1_0.5_160_quant": 0.666, "mobilenet_v1_0.25_128_quant": 0.438}
    for name, top1 in least.items():
        assert run(["convert", files / f"{name}.tflite", "--out", tmp_path / f"{name}.safetensors"], capsys)[0] == 0
        assert run_json(["evaluate", pictures, "--model", tmp_path / f"{name}.safetensors"], capsys)["top1"] >= top1
    checkpoint = load_checkpoint(tmp_path / "mobilenet_v1_0.5_160_quant.safetensors")
    wrong = replace(checkpoint, architecture=checkpoint.architecture.with_options(padding="symmetric"))
    save_checkpoint(wrong, tmp_path / "wrong.safetensors")
    found = run_json(["evaluate", pictures, "--model", tmp_path / "wrong.safetensors"], capsys)["top1"]
    assert found < 0.68 - 0.05


@pytest.mark.slow
def test_imagenet_figures_of_the_large_networks(
    sample_data: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from dataclasses import replace

    from linnet.checkpoint import load_checkpoint, save_checkpoint

    pictures, files = sample_data("imagenet-samples") / "dev", sample_data("tflite")
    least = {"mobilenet_v2_1.0_224_quant": 0.882, "tf2_mobilenet_v2_1.0_224_ptq": 0.868}
    for name, top1 in least.items():
        path = tmp_path / f"{name}.safetensors"
        assert run(["convert", files / f"{name}.tflite", "--out", path], capsys)[0] == 0
        found = run_json(["evaluate", pictures, "--model", path], capsys)["top1"]
        assert found >= top1
        checkpoint = load_checkpoint(path)
        wrong = replace(checkpoint, architecture=checkpoint.architecture.with_options(padding="symmetric"))
        save_checkpoint(wrong, tmp_path / "wrong.safetensors")
        assert (
            run_json(["evaluate", pictures, "--model", tmp_path / "wrong.safetensors"], capsys)["top1"] <= found - 0.05
        )


def test_check_of_a_folder_with_errors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    generator = np.random.default_rng(5)
    for part, count in (("train", 12), ("val", 2)):
        for name in ("ant", "bee"):
            (tmp_path / part / name).mkdir(parents=True)
            for number in range(count):
                pixels = generator.integers(0, 255, (5, 5, 3), dtype=np.uint8)
                image = Image.fromarray(pixels).resize((40, 40), Image.Resampling.BICUBIC)
                image.save(tmp_path / part / name / f"{number}.png")
    code, out, err = run(["check", tmp_path], capsys)
    assert (code, err) == (0, "")
    assert "28 pictures checked" in out
    assert "nothing to complain of" in out
    (tmp_path / "val" / "owl").mkdir()
    (tmp_path / "val" / "ant" / "0.png").rename(tmp_path / "val" / "owl" / "0.png")
    for number in range(7):
        (tmp_path / "train" / "bee" / f"{number}.png").write_bytes(b"")
    code, out, err = run(["check", tmp_path, "--resolution", 96], capsys)
    assert (code, err) == (1, "")
    assert f"    {os.path.join('train', 'bee', '0.png')} is empty: 0 bytes.\n" in out
    assert "    and 2 more\n" in out
    assert "warning: 20 pictures have a shorter side below 48 pixels" in out
    code, out, _ = run(["check", tmp_path, "--json"], capsys)
    document = json.loads(out)
    assert (code, document["errors"], document["pictures"], document["checked"]) == (1, 2, 27, 27)
    assert document["classes"] == [
        {"name": "ant", "train": 12, "validation": 1},
        {"name": "bee", "train": 12, "validation": 2},
    ]
    broken = document["problems"][0]
    assert (broken["kind"], len(broken["files"])) == ("broken", 7)
    assert run(["check", tmp_path, "--limit", 0], capsys)[0] == 2
    code, out, err = run(["check", tmp_path / "nowhere"], capsys)
    assert (code, out, err.count("\n")) == (1, "", 1)


def test_check_of_many_classes_shows_the_largest_and_the_smallest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [f"{number}.png,class-{number:02},train" for number in range(50)]
    rows += [f"extra-{number}.png,class-07,train" for number in range(3)]
    (tmp_path / "labels.csv").write_text("\n".join(["file,label,split", *rows]))
    code, out, _ = run(["check", tmp_path, "--threads", 1], capsys)
    assert code == 1
    table = out.split("Pixels of")[0].splitlines()
    assert [line.split()[0] for line in table if "class-" in line][:2] == ["class-07", "class-00"]
    assert sum("class-" in line for line in table) == 20
    assert "… 30 classes …" in out
    assert "53 pictures cannot be read" in out
