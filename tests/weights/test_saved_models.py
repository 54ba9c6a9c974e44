"""Are TensorFlow's SavedModels read as the graphs that they are, with the numbers that belong to each variable?"""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from networks import random_tensors
from tensorflow_graphs import graph_of, save_frozen, save_saved, write_table
from test_tensorflow_graphs import FIRST, LITE, SECOND, same_function, same_nodes
from tflite_writer import write_tflite

from linnet.architecture import MobileNetV2
from linnet.weights import read
from linnet.weights.crc32c import crc32c, masked
from linnet.weights.tensorflow_graph import graph_class, message_class


def frozen(architecture: Any = SECOND, **options: Any) -> Any:
    return graph_of(architecture.graph, random_tensors(architecture), **options)


def refusal(path: Path) -> str:
    with pytest.raises((ValueError, OSError)) as caught:
        read(path)
    text = str(caught.value)
    assert str(path) in text
    assert "\n" not in text
    return text


def changed(folder: Path, change: Any) -> Path:
    """The folder with another graph in it."""
    path = folder / "saved_model.pb"
    saved = message_class("SavedModel").FromString(path.read_bytes())
    meta = saved.meta_graphs[0]
    graph = graph_class().FromString(meta.graph_def)
    change(meta, graph)
    meta.graph_def = graph.SerializeToString()
    path.write_bytes(b"\x08\x01" + saved.SerializeToString())
    return folder


# Of RFC 3720, B.4, and of the catalogue of checksums.
@pytest.mark.parametrize(
    ("content", "checksum"),
    [
        (b"", 0),
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
    ],
)
def test_checksums_are_those_of_the_standard(content: bytes, checksum: int) -> None:
    assert crc32c(content) == checksum


@given(st.binary(max_size=600))
def test_checksums_of_any_length_are_those_of_the_definition(content: bytes) -> None:
    state = 0xFFFFFFFF
    for byte in content:
        state ^= byte
        for _ in range(8):
            state = state >> 1 ^ (0x82F63B78 if state & 1 else 0)
    assert crc32c(content) == state ^ 0xFFFFFFFF


def test_checksums_are_stored_as_leveldb_has_them() -> None:
    """What TensorFlow 2.21 wrote: the end of a table's empty block."""
    assert masked(crc32c(bytes(4) + b"\x01\0\0\0" + b"\0")).to_bytes(4, "little") == bytes.fromhex("c0f2a1b0")


@pytest.mark.parametrize("functions", [True, False], ids=["TensorFlow 2", "TensorFlow 1"])
@pytest.mark.parametrize(
    "architecture",
    [SECOND, FIRST, MobileNetV2(width=0.1, resolution=64, classes=4, hidden=(10,)), LITE],
    ids=["v2", "v1", "hidden", "ssdlite"],
)
def test_saved_models(architecture: Any, functions: bool, tmp_path: Path) -> None:
    same_function(save_saved(frozen(architecture), tmp_path / "saved", functions=functions), architecture)


def test_batch_norm_of_several_nodes_and_every_tensor(tmp_path: Path) -> None:
    same_nodes(save_saved(frozen(spread=True), tmp_path / "saved"), SECOND)


def test_the_file_an_archive_and_a_folder_around_it_are_the_same(tmp_path: Path) -> None:
    folder = save_saved(frozen(), tmp_path / "around" / "saved")
    same_function(folder / "saved_model.pb", SECOND)
    same_function(tmp_path / "around", SECOND)
    (folder / "saved_model.pb").rename(folder / "other.bin")
    same_function(folder / "other.bin", SECOND)
    (folder / "other.bin").rename(folder / "saved_model.pb")
    archive = Path(shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path / "around"))
    same_function(archive, SECOND)


def test_constants_need_no_variables(tmp_path: Path) -> None:
    """The Object Detection API of TensorFlow 1 wrote graphs that are frozen already, beside the frozen file."""
    folder = save_saved(frozen(), tmp_path / "saved", functions=False)

    def freeze(meta: Any, graph: Any) -> None:
        graph.CopyFrom(frozen())

    changed(folder, freeze)
    shutil.rmtree(folder / "variables")
    (folder / "variables").mkdir()
    same_function(folder, SECOND)
    save_frozen(frozen(), tmp_path / "frozen_inference_graph.pb")
    assert same_function(tmp_path, SECOND).notes[0] == "The folder holds one model: 'frozen_inference_graph.pb'."


def test_beside_another_network_it_is_not_chosen_in_silence(tmp_path: Path) -> None:
    save_saved(frozen(), tmp_path / "saved")
    write_tflite(tmp_path / "model.tflite", SECOND, random_tensors(SECOND))
    assert read(tmp_path).notes[0] == "The folder holds one model: 'model.tflite'."
    write_tflite(tmp_path / "second.tflite", SECOND, random_tensors(SECOND))
    assert "name one of its files, such as model.tflite or second.tflite" in refusal(tmp_path)


def test_teachable_machines_folder_says_its_classes_and_its_framing(tmp_path: Path) -> None:
    folder = save_saved(frozen(), tmp_path / "model.savedmodel")
    (tmp_path / "labels.txt").write_text("0 ant\n1 bee\n2 cat\n")
    archive = Path(shutil.make_archive(str(tmp_path.parent / "converted_savedmodel"), "zip", tmp_path))
    for path in (tmp_path, folder, folder / "saved_model.pb", archive):
        checkpoint = same_function(path, SECOND).checkpoint
        assert checkpoint.classes == ("ant", "bee", "cat")
        assert (checkpoint.preprocessing.resize, checkpoint.preprocessing.crop) == ("shorter_side", 1.0)


def test_keras_takes_whole_pictures(tmp_path: Path) -> None:
    folder = save_saved(frozen(), tmp_path / "saved")
    (folder / "keras_metadata.pb").write_bytes(b"\n\x03abc")
    contract = same_function(folder, SECOND).checkpoint.preprocessing
    assert (contract.resize, contract.crop) == ("squash", 1.0)


def test_what_the_graph_does_to_pixels_is_read(tmp_path: Path) -> None:
    scaled = frozen(scale=1 / 127.5, offset=-1.0)
    contract = same_function(save_saved(scaled, tmp_path / "saved"), SECOND).checkpoint.preprocessing
    assert contract.mean == (0.5, 0.5, 0.5) == contract.std


def test_one_of_several_signatures_is_named(tmp_path: Path) -> None:
    folder = save_saved(frozen(), tmp_path / "saved", signature="classify")
    assert not any("signature" in note for note in same_function(folder, SECOND).notes)

    def another(meta: Any, graph: Any) -> None:
        meta.signature_def.add().CopyFrom(meta.signature_def[0])
        meta.signature_def[1].key = "serving_default"
        meta.signature_def[0].value.outputs[0].value.name = "nowhere:0"

    notes = same_function(changed(folder, another), SECOND).notes
    assert "The SavedModel has the signatures classify, serving_default: 'serving_default' is read." in notes


def without_signature(meta: Any, graph: Any) -> None:
    del meta.signature_def[:]


def without_graph(meta: Any, graph: Any) -> None:
    graph.Clear()


def without_function(meta: Any, graph: Any) -> None:
    del graph.library.function[0]


def with_too_few_arguments(meta: Any, graph: Any) -> None:
    call = next(node for node in graph.node if node.name == "StatefulPartitionedCall")
    del call.input[-1]


def calling_itself(meta: Any, graph: Any) -> None:
    for function in graph.library.function:
        for node in function.node_def:
            if node.op == "StatefulPartitionedCall":
                node.attr["f"].func.name = "outer"


def with_another_kind_of_variable(meta: Any, graph: Any) -> None:
    call = next(node for node in graph.node if node.op == "VarHandleOp")
    call.op = "TemporaryVariable"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (without_signature, "it has no signature"),
        (without_graph, "is missing: it is cut off"),
        (without_function, "calls a function 'inner' that it does not have"),
        (with_too_few_arguments, "calls a function of"),
        (calling_itself, "call each other more than 50 deep"),
        (with_another_kind_of_variable, "is no MobileNet that linnet has"),
    ],
)
def test_graphs_that_make_no_sense_are_refused(change: Any, words: str, tmp_path: Path) -> None:
    assert words in refusal(changed(save_saved(frozen(), tmp_path / "saved"), change))


def test_lost_and_damaged_variables_are_named(tmp_path: Path) -> None:
    whole = save_saved(frozen(), tmp_path / "whole")
    names = sorted(path.name for path in (whole / "variables").iterdir())
    assert names == ["variables.data-00000-of-00002", "variables.data-00001-of-00002", "variables.index"]
    for name in names:
        path = shutil.copytree(whole, tmp_path / f"without {name}")
        (path / "variables" / name).unlink()
        assert name in refusal(path)
        (path / "variables" / name).write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
        with pytest.raises(OSError, match="is a Git LFS pointer"):
            read(path)
    path = shutil.copytree(whole, tmp_path / "flipped")
    data = path / "variables" / names[0]
    content = bytearray(data.read_bytes())
    content[1000] ^= 4
    data.write_bytes(content)
    assert "are not those that were written" in refusal(path)
    path = shutil.copytree(whole, tmp_path / "index")
    index = path / "variables" / "variables.index"
    content = bytearray(index.read_bytes())
    content[30] ^= 4
    index.write_bytes(content)
    assert "its list of variables is not the one that was written" in refusal(path)
    index.write_bytes(content[:-1])
    assert "its list of variables has no end" in refusal(path)


def test_labels_of_another_number_are_left_out(tmp_path: Path) -> None:
    folder = save_saved(frozen(), tmp_path / "saved")
    (folder / "assets").mkdir()
    (folder / "assets" / "labels.txt").write_text("ant\nbee\n")
    conversion = same_function(folder, SECOND)
    assert conversion.checkpoint.classes is None
    assert "There are 2 labels beside it, for 3 outputs: they are left out." in conversion.notes


def test_one_label_of_one_output_is_the_second_of_two_classes(tmp_path: Path) -> None:
    alone = MobileNetV2(width=0.1, resolution=64, classes=1)
    folder = save_saved(frozen(alone, scores="Sigmoid"), tmp_path / "saved")
    (folder / "labels.txt").write_text("cat\n")
    assert read(folder).checkpoint.classes == ("not cat", "cat")


def test_of_several_parts_that_restore_the_own_one_counts(tmp_path: Path) -> None:
    """As a graph of TensorFlow 1 whose training began with other weights, or with averages."""

    def another(meta: Any, graph: Any) -> None:
        for node in [each for each in graph.node if each.name.startswith("save/")]:
            copied = graph.node.add()
            copied.CopyFrom(node)
            copied.name = node.name.replace("save/", "init/")
            copied.input[:] = [name.replace("save/", "init/") for name in node.input]
            if node.name == "save/names":
                texts = copied.attr["value"].tensor.string_val
                texts[:] = list(texts)[::-1]

    same_function(changed(save_saved(frozen(), tmp_path / "saved", functions=False), another), SECOND)


def calling_nothing(meta: Any, graph: Any) -> None:
    function = graph.library.function.add()
    function.signature.name = "empty"
    for number in range(2):
        function.node_def.add(name=f"call{number}", op="empty")
    graph.node.add(name="start", op="empty")


def with_a_long_name(meta: Any, graph: Any) -> None:
    graph.node[0].name = "x" * 1001


def with_many_nodes(meta: Any, graph: Any) -> None:
    for _ in range(500_001):
        graph.node.add()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (calling_nothing, "call each other more than 50 deep or 10,000 times"),
        (with_a_long_name, "a name of 1,001 characters"),
        (with_many_nodes, "more than 500,000 nodes"),
    ],
)
def test_hostile_graphs_end_soon(change: Any, words: str, tmp_path: Path) -> None:
    assert words in refusal(changed(save_saved(frozen(), tmp_path / "saved"), change))


def rewritten(folder: Path, rows: dict[bytes, bytes], *, times: int = 1) -> Path:
    (folder / "variables" / "variables.index").write_bytes(write_table(rows, times=times))
    return folder


def test_hostile_tables_end_soon(tmp_path: Path) -> None:
    folder = save_saved(frozen(), tmp_path / "saved")
    header = message_class("BundleHeader")(num_shards=2).SerializeToString()
    assert "makes no sense" in refusal(rewritten(folder, {b"": header, b"a" * 5000: b"x"}))
    assert "names a part of itself twice" in refusal(rewritten(folder, {b"": header, b"a": b"x"}, times=1000))
    entry = message_class("BundleEntry")(dtype=1)
    for _ in range(9):
        entry.shape.dim.add(size=1)
    rows = {b"": header} | {
        f"all/{n}/.ATTRIBUTES/VARIABLE_VALUE".encode(): entry.SerializeToString() for n in range(400)
    }
    assert "has 9 sides" in refusal(rewritten(folder, dict(sorted(rows.items()))))


def test_names_cannot_turn_a_terminal(tmp_path: Path) -> None:
    def strange(meta: Any, graph: Any) -> None:
        meta.signature_def[0].value.outputs[0].value.name = "x\x1b[31m\0\u202e:0"

    text = refusal(changed(save_saved(frozen(), tmp_path / "saved"), strange))
    assert "is missing" in text
    assert text.isprintable()


def test_what_is_no_saved_model_is_named(tmp_path: Path) -> None:
    path = tmp_path / "saved" / "saved_model.pb"
    path.parent.mkdir()
    for content, words in (
        (b"", "its saved_model.pb is empty"),
        (b"\x08\x01\x12\xff\x01abc", "is cut off or altered, or no SavedModel"),
        (b"\x08\x01", "its saved_model.pb holds no graph"),
    ):
        path.write_bytes(content)
        assert words in refusal(path.parent)
    path.rename(path.with_name("saved_model.pbtxt"))
    (path.parent / "fingerprint.pb").touch()
    assert "is a SavedModel as text" in refusal(path.parent)


def test_several_saved_models_are_named(tmp_path: Path) -> None:
    save_saved(frozen(), tmp_path / "a")
    save_saved(frozen(FIRST), tmp_path / "b")
    assert "holds several SavedModels: name one of its folders, such as a or b" in refusal(tmp_path)
    archive = tmp_path / "c.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for name in "ab":
            file.write(tmp_path / name / "saved_model.pb", f"{name}/saved_model.pb")
    assert "unpack it" in refusal(archive)


def test_numbers_belong_to_variables_by_what_restores_them(tmp_path: Path) -> None:
    """Two variables of one shape change places with the names of their numbers, and with nothing else."""

    def exchange(meta: Any, graph: Any) -> None:
        restore = next(each for each in graph.library.function if each.signature.name == "restore")
        places = [each.name for each in restore.signature.input_arg][1:]
        mean, shift = places.index("stem_mean"), places.index("stem_shift")
        names = restore.node_def[0].attr["value"].tensor.string_val
        names[mean], names[shift] = names[shift], names[mean]

    found = read(changed(save_saved(frozen(), tmp_path / "saved"), exchange)).checkpoint.tensors
    tensors = dict(random_tensors(SECOND))
    tensors["stem.mean"], tensors["stem.shift"] = tensors["stem.shift"], tensors["stem.mean"]
    expected = read(save_frozen(graph_of(SECOND.graph, tensors), tmp_path / "graph.pb")).checkpoint.tensors
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values)
