"""load() → Predictor: the preprocessing contract, a runtime, and names for what comes out."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

import numpy as np

from linnet.architecture import Architecture
from linnet.architecture.network import check_whole
from linnet.catalogue import find_model
from linnet.checkpoint import Checkpoint, load_checkpoint
from linnet.detection import Suppression, anchors, detect
from linnet.engine.reference import Output
from linnet.engine.runtimes import RUNTIMES, Runtime, RuntimeName, choose_runtime
from linnet.export.shipped import Shipped, ShippedRuntime, format_of, open_exported
from linnet.images import LARGEST_PICTURE, Preprocessing, check_pixels, decode, fit
from linnet.machine import usable_cores
from linnet.results import Classification, Detections, Result, Segmentation
from linnet.segmentation import Tile, cut, label_map, mean_certainty, merge, tiles_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from linnet.images import Picture

_log = logging.getLogger(__name__)

P = TypeVar("P", bound="Picture")

T = TypeVar("T")


class Prepared(NamedTuple):
    """A picture at the network's size, or at its own where windows slide over it, and the (width, height) it had."""

    pixels: NDArray[np.uint8]
    size: tuple[int, int]


Network = Checkpoint | Shipped
"""What can be run: weights, by a runtime that is chosen, or an exported file, by its own."""

Interpreter = Callable[[Output, Sequence[tuple[int, int]]], list[Result]]
"""What a network gives for some pictures, and their (width, height) → what it says of each."""


def _classifying(network: Network, runtime: str, suppression: Suppression) -> Interpreter:
    def interpret(outputs: Output, sizes: Sequence[tuple[int, int]]) -> list[Result]:
        return [Classification.from_logits(row, network.classes) for row in outputs]

    return interpret


def _detecting(network: Network, runtime: str, suppression: Suppression) -> Interpreter:
    """Boxes of offsets and logits: of the native runtime natively, with equal results."""
    if isinstance(network, Shipped) and network.contract.ends == "detections":
        return _detected(network, suppression)
    detector: Any = network.architecture
    places = anchors(detector)
    find: Callable[..., tuple[Any, Any, Any]] = partial(
        detect, anchors=places, scoring=detector.scoring, suppression=suppression
    )
    if runtime == "native":
        from linnet.engine.boxes import NativeDetection

        find = NativeDetection(places, detector.classes, scoring=detector.scoring, **asdict(suppression))

    def interpret(outputs: Output, sizes: Sequence[tuple[int, int]]) -> list[Result]:
        results: list[Result] = []
        for offsets, logits, size in zip(*outputs, sizes, strict=True):
            boxes, scores, classes = find(offsets, logits)
            # The pictures are squashed whole (`Checkpoint` sees to it): fractions are fractions of the original.
            results.append(Detections(boxes * np.array(size * 2, np.float32), scores, classes, network.classes))
        return results

    return interpret


def _segmenting(network: Network, runtime: str, suppression: Suppression) -> Interpreter:
    """Label maps at the pictures' own sizes."""
    if isinstance(network, Shipped) and network.contract.ends == "labels":
        return _labelled(network)
    segmenter: Any = network.architecture
    scheme = network.quantisation if isinstance(network, Checkpoint) else None
    decide = partial(label_map, grid=segmenter.grid, quantisation=scheme, native=runtime == "native")

    def interpret(outputs: Output, sizes: Sequence[tuple[int, int]]) -> list[Result]:
        # The pictures are squashed whole: every pixel of them has a place in the network's map.
        return [
            Segmentation(decide(logits, size), segmenter.classes, network.classes, mean_certainty(logits))
            for logits, size in zip(outputs, sizes, strict=True)
        ]

    return interpret


def _labelled(network: Shipped) -> Interpreter:
    """Labels that the file itself has decided, each for the pixels nearest to it."""
    segmenter: Any = network.architecture

    def interpret(outputs: Output, sizes: Sequence[tuple[int, int]]) -> list[Result]:
        results: list[Result] = []
        for labels, size in zip(outputs, sizes, strict=True):
            # The middle of each pixel.
            rows, columns = (
                (2 * np.arange(side) + 1) * own // (2 * side)
                for side, own in zip(size[::-1], labels.shape, strict=True)
            )
            nearest = np.asarray(labels, np.uint8)[rows[:, None], columns]
            results.append(Segmentation(nearest, segmenter.classes, network.classes))
        return results

    return interpret


def _detected(network: Shipped, suppression: Suppression) -> Interpreter:
    """Boxes that the file itself has found: of the suppression only the scores and the number are left to choose."""

    def interpret(outputs: Output, sizes: Sequence[tuple[int, int]]) -> list[Result]:
        results: list[Result] = []
        for boxes, classes, scores, count, size in zip(*outputs, sizes, strict=True):
            kept = np.flatnonzero(scores[: int(count)] >= suppression.score_threshold)[: suppression.total]
            # Corners y0, x0, y1, x1 as fractions, which may lie outside.
            corners = np.clip(boxes[kept][:, [1, 0, 3, 2]], 0, 1) * np.array(size * 2, np.float32)
            results.append(Detections(corners, scores[kept], classes[kept].astype(np.int64), network.classes))
        return results

    return interpret


INTERPRETERS: dict[str, Callable[[Network, str, Suppression], Interpreter]] = {
    "classification": _classifying,
    "detection": _detecting,
    "segmentation": _segmenting,
}
"""Task → what makes sense of a network's outputs."""

TILING = {"segmentation"}
"""Tasks in which windows can slide over a picture: what they find is joined pixel by pixel."""


class Predictor:
    """A network that takes pictures. Made by `load`.

    Attributes:
        network: what the file holds; of an exported file what is known of it.
        runtime: name of the runtime in use.
        suppression: what of a detector's output becomes a detection.
        tile: whether windows of the network's size slide over larger pictures, which keep their own size.
    """

    def __init__(
        self,
        network: Network,
        *,
        runtime: RuntimeName = "auto",
        threads: int | None = None,
        suppression: Suppression | None = None,
        tile: bool = False,
    ) -> None:
        if threads is not None:
            check_whole("threads", threads, least=1, most=1024)
        self.network = network
        self.suppression = suppression or Suppression()
        if tile and network.task not in TILING:
            raise ValueError(f"Sliding windows (--tile) are for segmenters; this network is for {network.task}.")
        if tile and isinstance(network, Shipped):
            raise ValueError(f"Sliding windows (--tile) are for checkpoints; '{network.path}' is an exported file.")
        self.tile = tile
        self._runtime: Runtime
        if isinstance(network, Shipped):
            if runtime != "auto":
                raise ValueError(
                    f"'{network.path}' is run by {network.runtime.name}, its own runtime. {runtime!r} is for "
                    "checkpoints."
                )
            self._runtime = ShippedRuntime(network, threads)
        else:
            self._runtime = RUNTIMES[choose_runtime(runtime)](network, threads)
        self.runtime = self._runtime.name
        self._interpret_outputs = INTERPRETERS[network.task](network, self.runtime, self.suppression)

    @property
    def checkpoint(self) -> Checkpoint:
        """The weights with all that belongs to them; a ValueError for an exported file."""
        if isinstance(self.network, Shipped):
            raise ValueError(
                f"'{self.network.path}' is an exported file, which is run as it is: this needs a checkpoint. "
                "`linnet convert` reads its weights into one."
            )
        return self.network

    @property
    def architecture(self) -> Architecture:
        """The network's description."""
        return self.network.architecture

    @property
    def preprocessing(self) -> Preprocessing:
        """How a picture becomes the network's input; a ValueError for networks of other than 1 or 3 channels."""
        if self.network.preprocessing is None:
            raise ValueError(
                f"This network takes {self.architecture.input_channels} channels, which pictures do not have. Run it "
                "with `linnet.nn` or `linnet.engine.reference`."
            )
        return self.network.preprocessing

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Class names, where they are known."""
        return self.network.classes

    @property
    def gives_scores(self) -> bool:
        """Whether results say how probable they are: exported segmenters may give labels alone."""
        return not (isinstance(self.network, Shipped) and self.network.contract.ends == "labels")

    def __call__(self, picture: Picture) -> Any:
        """Says what is on a path, a file's bytes, a PIL image or an (H, W, 3) uint8 RGB array of any size.

        Returns:
            A `Classification`; `Detections` if the network is a detector, a `Segmentation` if it is a segmenter.

        Raises:
            ValueError: if the picture cannot be decoded, or the network has no classifier.
            OSError: if the file is missing or may not be read.
        """
        return self.interpret([self.prepare(picture)])[0]

    def prepare(self, picture: Picture, *, most_pixels: int = LARGEST_PICTURE) -> Prepared:
        """The first half of a call, which needs no network: the picture at its size. Any thread may do it.

        Args:
            picture: as a call takes it.
            most_pixels: above which a picture is refused before it is decoded.

        Raises:
            ValueError: if the picture cannot be decoded, or the network has no classifier.
            OSError: if the file is missing or may not be read.
        """
        self._needs_classes()
        return _prepare(picture, self.preprocessing, self.tile, most_pixels)

    def interpret(self, pictures: Sequence[Prepared]) -> list[Result]:
        """The second half of a call: what the network says of prepared pictures, in one forward pass."""
        if not pictures:
            return []
        if self.tile:
            return [self._interpret_tiles(picture) for picture in pictures]
        outputs = self.forward(np.stack([picture.pixels for picture in pictures]))
        return self._interpret_outputs(outputs, [picture.size for picture in pictures])

    def _interpret_tiles(self, picture: Prepared) -> Result:
        """The label map of a picture that has its own size, window by window."""
        window, segmenter = self.preprocessing.size[::-1], cast(Any, self.architecture)
        tiles = tiles_of(picture.size, window)
        certainties: list[float] = []

        def answer(tile: Tile) -> tuple[Tile, NDArray[np.float32]]:
            logits = self.forward(cut(picture.pixels, tile, window)[None])[0]
            certainties.append(mean_certainty(logits))
            return tile, logits

        labels = merge(picture.size, window, map(answer, tiles), segmenter.grid)
        return Segmentation(labels, segmenter.classes, self.classes, float(np.mean(certainties)))

    def forward(self, pixels: NDArray[np.uint8]) -> Output:
        """(N, H, W, 3) uint8 RGB of the network's size → (N, classes) logits or (N, C) pooled features.

        A detector gives two: (N, A, 4) box offsets and (N, A, 1 + classes) class logits, the background first.

        Raises:
            ValueError: on any other shape or type.
        """
        return self._run(pixels, ())[0]

    def tensors(self, pixels: NDArray[np.uint8], names: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """Intermediate tensors of (N, H, W, 3) uint8 pixels by name: (N, H, W, C), or (N, C) after the pooling.

        Raises:
            ValueError: on an unknown name (the text lists the known ones) or pixels that do not fit.
        """
        self.architecture.check_tensor_names(tuple(names))
        return self._run(pixels, tuple(names))[1]

    def stream(self, pictures: Iterable[P], *, batch: int = 8, readers: int | None = None) -> Iterator[tuple[P, Any]]:
        """Says what is on any number of pictures, in order; reading and resizing run beside the network.

        A picture that cannot be read gives its error in the place of its result, and the others go on. Memory does
        not grow with the number of pictures.

        Yields each picture with a `Classification`, with `Detections`, with a `Segmentation`, or with an exception.

        Args:
            pictures: as `__call__` takes them.
            batch: pictures a forward pass.
            readers: threads that decode; None takes one for each core.

        Raises:
            ValueError: at once, if the network has no classifier, takes no pictures, or an argument makes no sense.
        """
        return self.stream_of(pictures, lambda picture: picture, batch=batch, readers=readers)

    def stream_of(
        self, items: Iterable[T], read: Callable[[T], Picture], *, batch: int = 8, readers: int | None = None
    ) -> Iterator[tuple[T, Any]]:
        """As `stream`, of things that pictures are read from: `read` runs in the threads that decode.

        Raises:
            ValueError: at once, as `stream` does.
        """
        self._needs_classes()
        check_whole("batch", batch, least=1, most=4096)
        if readers is not None:
            check_whole("readers", readers, least=1, most=1024)
        contract = self.preprocessing

        def prepare(item: T) -> Prepared:
            return _prepare(read(item), contract, self.tile)

        return self._stream(items, prepare, batch, readers or usable_cores())

    def _stream(
        self, items: Iterable[T], prepare: Callable[[T], Prepared], batch: int, readers: int
    ) -> Iterator[tuple[T, Result | Exception]]:
        pool = ThreadPoolExecutor(readers)
        try:
            waiting: deque[tuple[T, Future[Prepared]]] = deque()
            group: list[tuple[T, Prepared | Exception]] = []
            for item in items:
                waiting.append((item, pool.submit(prepare, item)))
                if len(waiting) > 2 * batch:
                    group.append(_outcome(*waiting.popleft()))
                if len(group) == batch:
                    yield from self._interpret_group(group)
                    group = []
            while waiting or group:
                while waiting and len(group) < batch:
                    group.append(_outcome(*waiting.popleft()))
                yield from self._interpret_group(group)
                group = []
        finally:
            # Whoever stops early does not wait for pictures that nobody will look at.
            pool.shutdown(cancel_futures=True)

    def _interpret_group(self, group: list[tuple[T, Prepared | Exception]]) -> Iterator[tuple[T, Result | Exception]]:
        results = iter(self.interpret([found for _, found in group if not isinstance(found, Exception)]))
        for item, found in group:
            yield item, found if isinstance(found, Exception) else next(results)

    def _needs_classes(self) -> None:
        if self.architecture.classes is None:
            raise ValueError(
                "This network has no classifier: it gives pooled features (`forward`). It is a start for training."
            )

    def _run(self, pixels: NDArray[np.uint8], names: tuple[str, ...]) -> tuple[Output, dict[str, NDArray[np.float32]]]:
        pixels = check_pixels(pixels, dimensions=4)
        height, width = self.preprocessing.size
        if pixels.shape[1:3] != (height, width):
            raise ValueError(
                f"The network takes pictures of {height} x {width} pixels; these have {pixels.shape[1]} x "
                f"{pixels.shape[2]}. `linnet.images.prepare` resizes."
            )
        return self._runtime.run(pixels, names)


def _prepare(picture: Picture, contract: Preprocessing, tile: bool, most_pixels: int = LARGEST_PICTURE) -> Prepared:
    image = decode(picture, most_pixels=most_pixels)
    return Prepared(np.asarray(image) if tile else fit(image, contract), image.size)


def _outcome(item: T, future: Future[Prepared]) -> tuple[T, Prepared | Exception]:
    try:
        return item, future.result()
    except Exception as error:
        # Out of memory, say: this picture's failure, not that of the others.
        return item, error


def load(
    model: str | os.PathLike[str],
    *,
    runtime: RuntimeName = "auto",
    threads: int | None = None,
    suppression: Suppression | None = None,
    tile: bool = False,
) -> Predictor:
    """A predictor for a checkpoint file or a model's name. Never needs torch, unless `runtime` is `torch`.

    An exported .onnx or .tflite file is run as it is, by its own runtime.

    Args:
        model: a path, or a name that `linnet models` lists.
        runtime: `native`, `numpy`, `torch`, or `auto`: the native engine, or numpy where it was not built.
        threads: cores to use; None lets the runtime decide.
        suppression: of a detector, which boxes to keep; None those that score at least 0.3.
        tile: of a segmenter, slide windows of the network's size over each picture instead of making it smaller.

    Raises:
        ValueError: if there is no such model or runtime, or the file is not a whole checkpoint.
        OSError: if the file may not be read, or a download fails.

    Examples:
        >>> predict = linnet.load("birds.safetensors")  # doctest: +SKIP
        >>> predict("finch.jpg").label  # doctest: +SKIP
        'finch'
    """
    return Predictor(load_network(model), runtime=runtime, threads=threads, suppression=suppression, tile=tile)


def load_network(model: str | os.PathLike[str]) -> Network:
    """What a file holds, or the file of a model's name; of an exported file it is logged what had to be assumed.

    Raises:
        ValueError: if there is no such model, or it is damaged.
        OSError: if the file may not be read, or a download fails.
    """
    path = find_model(model)
    exported = format_of(path)
    if exported is None:
        return load_checkpoint(path)
    shipped = open_exported(path, exported)
    for note in shipped.notes:
        _log.info("'%s': %s", path, note)
    return shipped
