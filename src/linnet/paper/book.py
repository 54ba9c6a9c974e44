"""The paper in our numbers: all pages in one readable text, in the order of the idea rather than of the paper."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from linnet.files import write_atomically
from linnet.machine import processor_name
from linnet.paper.page import Page

TITLE = "The paper in our numbers"


class Chapter(NamedTuple):
    """A heading, what a reader should know before the pages, and the names of the pages."""

    heading: str
    text: str
    pages: Sequence[str] = ()


CHAPTERS = (
    Chapter(
        "The idea in a minute",
        "A convolution mixes channels and looks around at the same time. MobileNetV1 does the two one after the other: "
        "a *depthwise* 3x3 looks around in every channel for itself, then a *pointwise* 1x1 mixes the channels. That "
        "costs an eighth to a ninth. What remains expensive is the mixing, and it grows with the square of the "
        "channels.\n\n"
        "MobileNetV2 (Sandler et al., CVPR 2018) keeps the channels few where tensors are passed on, and many only "
        "inside a block, for the step that is cheap in many channels: it *expands* a thin tensor t times by a 1x1, "
        "*filters* the wide one depthwise, and *projects* it back to a thin one. Three things follow, and each is a "
        "claim that can be checked: the projection must be **linear**, the shortcut belongs between the **thin** ends, "
        "and the wide tensor need **never exist whole**.",
        ("table1", "figure2"),
    ),
    Chapter(
        "Why the bottleneck is linear",
        "ReLU sets what is negative to zero. In many dimensions that loses little: a point that is cut in some "
        "coordinates can be told from the others. In few dimensions whole regions fall onto one point, and no later "
        "layer can part them again. So the thin end of a block gets no ReLU; its wide inside may have one, as long as "
        "it is wide enough. Whether trained networks are like that is measured here too: how many dimensions their "
        "bottlenecks really use, and how many channels stay positive after each expansion.",
        ("figure1", "manifold", "figure7"),
    ),
    Chapter(
        "Why the residual is inverted",
        "A shortcut lets the gradient pass and a block learn a difference. In a residual network it joins the wide "
        "ends of a block that is thin inside. Here it is the other way about: the thin ends hold the information, and "
        "the wide inside is only a way of computing. Joining thin ends also costs less memory, since what a shortcut "
        "joins has to be kept.",
        ("figure3", "figure4"),
    ),
    Chapter(
        "Do the two decisions matter?",
        "The paper trains each variant once on ImageNet. At a scale that fits a laptop they can be trained several "
        "times, from different seeds, and the differences get error bars.",
        ("figure6", "sweeps"),
    ),
    Chapter(
        "The network, and what it costs",
        "The rest is arithmetic: a table of rows, each a number of equal blocks. Two dials make a family of it: the "
        "*width* multiplies all channels, the *resolution* is the side of the picture. Costs are derived from the "
        "same description that builds the network, so they are exact.",
        ("table2", "table4", "figure5"),
    ),
    Chapter(
        "The block as one operation",
        "Between filter and projection nothing mixes the channels. So a block may be computed for some of its inner "
        "channels at a time, and the results summed: that is section 5.1, and its t is the number of such *splits*, "
        "not the expansion. What has to exist at once are the thin ends and one slice of the inside.",
        ("table3", "section5.1"),
    ),
    Chapter(
        "Detection and segmentation",
        "The same trick of parting looking around and mixing, used in the heads of a detector, is SSDLite. For "
        "segmentation the paper puts a thin DeepLabv3 head on the last bottleneck.",
        ("table5", "table6", "table7"),
    ),
)


def write_book(pages: Mapping[str, Page], missing: Mapping[str, str], path: Path) -> list[Path]:
    """Writes the text and, in a folder of its name beside it, the pictures; returns their paths.

    Args:
        pages: by name; those of no chapter are refused.
        missing: names of the others, and why they could not be made: it is said in their place.
        path: of the text, such as docs/paper.md. The pictures of a name without suffix are in NAME-pictures.
    """
    known = {name for chapter in CHAPTERS for name in chapter.pages}
    if unplaced := (set(pages) | set(missing)) - known:
        raise KeyError(f"No chapter has {', '.join(sorted(unplaced))}.")
    # A name without a suffix is the text's; the folder needs another.
    folder = path.with_suffix("") if path.suffix else path.with_name(f"{path.name}-pictures")
    pictures = [folder / f"{page.name}.png" for page in pages.values() if page.plot is not None]
    if pictures:
        folder.mkdir(parents=True, exist_ok=True)
    for page, picture in zip((page for page in pages.values() if page.plot is not None), pictures, strict=True):
        assert page.plot is not None
        page.plot.savefig(picture, dpi=90)
    write_atomically(path, ("\n\n".join(_parts(pages, missing, f"{quote(folder.name)}/")) + "\n").encode())
    return [path, *pictures]


def _parts(pages: Mapping[str, Page], missing: Mapping[str, str], folder: str) -> Iterator[str]:
    yield f"# {TITLE}"
    yield (
        "Every table and figure of MobileNetV2, made again by linnet's own code beside the printed values: to the "
        "digit where it is arithmetic, with error bars where it is training. Each ends with the command that makes it; "
        "this page is made by `linnet paper all --book docs/paper.md`. Times of tables 4 and 6 and "
        f"of section 5.1 are of the machine that made it: {processor_name()}, one thread; trainings ran where their "
        "results were made."
    )
    found = [(page.title, page.finding) for name, page in pages.items() if page.finding]
    if found:
        yield "## In short"
        yield "\n".join(f"* {title}. {finding}" for title, finding in found)
    for chapter in CHAPTERS:
        yield f"## {chapter.heading}"
        yield chapter.text
        for name in chapter.pages:
            if name in pages:
                yield pages[name].markdown(level=3, folder=folder).rstrip()
            elif name in missing:
                yield f"*{name} is not here: {missing[name]}*"
