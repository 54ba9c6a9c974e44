"""The named recipes: each says what it is for, what it costs and what to expect."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from linnet.training.classification_recipe import ClassificationRecipe
from linnet.training.detection_recipe import DetectionRecipe
from linnet.training.recipe import Recipe
from linnet.training.segmentation_recipe import SegmentationRecipe

FINETUNE = ClassificationRecipe(
    name="finetune",
    about="""
    The default: a trained network learns your classes. What is not given is decided from the number of pictures.

    Command: `linnet train clothing/ --out run/` (10 classes, 3,068 pictures, ImageNet weights, 224 pixels). Machine:
    one core of an AMD EPYC, 35 minutes. Score: 90.3 % of 372 test pictures, 2026-11-23.
    """,
    epochs=None,
    optimizer="adamw",
    learning_rate=None,
    weight_decay=0.02,
    clip=5.0,
    average=None,
    batch_norm="auto",
    warmup_epochs=None,
    least_area=None,
    colour=0.2,
)

FEATURES = ClassificationRecipe(
    name="features",
    about="""
    The right first thing on a small machine: the frozen network's features once, then a classifier in seconds.

    Command: `linnet train clothing/ --out run/ --recipe features`. Machine: two cores of an AMD EPYC, 2.4 minutes, of
    which seconds from the second time on. Score: 89.8 % of 372 test pictures, 2026-11-23.
    """,
    features_only=True,
    epochs=1,
    crop="whole",
    flip=0.0,
    average=0.0,
    label_smoothing=0.0,
    batch_norm="frozen",
)

SCRATCH_SMALL = ClassificationRecipe(
    name="scratch-small",
    about="""
    32-pixel pictures from nothing: early strides reduced, shifted crops, one cosine.

    Command: `linnet train cifar10/ --out run/ --recipe scratch-small --width 0.5 --early-stride 1 --validation 0.02
    --batch 128 --learning-rate 0.15 --epochs 24`. Machine: one core of an AMD EPYC, 99 minutes. Score: 86.8 % of 10,000
    test pictures, 87.1 % after ten more epochs from 0.12 and 88.4 % after 24 more from 0.15, started from the last, in
    258 minutes, 2026-11-23; 83.4 % in 47 minutes without `--early-stride 1`. More epochs and a larger width give more.
    """,
    start="none",
    resolution=32,
    epochs=32,
    batch=256,
    learning_rate=0.3,
    weight_decay=5e-4,
    average=0.999,
    crop="shifted",
    dropout=0.0,
)

IMAGENET = ClassificationRecipe(
    name="imagenet",
    about="""
    A modern recipe for ImageNet: 250 epochs of SGD along one cosine, crop and flip only.

    Command: `torchrun --nproc-per-node 8 -m -- linnet train imagenet/ --out run/ --recipe imagenet`. Expected: 72.8 %,
    as d-li14 published it for this schedule, the best plain MobileNetV2 1.0 of 250 epochs that is known. torchvision's
    600 epochs with mixup, cutmix and random policies end at 72.2 %: a network this small has no capacity to spare for
    strong mixing, and gains more from length. Not run by us: ImageNet is not at hand.
    """,
    start="none",
    resolution=224,
    epochs=250,
    batch=1024,
    learning_rate=0.4,
    warmup_epochs=5.0,
    label_smoothing=0.1,
)

PAPER = ClassificationRecipe(
    name="paper",
    about="""
    The paper's own: RMSProp, 0.045 x 0.98 every epoch, weight decay 4e-5, batch 96 (section 6.1; TF-slim).

    Command: `linnet train imagenet/ --out run/ --recipe paper`. Expected: 71.8 to 72.0 % after some 400 epochs, as
    TF-slim published it; on eight GPUs multiply the rate by eight, as its script does. Not run by us, for want of
    ImageNet. What the paper does not say (smoothing, average, augmentation, weights at the start) is TF-slim's.
    """,
    start="none",
    resolution=224,
    epochs=300,
    batch=96,
    optimizer="rmsprop",
    initial="released",
    learning_rate=0.045,
    schedule="exponential",
    warmup_epochs=0.0,
    least_area=0.05,
    colour=0.125,
)

DETECT_FINETUNE = DetectionRecipe(
    name="detect-finetune",
    about="""
    The default where the data have boxes: a classifier's backbone, or a detector, learns your objects.

    What is not given is decided from the number of pictures. It takes 256 pixels, at which a step takes little more
    than half the time that it takes at 320; `--resolution 320` is for who has a GPU or patience, and was not compared.

    Command: `linnet train bccd-coco/ --out run/` (3 classes, 205 pictures, ImageNet weights). Machine: one core of an
    AMD EPYC, 11 minutes. Score: AP 0.563, AP50 0.899 on 72 test pictures, 2026-11-23.
    """,
    resolution=256,
    optimizer="adamw",
    learning_rate=None,
    weight_decay=0.02,
    clip=10.0,
    average=None,
    batch_norm="auto",
    warmup_epochs=None,
    least_area=None,
    colour=0.2,
)

DETECT_PAPER = DetectionRecipe(
    name="detect-paper",
    about="""
    The released detector's own: RMSProp at 0.004, batch 24, mined sigmoid loss, SSD's crops, no colours.

    Command: `linnet train coco/ --out run/ --recipe detect-paper --variant tensorflow`. Expected: 22 AP on COCO, as the
    paper (22.1, test-dev) and TensorFlow's zoo published it, after 200,000 steps of 24 pictures. Not run by us, for
    want of COCO. Source: `ssdlite_mobilenet_v2_coco.config` of TensorFlow's Object Detection API.
    """,
    epochs=41,
    batch=24,
    repeats=1,
    optimizer="rmsprop",
    learning_rate=0.004,
    schedule="constant",
    warmup_epochs=0.0,
    least_area=0.1,
)

SEGMENT_FINETUNE = SegmentationRecipe(
    name="segment-finetune",
    about="""
    The default where the data have masks: a classifier's backbone, a detector's, or a segmenter learns your classes.
    What is not given is decided from the number of pictures: 20 are shown 4,800 times in all, 367 nearly 30,000 times.

    Command: `linnet train camvid/ --out run/` (367 pictures of 480 x 360, ImageNet weights). Machine: one core of an
    AMD EPYC, the other busy, 53 to 114 minutes. Score: mean IoU 0.629 (0.614 to 0.641), 0.621 (0.605 to 0.634) and
    0.623 (0.608 to 0.635) of 233 test pictures with seeds 0, 1 and 2, 2026-11-30.
    Twenty drawn slices of 512 x 512 with membranes two pixels wide in strong noise: 7.0 minutes, IoU of the membrane
    0.828 on six further slices.
    """,
    optimizer="adamw",
    learning_rate=None,
    head_rate=5.0,
    weight_decay=0.02,
    clip=10.0,
    average=None,
    batch_norm="auto",
    warmup_epochs=None,
    dropout=0.0,
    view_side=320,
    colour=0.4,
)

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (FINETUNE, FEATURES, SCRATCH_SMALL, IMAGENET, PAPER, DETECT_FINETUNE, DETECT_PAPER, SEGMENT_FINETUNE)
}
"""Name on the command line → recipe."""


def recipe_from(name: str, values: dict[str, Any]) -> Recipe:
    """A named recipe with other values, as `dataclasses.asdict` wrote them down.

    Raises:
        KeyError: if there is no recipe of this name.
        TypeError: on a field that it does not have.
        ValueError: on a value that makes no sense.
    """
    return replace(RECIPES[name], **values)
