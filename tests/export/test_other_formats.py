"""Do ncnn and ExecuTorch compute what the reference does, from what linnet writes for them?"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from networks import checkpoint_of
from quantised import quantised_checkpoint

from linnet.architecture import MobileNetV2
from linnet.architecture.ssdlite import ssdlite
from linnet.cli import main
from linnet.export import export

SMALL = MobileNetV2(width=0.35, resolution=32, classes=3)


@pytest.mark.parametrize("network", [SMALL, ssdlite(width=0.2, resolution=65, classes=2)], ids=["v2", "detector"])
def test_ncnn(tmp_path: Path, network: MobileNetV2, capsys: pytest.CaptureFixture[str]) -> None:
    for package in ("ncnn", "pnnx"):
        pytest.importorskip(package, reason="ncnn's files are written by pnnx and run by ncnn")
    result = export(checkpoint_of(network), tmp_path / "model", format="ncnn")
    assert result.difference is not None
    assert result.difference < 1e-3
    files = {"network.ncnn.param", "network.ncnn.bin", "linnet.json"}
    assert {path.name for path in (tmp_path / "model").iterdir()} == files
    assert main(["verify", str(tmp_path / "model")]) == 0
    (tmp_path / "model" / "network.ncnn.bin").write_bytes(b"")
    assert main(["verify", str(tmp_path / "model")]) == 1
    assert "linnet: " in capsys.readouterr().err
    broken = checkpoint_of(network)
    next(iter(broken.tensors.values()))[...] = np.nan
    with pytest.raises(ValueError, match="not written"):
        export(broken, tmp_path / "other", format="ncnn")
    assert not (tmp_path / "other").exists()


@pytest.mark.slow
def test_executorch(tmp_path: Path) -> None:
    pytest.importorskip("executorch", reason="the .pte file is written and run by executorch")
    result = export(quantised_checkpoint(SMALL), tmp_path / "model.pte")
    assert result.precision == "float32"
    assert result.difference is not None
    assert result.difference < 1e-4
    assert result.size_bytes == (tmp_path / "model.pte").stat().st_size
    assert main(["verify", str(tmp_path / "model.pte")]) == 0
