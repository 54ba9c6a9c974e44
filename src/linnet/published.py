"""MobileNets that others publish: where each file is, its hash, its licence and its published score.

Whoever publishes no more than this is listed with what there is: a score that nobody has published stays empty, and so
does a hash. MediaPipe's classifiers are EfficientNets and its detectors on MobileNetV2 have feature pyramids: it
publishes nothing that linnet could read but what stands under Coral.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field

CORAL = "https://raw.githubusercontent.com/google-coral/test_data/104342d2d3480b3e66203073dac24f4e2dbb4c41"
TORCHVISION = "https://download.pytorch.org/models"
TIMM = "https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-weights"
D_LI14 = "https://raw.githubusercontent.com/d-li14/mobilenetv2.pytorch/master/pretrained"
KERAS = "https://storage.googleapis.com/tensorflow/keras-applications"

ADDRESSES = ("https://", "http://", "file://")
"""How that of a mirror may begin."""


@dataclass(frozen=True)
class Download:
    """A file of other people that linnet fetches and converts.

    `LINNET_MIRROR`, where it is set and not empty, replaces the address up to the file's name, for networks with a
    mirror.

    Attributes:
        file: its name.
        sha256: in hexadecimal digits; only the first eight where the source gives no more, in the file's name; empty
            where it gives none.
        size_bytes: None where it is not known beforehand.
        description: network, data and training.
        source: address up to the file's name.
        licence: of the weights.
        score: top-1 as published, a share of 1; empty where nobody has published it.
        width: the paper's alpha.
        resolution: side of the pictures in pixels.
        says_size: whether the file itself says for which size of picture it is.
    """

    file: str
    sha256: str
    size_bytes: int | None
    description: str
    source: str = CORAL
    licence: str = "Apache-2.0"
    score: dict[str, float] = field(default_factory=dict)
    width: float | None = None
    resolution: int | None = None
    says_size: bool = True

    @property
    def url(self) -> str:
        """Where the file is fetched from.

        Raises:
            ValueError: if `LINNET_MIRROR` is no address.
        """
        mirror = os.environ.get("LINNET_MIRROR") or self.source
        if not mirror.startswith(ADDRESSES):
            raise ValueError(
                f"LINNET_MIRROR (={mirror!r}) must be an address that begins with {' or '.join(ADDRESSES)}: that of a "
                "folder with the files under their own names."
            )
        return f"{mirror.rstrip('/')}/{self.file}"


def _coral() -> Iterator[tuple[str, Download]]:
    """Google's Coral project at one fixed commit."""
    for name, file, sha256, size_bytes, description, width, resolution in (
        (
            "imagenet-v2-1.0-224",
            "mobilenet_v2_1.0_224_quant.tflite",
            "7aad0c74c5e3c06e5eb3c827e13304fdd68a83da6087d92ee169c24ff9fd4776",
            3_610_798,
            "MobileNetV2 1.0, ImageNet, trained for 8 bits",
            1.0,
            224,
        ),
        (
            "imagenet-v2-1.0-224-tf2",
            "tf2_mobilenet_v2_1.0_224_ptq.tflite",
            "5d3137241276e79c86d14a74fe43581398ae0e815191d3dba45495b810840e8c",
            4_070_174,
            "MobileNetV2 1.0, ImageNet, quantised after training",
            1.0,
            224,
        ),
        (
            "imagenet-v1-0.5-160",
            "mobilenet_v1_0.5_160_quant.tflite",
            "3cc6d2ca460abd2e0f699a6d0d2550c6b61c6e3b0e27a3616e384ea74cb86f43",
            1_392_846,
            "MobileNetV1 0.5, ImageNet, trained for 8 bits",
            0.5,
            160,
        ),
        (
            "imagenet-v1-0.25-128",
            "mobilenet_v1_0.25_128_quant.tflite",
            "cb273c23ee76374b05b9583177e28aa19744858a7679c56a250e83d0333da785",
            525_598,
            "MobileNetV1 0.25, ImageNet, trained for 8 bits",
            0.25,
            128,
        ),
        (
            "features-v1-1.0-224",
            "mobilenet_v1_1.0_224_quant_embedding_extractor.tflite",
            "f409ef4f73fcbb9667841965623c5c8524aac33d41b9bf5f3667161fb4a76319",
            3_251_736,
            "MobileNetV1 1.0 without classifier, ImageNet",
            1.0,
            224,
        ),
    ):
        yield name, Download(file, sha256, size_bytes, description, width=width, resolution=resolution)


def _torchvision() -> Iterator[tuple[str, Download]]:
    whole = "b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889"
    for name, sha256, size_bytes, more, top1 in (
        ("torchvision-v2-1.0-224", whole, 14_212_972, "", 0.71878),
        ("torchvision-v2-1.0-224-600", "7ebf99e0", None, ", 600 epochs", 0.72154),
    ):
        yield (
            name,
            Download(
                f"mobilenet_v2-{sha256[:8]}.pth",
                sha256,
                size_bytes,
                f"MobileNetV2 1.0, ImageNet, float{more}",
                TORCHVISION,
                "BSD-3-Clause",
                {"top1": top1},
                1.0,
                224,
            ),
        )


def _timm() -> Iterator[tuple[str, Download]]:
    for width, file, top1 in (
        ("0.5", "050-3d30d450", 0.6593),
        ("1.0", "100_ra-b33bc2c4", 0.7291),
        ("1.1d", "110d_ra-77090ade", 0.7506),
        ("1.2d", "120d_ra-5987e2ed", 0.7730),
        ("1.4", "140_ra-21a4e913", 0.7653),
    ):
        number = width.removesuffix("d")
        yield (
            f"timm-v2-{width}-224",
            Download(
                f"mobilenetv2_{file}.pth",
                file.rpartition("-")[2],
                None,
                f"MobileNetV2 {number}{', deeper' * width.endswith('d')}, ImageNet, float",
                TIMM,
                score={"top1": top1},
                width=float(number),
                resolution=224,
            ),
        )


def _d_li14() -> Iterator[tuple[str, Download]]:
    """The only published widths below 0.35, and V2 trained at smaller sizes."""
    for width, resolution, file, top1 in (
        (1.0, 224, "1.0-0c6065bc", 0.72192),
        (0.75, 224, "0.75-dace9791", 0.69952),
        (0.5, 224, "0.5-eaa6f9ad", 0.64592),
        (0.35, 224, "0.35-b2e15951", 0.60092),
        (0.25, 224, "0.25-b61d2159", 0.52352),
        (0.1, 224, "0.1-7d1d638a", 0.34896),
        (1.0, 192, "192x192-e423d99e", 0.71076),
        (1.0, 160, "160x160-64dc7fa1", 0.69504),
        (1.0, 128, "128x128-fd66a69d", 0.66740),
        (1.0, 96, "96x96-ff0e83d8", 0.62696),
    ):
        yield (
            f"d-li14-v2-{width}-{resolution}",
            Download(
                f"mobilenetv2_{file}.pth",
                file.rpartition("-")[2],
                None,
                f"MobileNetV2 {width}, ImageNet, float",
                D_LI14,
                score={"top1": top1},
                width=width,
                resolution=resolution,
                says_size=False,
            ),
        )


def _keras() -> Iterator[tuple[str, Download]]:
    """Keras Applications: TensorFlow's own first weights, converted there, with TensorFlow's figures."""
    sizes = (224, 192, 160, 128, 96)
    second: dict[float, tuple[float, ...]] = {
        1.4: (0.750,),
        1.3: (0.744,),
        1.0: (0.718, 0.707, 0.688, 0.653, 0.603),
        0.75: (0.698, 0.687, 0.664, 0.632, 0.588),
        0.5: (0.654, 0.639, 0.610, 0.577, 0.512),
        0.35: (0.603, 0.582, 0.557, 0.508, 0.455),
    }
    for width, scores in second.items():
        for resolution, top1 in zip(sizes, scores, strict=False):
            file = f"mobilenet_v2_weights_tf_dim_ordering_tf_kernels_{width}_{resolution}.h5"
            name = f"keras-v2-{width}-{resolution}"
            yield name, _of_keras(f"{KERAS}/mobilenet_v2", file, "MobileNetV2", width, resolution, {"top1": top1})
    # Of MobileNetV1 the documentation has figures along two lines only.
    first = {(1.0, 224): 0.706, (1.0, 192): 0.691, (1.0, 160): 0.672, (1.0, 128): 0.644}
    first |= {(0.75, 224): 0.684, (0.5, 224): 0.637, (0.25, 224): 0.506}
    for width, text in ((1.0, "1_0"), (0.75, "7_5"), (0.5, "5_0"), (0.25, "2_5")):
        for resolution in sizes[:-1]:
            file = f"mobilenet_{text}_{resolution}_tf.h5"
            score = {"top1": first[width, resolution]} if (width, resolution) in first else {}
            name = f"keras-v1-{width}-{resolution}"
            yield name, _of_keras(f"{KERAS}/mobilenet", file, "MobileNetV1", width, resolution, score)


def _of_keras(source: str, file: str, network: str, width: float, resolution: int, score: dict[str, float]) -> Download:
    description = f"{network} {width}, ImageNet, float"
    return Download(file, "", None, description, source, "Apache-2.0", score, width, resolution, says_size=False)


DOWNLOADS = {**dict(_coral()), **dict(_torchvision()), **dict(_timm()), **dict(_d_li14()), **dict(_keras())}
"""Name → where its weights come from."""
