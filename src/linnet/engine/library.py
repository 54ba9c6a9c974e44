"""The native library, bound with ctypes; absent where linnet was installed without a compiler."""

from __future__ import annotations

import ctypes
import hashlib
import warnings
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from linnet.architecture.operations import Shape, Size, size_at

NAMES = ("liblinnet_native.so", "liblinnet_native.dylib", "linnet_native.dll")

INTERFACE = 6
"""`LINNET_INTERFACE` of linnet.h: the functions and structures below are those of this number."""

NOT_BUILT = (
    "linnet was installed without a C++ compiler. Take --runtime numpy, or install g++ or clang and then linnet again."
)

POINTER, COUNT, THREADS = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int

# Name → result and arguments, in the order of native/include. Tensors and structures are passed as addresses.
FUNCTIONS: dict[str, tuple[Any, list[Any]]] = {
    "linnet_interface_version": (ctypes.c_int32, []),
    "linnet_version": (ctypes.c_char_p, []),
    "linnet_instruction_set": (ctypes.c_char_p, []),
    "linnet_instruction_set_number": (ctypes.c_char_p, [ctypes.c_int32]),
    "linnet_engine_instruction_set": (ctypes.c_char_p, []),
    "linnet_measure_peak": (ctypes.c_double, [ctypes.c_double]),
    "linnet_network_open": (ctypes.c_int, [POINTER, COUNT, POINTER, COUNT, POINTER, COUNT, POINTER, POINTER]),
    "linnet_network_close": (None, [POINTER]),
    "linnet_session_open": (ctypes.c_int, [POINTER, POINTER, POINTER, POINTER]),
    "linnet_session_close": (None, [POINTER]),
    "linnet_session_run": (ctypes.c_int, [POINTER, POINTER, COUNT, POINTER, POINTER]),
    "linnet_session_memory": (None, [POINTER, POINTER]),
    "linnet_session_steps": (COUNT, [POINTER]),
    "linnet_session_step": (ctypes.c_int, [POINTER, COUNT, POINTER]),
    "linnet_detect_workspace": (COUNT, [POINTER]),
    "linnet_detect": (ctypes.c_int, [POINTER] * 10),
    "linnet_resample": (ctypes.c_int, [POINTER] * 4),
    "linnet_prepare": (ctypes.c_int, [POINTER, POINTER, COUNT, COUNT, ctypes.c_int32, POINTER, POINTER]),
    "linnet_normalisation_table": (ctypes.c_int, [ctypes.c_int32, *[POINTER] * 4]),
    "linnet_labels_workspace": (COUNT, [POINTER]),
    "linnet_labels": (ctypes.c_int, [POINTER] * 5),
    "linnet_training_instruction_set": (ctypes.c_char_p, []),
    "linnet_train_pointwise": (ctypes.c_int, [THREADS, *[COUNT] * 3, *[POINTER] * 5]),
    "linnet_train_pointwise_backward": (ctypes.c_int, [THREADS, *[COUNT] * 3, *[POINTER] * 7]),
    "linnet_train_depthwise": (ctypes.c_int, [THREADS, *[POINTER] * 6]),
    "linnet_train_depthwise_backward": (ctypes.c_int, [THREADS, *[POINTER] * 8]),
    "linnet_train_moments": (ctypes.c_int, [THREADS, *[COUNT] * 2, *[POINTER] * 2]),
    "linnet_train_activate": (ctypes.c_int, [THREADS, *[COUNT] * 2, *[POINTER] * 4]),
    "linnet_train_sums": (ctypes.c_int, [THREADS, *[COUNT] * 2, *[POINTER] * 2]),
    "linnet_train_gradient": (ctypes.c_int, [THREADS, *[COUNT] * 2, *[POINTER] * 2]),
    "linnet_train_allocate": (POINTER, [COUNT]),
    "linnet_train_release": (None, [POINTER]),
    "linnet_train_trim": (COUNT, []),
}


class Error(ctypes.Structure):
    """`linnet_error` of linnet.h."""

    _fields_ = (("text", ctypes.c_char * 256),)


class Window(ctypes.Structure):
    """`linnet_window` of linnet.h: which pixels one output is computed from."""

    _fields_ = tuple((name, ctypes.c_int32) for name in ("kernel", "stride", "dilation", "padding"))


_CLAMP = (("lowest", ctypes.c_float), ("highest", ctypes.c_float))
_WEIGHTS = (("weights", COUNT), ("bias", COUNT))


class LayerBody(ctypes.Structure):
    """What belongs to a layer by its kind."""

    @property
    def out_channels(self) -> int:
        """Channels of its output."""
        return int(self.channels)

    def shape(self, read: Shape, picture: Size) -> Shape:
        """What it gives for one picture of a height and width, of a tensor of this shape: one of the same sides."""
        return (*read[:-1], self.out_channels)


class WindowLayer(LayerBody):
    """A layer with a window."""

    def shape(self, read: Shape, picture: Size) -> Shape:
        """One output for every `stride` pixels, begun ones included."""
        return (*(-(-side // self.window.stride) for side in read[:-1]), self.out_channels)


class VectorLayer(LayerBody):
    """A layer that gives a vector."""

    def shape(self, read: Shape, picture: Size) -> Shape:
        """The channels."""
        return (self.out_channels,)


class ConvolutionLayer(WindowLayer):
    """`linnet_convolution` of linnet.h."""

    _fields_ = (
        ("in_channels", ctypes.c_int32),
        ("out_channels", ctypes.c_int32),
        ("window", Window),
        *_CLAMP,
        *_WEIGHTS,
    )


class DepthwiseLayer(WindowLayer):
    """`linnet_depthwise` of linnet.h: each channel is filtered by itself."""

    _fields_ = (("channels", ctypes.c_int32), ("window", Window), *_CLAMP, *_WEIGHTS)


class PoolingLayer(VectorLayer):
    """`linnet_pooling` of linnet.h: the average over all pixels."""

    _fields_ = (("channels", ctypes.c_int32),)


class LinearLayer(VectorLayer):
    """`linnet_linear` of linnet.h."""

    _fields_ = (("in_channels", ctypes.c_int32), ("out_channels", ctypes.c_int32), *_CLAMP, *_WEIGHTS)


class AdditionLayer(LayerBody):
    """`linnet_addition` of linnet.h."""

    _fields_ = (("channels", ctypes.c_int32), *_CLAMP)


class ConcatenationLayer(LayerBody):
    """`linnet_concatenation` of linnet.h."""

    _fields_ = (("channels", ctypes.c_int32),)


class ResizingLayer(LayerBody):
    """`linnet_resizing` of linnet.h: a map at the size that a stride of the picture has."""

    _fields_ = tuple((name, ctypes.c_int32) for name in ("channels", "stride", "grid"))

    def shape(self, read: Shape, picture: Size) -> Shape:
        """Height and width are those of maps of its stride."""
        return (*size_at(picture, self.stride), self.out_channels)


class ConversionLayer(LayerBody):
    """`linnet_conversion` of linnet.h: floats to bytes, or back."""

    _fields_ = (("channels", ctypes.c_int32), ("zero", ctypes.c_int32), ("scale", ctypes.c_float))


class QuantizeLayer(ConversionLayer):
    """Floats to bytes."""


class DequantizeLayer(ConversionLayer):
    """Bytes to floats."""


KINDS: dict[str, type[LayerBody]] = {
    "convolution": ConvolutionLayer,
    "depthwise": DepthwiseLayer,
    "pooling": PoolingLayer,
    "linear": LinearLayer,
    "addition": AdditionLayer,
    "concatenation": ConcatenationLayer,
    "resizing": ResizingLayer,
    "quantize": QuantizeLayer,
    "dequantize": DequantizeLayer,
}
"""Kinds of layers by their members of the union in `linnet_layer` (the last two share one, which has two names here),
in the order in which linnet.h numbers them."""


class SumRule(ctypes.Structure):
    """`linnet_sum` of linnet.h: how two bytes are added."""

    _fields_ = tuple(
        (name, ctypes.c_int32)
        for name in ("first", "second", "shift", "first_zero", "second_zero", "zero", "lowest", "highest")
    )


class IntegerRule(ctypes.Structure):
    """`linnet_integers` of linnet.h: what a layer of bytes has beside its body."""

    _fields_ = (
        *(
            (name, ctypes.c_int32)
            for name in ("input_zero", "zero", "lowest", "highest", "weight_zero", "average", "raw_zero")
        ),
        ("ratio", ctypes.c_float),
        ("multipliers", COUNT),
        ("tables", COUNT),
        ("sum", SumRule),
    )


FLOAT32, UINT8 = 0, 1
"""Precisions as linnet.h numbers them."""


class LayerUnion(ctypes.Union):
    """`body` of `linnet_layer`: the structure of one kind."""

    _fields_ = tuple(KINDS.items())


class ProgramLayer(ctypes.Structure):
    """`linnet_layer` of linnet.h: what one layer computes, and of what."""

    _fields_ = (
        ("kind", ctypes.c_int32),
        ("precision", ctypes.c_int32),
        ("first_input", ctypes.c_int32),
        ("input_count", ctypes.c_int32),
        ("body", LayerUnion),
        ("integers", IntegerRule),
    )

    @classmethod
    def of(
        cls,
        own: LayerBody,
        first_input: int,
        input_count: int,
        *,
        precision: int = FLOAT32,
        integers: IntegerRule | None = None,
    ) -> ProgramLayer:
        """A layer that reads so many of the program's inputs, from `first_input` on."""
        (name,) = (name for name, kind in KINDS.items() if kind is type(own))
        body = LayerUnion(**{name: own})
        return cls([*KINDS].index(name), precision, first_input, input_count, body, integers or IntegerRule())

    @property
    def own(self) -> LayerBody:
        """What belongs to its kind; a change of it is a change of the layer."""
        own: LayerBody = getattr(self.body, [*KINDS][self.kind])
        return own

    @property
    def out_channels(self) -> int:
        """Channels of its output."""
        return self.own.out_channels


class SessionOptions(ctypes.Structure):
    """`linnet_options` of linnet.h."""

    _fields_ = (
        *((name, ctypes.c_int32) for name in ("height", "width", "threads", "schedule", "group", "joins_rows")),
        ("outputs", POINTER),
        ("output_count", ctypes.c_int32),
        ("table", POINTER),
        ("schedules", POINTER),
        ("groups", POINTER),
        ("apart", ctypes.c_int32),
    )


class Memory(ctypes.Structure):
    """`linnet_memory` of linnet.h."""

    _fields_ = (("weights", COUNT), ("arena", COUNT))


class PlanStep(ctypes.Structure):
    """`linnet_step` of linnet.h."""

    _fields_ = (
        *((name, ctypes.c_int32) for name in ("first", "last", "schedule", "group", "element_bytes")),
        ("output_bytes", COUNT),
        ("scratch_bytes", COUNT),
        ("seconds", ctypes.c_double),
        ("least_seconds", ctypes.c_double),
    )


class DetectionRule(ctypes.Structure):
    """`linnet_detection` of linnet.h."""

    _fields_ = (
        ("anchors", COUNT),
        ("classes", ctypes.c_int32),
        ("scoring", ctypes.c_int32),
        ("score_threshold", ctypes.c_double),
        ("iou_threshold", ctypes.c_double),
        ("per_class", COUNT),
        ("total", COUNT),
    )


class LabellingRule(ctypes.Structure):
    """`linnet_labelling` of linnet.h."""

    _fields_ = tuple(
        (name, ctypes.c_int32)
        for name in ("height", "width", "classes", "precision", "grid", "output_height", "output_width")
    )


class Resampling(ctypes.Structure):
    """`linnet_resampling` of linnet.h: what of a picture is resized, and how."""

    _fields_ = (
        *((name, COUNT) for name in ("width", "height", "row_bytes")),
        *((name, ctypes.c_int32) for name in ("pixel_bytes", "channels", "interpolation", "antialias")),
        ("box", ctypes.c_float * 4),
        ("new_width", COUNT),
        ("new_height", COUNT),
        ("window", COUNT * 4),
    )


class Preparation(ctypes.Structure):
    """`linnet_preparation` of linnet.h: the preprocessing contract."""

    _fields_ = (
        *((name, ctypes.c_int32) for name in ("height", "width", "resize", "interpolation")),
        ("crop", ctypes.c_double),
        ("antialias", ctypes.c_int32),
        ("colours", ctypes.c_int32),
    )


class Transform(ctypes.Structure):
    """`linnet_transform` of linnet_training.h: how a stored tensor becomes an activation."""

    _fields_ = (
        ("scale", POINTER),
        ("shift", POINTER),
        ("mean", POINTER),
        ("lowest", ctypes.c_float),
        ("highest", ctypes.c_float),
    )


class Gradient(ctypes.Structure):
    """`linnet_gradient` of linnet_training.h: how the gradient of an activation becomes that of the stored tensor."""

    _fields_ = (
        ("values", POINTER),
        ("stored", POINTER),
        ("transform", Transform),
        ("slope", POINTER),
        ("offset", POINTER),
    )


class DepthwiseShape(ctypes.Structure):
    """`linnet_depthwise_shape` of linnet_training.h."""

    _fields_ = tuple(
        (name, COUNT)
        for name in (
            "pictures", "height", "width", "channels", "output_height", "output_width", "stride", "pad_top", "pad_left",
            "dilation",
        )
    )  # fmt: skip


def _declare(library: ctypes.CDLL) -> None:
    for name, (result, arguments) in FUNCTIONS.items():
        function = getattr(library, name)
        function.restype = result
        function.argtypes = arguments


@cache
def load_library() -> ctypes.CDLL | None:
    """The library that was built with this package, or None. Declares the types of its functions.

    A library that was built of other sources counts as none: its structures lie differently in memory. A warning says
    how to build it again.
    """
    library = _open()
    if library is not None and _interface_of(library) != INTERFACE:
        warnings.warn(f"{_out_of_step(library)} Until then linnet runs without it.", RuntimeWarning, stacklevel=2)
        return None
    if library is not None:
        _declare(library)
    return library


def missing_library() -> str:
    """Why `load_library` gives None, and what to do, as sentences."""
    library = _open()
    return NOT_BUILT if library is None or _interface_of(library) == INTERFACE else _out_of_step(library)


def _open() -> ctypes.CDLL | None:
    """What lies where the library belongs, of whatever sources it was built."""
    path = library_path()
    return None if path is None else ctypes.CDLL(str(path))


def library_path() -> Path | None:
    """The file of the library that was built with this package, of whatever sources; None where there is none."""
    return _installed(NAMES)


def header_path() -> Path | None:
    """The file of its interface in C, `linnet.h`; None where there is none."""
    return _installed(("linnet.h",))


def _installed(names: Iterable[str]) -> Path | None:
    import linnet.engine

    # Not beside __file__: an editable install keeps the library elsewhere on the package's path.
    places = (Path(folder) / name for folder in linnet.engine.__path__ for name in names)
    return next((path for path in places if path.is_file()), None)


def _interface_of(library: ctypes.CDLL) -> int:
    """The number of the interface that a library was built with; 0 of libraries from before there was a number."""
    try:
        return int(library.linnet_interface_version())
    except AttributeError:
        return 0


def _out_of_step(library: ctypes.CDLL) -> str:
    return (
        f"The native library '{library._name}' was built of other sources than this Python package (interface "
        f"{_interface_of(library)} instead of {INTERFACE}): build it again with `pip install .` in linnet's folder "
        "(`pip install -e .` if it was installed so)."
    )


def native_version() -> str | None:
    """Version of the native library, which equals the package's; None where there is no library."""
    library = load_library()
    return None if library is None else str(library.linnet_version().decode())


def library_digest() -> str | None:
    """SHA-256 of the native library's file, which says whether it is the same; None where there is no library."""
    library = load_library()
    return None if library is None else hashlib.sha256(Path(library._name).read_bytes()).hexdigest()


def instruction_set() -> str | None:
    """The widest vector instruction set of this processor that linnet knows, such as `avx512_vnni` or `neon`."""
    library = load_library()
    return None if library is None else str(library.linnet_instruction_set().decode())


def instruction_sets() -> tuple[str, ...]:
    """What LINNET_ISA may name on this processor, the narrowest first; empty without a library."""
    library = load_library()
    names: list[str] = []
    while library is not None and (name := library.linnet_instruction_set_number(len(names))) is not None:
        names.append(name.decode())
    return tuple(names)


def engine_instruction_set() -> str | None:
    """The instruction set of the engine's kernels; None without a library, or if LINNET_ISA names one it cannot run."""
    library = load_library()
    found = None if library is None else library.linnet_engine_instruction_set()
    return None if found is None else str(found.decode())


def measure_peak(seconds: float = 0.2) -> float | None:
    """Multiply-adds a second that one thread can do with the engine's instruction set, measured; None without it."""
    library = load_library()
    peak = 0.0 if library is None else float(library.linnet_measure_peak(seconds))
    return peak or None


def training_instruction_set() -> str | None:
    """The instruction set of the training kernels; None without a library, or if LINNET_ISA names one it cannot run."""
    library = load_library()
    found = None if library is None else library.linnet_training_instruction_set()
    return None if found is None else str(found.decode())
