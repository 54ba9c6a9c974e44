"""The colours of all that is drawn: classes on pictures, and what figures compare. A thing has one everywhere."""

from __future__ import annotations

from types import MappingProxyType

CLASSES = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167))
"""Of classes, in boxes and in label maps alike: Okabe and Ito's, which the colour-blind can tell apart too. A class has
the one of its index."""

CLASS_LINES = ("#c48700", "#4999c6", "#008662", "#a39b2d", "#006197", "#b55000", "#ad678e")
"""The same as lines on white, darker as far as they would not stand out."""

FOR, AGAINST = CLASSES[5], CLASSES[4]
"""What spoke for a class, and what against it: vermilion and blue."""

# Of lines and marks in figures, on white.
BLUE, ORANGE, TEAL, PURPLE = "#1565c0", "#e07b00", "#00897b", "#7b1fa2"
BROWN, RED, GREY = "#795548", "#b00020", "#777777"
INK, QUIET, GRID = "#222222", "#555555", "#e6e6e6"
"""Text and outlines; what is said in passing; lines to read a figure by."""

SERIES = (BLUE, ORANGE, TEAL, PURPLE, BROWN, RED, GREY)
"""Of what has no colour of its own, in this order."""

MOBILENET_V2, MOBILENET_V1 = BLUE, ORANGE
"""The second network, and whatever the paper proposes; the first, and whatever it is compared with."""

ENGINE, TORCH, OTHER = TEAL, PURPLE, GREY
"""linnet's engine, torch, and all other runtimes."""

BLUE_TINTS = ("#b9d2ee", "#dbe8f6", "#8fb6e2")
BARE_TINTS = ("#ffffff", "#ffffff", "#f1f5fa")
GREY_TINTS = ("#ececec", "#f6f6f6", "#dcdcdc")
"""Front, top and side of a body that the light falls on from above."""

HATCHING, ORANGE_TINT, ORANGE_LIGHT = "#8fb2dc", "#fbe3c6", "#f2bd7c"

MODELS = MappingProxyType(
    {
        **{"imagenet": BLUE, "tensorflow2": BLUE, "cifar10": ORANGE, "clothing": TEAL, "blood-cells": RED},
        **{"torchvision": PURPLE, "tensorflow-v1": BROWN},
        **{"figure6-width0.35": "#bdbdbd", "figure6-width0.5": "#9e9e9e"},
        **{"figure6-width0.75": "#757575", "figure6-width1.0": "#424242"},
    }
)
"""Of trained networks that several figures show, by the names of their results; widths are shades of one grey."""

RIGHT, WRONG = "#1b5e20", RED
"""What is true, kept or chosen; what is wrong, and bounds."""

RIGHT_NEAR = "#7cb87f"
"""What is true and not what is spoken of."""

MARGIN = "#f0f0f0"
"""What lies around a picture that does not fill its tile."""
