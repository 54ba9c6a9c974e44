"""Does it all fit together: anchors, matching, losses, the file, and what the predictor finds?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import linnet
from linnet import detection, nn
from linnet.architecture import Detector
from linnet.architecture.ssdlite import ssd, ssdlite
from linnet.detection.losses import focal_loss, mined_loss
from linnet.detection.matching import assign
from linnet.images import Preprocessing, normalise

SIDE = 96
COLOURS = ((220, 40, 40), (40, 90, 220))


def draw(
    generator: np.random.Generator, count: int
) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.int64]]:
    """A grey picture with up to three coloured rectangles that do not overlap, their boxes and colours."""
    pixels = generator.integers(110, 140, (SIDE, SIDE, 3)).astype(np.uint8)
    boxes, classes = [], []
    for column in range(count):
        width, height = generator.integers(14, 30, 2)
        x, y = column * 32 + int(generator.integers(0, 32 - width + 1)), int(generator.integers(0, SIDE - height))
        kind = int(generator.integers(2))
        pixels[y : y + height, x : x + width] = COLOURS[kind]
        boxes.append((x, y, x + width, y + height))
        classes.append(kind)
    return pixels, np.array(boxes, np.float32).reshape(-1, 4), np.array(classes, np.int64)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("detector", "focal"),
    [
        (ssdlite(variant="modern", width=0.35, resolution=SIDE, classes=2), False),
        (ssd(variant="modern", scoring="sigmoid", width=0.35, resolution=SIDE, classes=2), True),
    ],
)
def test_eight_pictures_are_learned_by_heart(detector: Detector, focal: bool, tmp_path: Path) -> None:
    generator = np.random.default_rng(4)
    pictures = [draw(generator, number % 4) for number in range(8)]
    contract = Preprocessing(size=(SIDE, SIDE), resize="squash", interpolation="nearest")
    pixels = np.stack([picture for picture, _, _ in pictures])
    images = torch.from_numpy(normalise(pixels, contract)).permute(0, 3, 1, 2).contiguous()
    anchors = torch.from_numpy(detection.anchors(detector))
    boxes = [torch.from_numpy(own / SIDE) for _, own, _ in pictures]
    targets = assign(anchors, boxes, [torch.from_numpy(own) for _, _, own in pictures])
    network = nn.build(detector, generator=torch.Generator().manual_seed(0)).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 140)
    for _ in range(140):
        offsets, logits = network(images)
        losses: Any = (
            focal_loss(offsets, logits, targets)
            if focal
            else mined_loss(offsets, logits, targets, scoring=detector.scoring)
        )
        optimizer.zero_grad()
        (losses["boxes"] + losses["classes"]).backward()
        optimizer.step()
        schedule.step()
    nn.save(network, tmp_path / "learned.safetensors", preprocessing=contract, classes=("red", "blue"))
    predict = linnet.load(tmp_path / "learned.safetensors")
    for picture, own, classes in pictures:
        # Seen twice as wide as it was learned: boxes are of what is shown.
        result = predict(picture.repeat(2, axis=1))
        assert len(result) == len(own)
        if len(own):
            overlaps = detection.iou(own * np.array([2, 1, 2, 1], np.float32), result.boxes)
            assert overlaps.max(axis=1).min() > 0.7
            assert result.indices[overlaps.argmax(axis=1)].tolist() == classes.tolist()
