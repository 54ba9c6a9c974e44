"""A TFLite file from tensors and operators, by the schema's own builder functions.

Nothing here knows a network; `linnet.export.tflite_graph` does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import flatbuffers
import numpy as np
import tflite

if TYPE_CHECKING:
    from numpy.typing import NDArray

TYPES = {
    np.dtype(np.float32): tflite.TensorType.FLOAT32,
    np.dtype(np.float16): tflite.TensorType.FLOAT16,
    np.dtype(np.uint8): tflite.TensorType.UINT8,
    np.dtype(np.int8): tflite.TensorType.INT8,
    np.dtype(np.int32): tflite.TensorType.INT32,
    np.dtype(np.bool_): tflite.TensorType.BOOL,
}
ALIGNMENT = 16
"""Of constants, as the schema demands (`force_align`)."""
OLD_CODES = 127
"""Operators numbered from here on stand in the new code field only."""


@dataclass(frozen=True)
class Codes:
    """real = scale x (q - zero), with one scale, or one for each channel along `axis`."""

    scales: tuple[float, ...]
    zeros: tuple[int, ...]
    axis: int = 0


@dataclass
class Tensor:
    """One tensor of a graph. Buffer 0 is that of all computed ones."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    quantisation: Codes | None = None
    buffer: int = 0


@dataclass
class Operator:
    """One operator of a graph, by its name in the schema, with an option table (empty: none) and its fields."""

    name: str
    inputs: list[int]
    output: int
    kind: str = ""
    fields: dict[str, Any] = field(default_factory=dict)
    custom: str = ""
    """Its own name, of one that the schema does not have (CUSTOM); then `options` are its options as bytes."""
    options: bytes = b""
    more: tuple[int, ...] = ()
    """Its further outputs."""


class GraphWriter:
    """Collects tensors and operators of one subgraph, then writes them as a TFLite file."""

    def __init__(self) -> None:
        self.tensors: list[Tensor] = []
        self.operators: list[Operator] = []
        self.inputs: list[int] = []
        self.outputs: list[int] = []
        self.versions: dict[str, int] = {}
        """Of operators by their name, where it is not 1."""
        self._buffers: list[bytes] = [b""]

    def tensor(
        self, name: str, shape: tuple[int, ...], dtype: Any = np.float32, quantisation: Codes | None = None
    ) -> int:
        """Adds a computed tensor; returns its number."""
        self.tensors.append(Tensor(name, shape, np.dtype(dtype), quantisation))
        return len(self.tensors) - 1

    def constant(self, name: str, values: NDArray[Any], quantisation: Codes | None = None) -> int:
        """Adds a tensor with its values in the file; returns its number."""
        self._buffers.append(np.ascontiguousarray(values).tobytes())
        self.tensors.append(Tensor(name, values.shape, values.dtype, quantisation, len(self._buffers) - 1))
        return len(self.tensors) - 1

    def operator(self, name: str, inputs: Sequence[int], output: int, kind: str = "", **fields: Any) -> int:
        """Adds an operator; returns its output."""
        self.operators.append(Operator(name, list(inputs), output, kind, fields))
        return output

    def find(self, name: str) -> Operator:
        """The last operator of a kind."""
        return [operator for operator in self.operators if operator.name == name][-1]

    def content(
        self, metadata: Mapping[str, bytes] | None = None, *, description: str = "", signature: str = ""
    ) -> bytes:
        """The whole file.

        Args:
            metadata: what stands in buffers of their own, by their names.
            description: of the model, in its own words.
            signature: under which interpreters find inputs and outputs by their tensors' names; none if empty.
        """
        metadata = metadata or {}
        buffers = [*self._buffers, *metadata.values()]
        builder = flatbuffers.Builder(sum(map(len, buffers)) + 65_536)
        # Flatbuffers grow from the back: what is made first, the weights, stands last in the file.
        buffer_offsets = offset_vector(builder, [self._write_buffer(builder, content) for content in buffers])
        tensors = offset_vector(builder, [self._write_tensor(builder, tensor) for tensor in self.tensors])
        names = list(dict.fromkeys((operator.name, operator.custom) for operator in self.operators))
        operators = offset_vector(
            builder,
            [self._write_operator(builder, entry, names.index((entry.name, entry.custom))) for entry in self.operators],
        )
        ends = [vector(builder, places, np.int32) for places in (self.inputs, self.outputs)]
        tflite.SubGraphStart(builder)
        tflite.SubGraphAddTensors(builder, tensors)
        tflite.SubGraphAddInputs(builder, ends[0])
        tflite.SubGraphAddOutputs(builder, ends[1])
        tflite.SubGraphAddOperators(builder, operators)
        subgraphs = offset_vector(builder, [tflite.SubGraphEnd(builder)])
        codes = offset_vector(builder, [self._write_code(builder, *name) for name in names])
        entries = [self._write_metadata(builder, name, len(self._buffers) + at) for at, name in enumerate(metadata)]
        listed = offset_vector(builder, entries) if entries else None
        signed = offset_vector(builder, [self._write_signature(builder, signature)]) if signature else None
        text = builder.CreateString(description) if description else None
        tflite.ModelStart(builder)
        tflite.ModelAddVersion(builder, 3)
        tflite.ModelAddOperatorCodes(builder, codes)
        tflite.ModelAddSubgraphs(builder, subgraphs)
        tflite.ModelAddBuffers(builder, buffer_offsets)
        if listed is not None:
            tflite.ModelAddMetadata(builder, listed)
        if signed is not None:
            tflite.ModelAddSignatureDefs(builder, signed)
        if text is not None:
            tflite.ModelAddDescription(builder, text)
        builder.Finish(tflite.ModelEnd(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())

    def _write_buffer(self, builder: Any, content: bytes) -> Any:
        data = None
        if content:
            # Builder.CreateByteVector, which aligns to one byte only, with the schema's alignment.
            builder.StartVector(1, len(content), ALIGNMENT)
            builder.head -= len(content)
            builder.Bytes[builder.head : builder.head + len(content)] = content
            data = builder.EndVector()
        tflite.BufferStart(builder)
        if data is not None:
            tflite.BufferAddData(builder, data)
        return tflite.BufferEnd(builder)

    def _write_tensor(self, builder: Any, tensor: Tensor) -> Any:
        text, sides = builder.CreateString(tensor.name), vector(builder, tensor.shape, np.int32)
        details = None if tensor.quantisation is None else self._write_quantisation(builder, tensor.quantisation)
        tflite.TensorStart(builder)
        tflite.TensorAddShape(builder, sides)
        tflite.TensorAddType(builder, TYPES[tensor.dtype])
        tflite.TensorAddBuffer(builder, tensor.buffer)
        tflite.TensorAddName(builder, text)
        if details is not None:
            tflite.TensorAddQuantization(builder, details)
        return tflite.TensorEnd(builder)

    def _write_quantisation(self, builder: Any, quantisation: Codes) -> Any:
        scales = vector(builder, quantisation.scales, np.float32)
        zeros = vector(builder, quantisation.zeros, np.int64)
        tflite.QuantizationParametersStart(builder)
        tflite.QuantizationParametersAddScale(builder, scales)
        tflite.QuantizationParametersAddZeroPoint(builder, zeros)
        tflite.QuantizationParametersAddQuantizedDimension(builder, quantisation.axis)
        return tflite.QuantizationParametersEnd(builder)

    def _write_operator(self, builder: Any, operator: Operator, code: int) -> Any:
        options = self._write_options(builder, operator) if operator.kind else None
        read, written = (
            vector(builder, places, np.int32) for places in (operator.inputs, [operator.output, *operator.more])
        )
        custom = builder.CreateByteVector(operator.options) if operator.options else None
        tflite.OperatorStart(builder)
        if custom is not None:
            tflite.OperatorAddCustomOptions(builder, custom)
        tflite.OperatorAddOpcodeIndex(builder, code)
        tflite.OperatorAddInputs(builder, read)
        tflite.OperatorAddOutputs(builder, written)
        if options is not None:
            tflite.OperatorAddBuiltinOptionsType(builder, getattr(tflite.BuiltinOptions, operator.kind))
            tflite.OperatorAddBuiltinOptions(builder, options)
        return tflite.OperatorEnd(builder)

    def _write_options(self, builder: Any, operator: Operator) -> Any:
        getattr(tflite, f"{operator.kind}Start")(builder)
        for name, value in operator.fields.items():
            getattr(tflite, f"{operator.kind}Add{name}")(builder, value)
        return getattr(tflite, f"{operator.kind}End")(builder)

    def _write_code(self, builder: Any, name: str, custom: str) -> Any:
        number = getattr(tflite.BuiltinOperator, name)
        text = builder.CreateString(custom) if custom else None
        tflite.OperatorCodeStart(builder)
        if text is not None:
            tflite.OperatorCodeAddCustomCode(builder, text)
        tflite.OperatorCodeAddDeprecatedBuiltinCode(builder, min(number, OLD_CODES))
        tflite.OperatorCodeAddBuiltinCode(builder, number)
        tflite.OperatorCodeAddVersion(builder, self.versions.get(name, 1))
        return tflite.OperatorCodeEnd(builder)

    def _write_signature(self, builder: Any, key: str) -> Any:
        ends = []
        for places in (self.inputs, self.outputs):
            maps = []
            for place in places:
                name = builder.CreateString(self.tensors[place].name)
                tflite.TensorMapStart(builder)
                tflite.TensorMapAddName(builder, name)
                tflite.TensorMapAddTensorIndex(builder, place)
                maps.append(tflite.TensorMapEnd(builder))
            ends.append(offset_vector(builder, maps))
        text = builder.CreateString(key)
        tflite.SignatureDefStart(builder)
        tflite.SignatureDefAddInputs(builder, ends[0])
        tflite.SignatureDefAddOutputs(builder, ends[1])
        tflite.SignatureDefAddSignatureKey(builder, text)
        return tflite.SignatureDefEnd(builder)

    def _write_metadata(self, builder: Any, name: str, buffer: int) -> Any:
        text = builder.CreateString(name)
        tflite.MetadataStart(builder)
        tflite.MetadataAddName(builder, text)
        tflite.MetadataAddBuffer(builder, buffer)
        return tflite.MetadataEnd(builder)


def vector(builder: Any, values: Sequence[float], dtype: Any) -> Any:
    """A vector of numbers."""
    return builder.CreateNumpyVector(np.asarray(values, dtype))


def offset_vector(builder: Any, offsets: Sequence[Any]) -> Any:
    """A vector of what was written before."""
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return builder.EndVector()


def table(builder: Any, fields: Mapping[int, Any], *, small: Mapping[int, int] | None = None) -> Any:
    """A table of offsets and of numbers of one byte, by their places in its schema."""
    small = small or {}
    builder.StartObject(max([*fields, *small], default=-1) + 1)
    for place, offset in fields.items():
        builder.PrependUOffsetTRelativeSlot(place, offset, 0)
    for place, value in small.items():
        builder.PrependUint8Slot(place, value, 0)
    return builder.EndObject()
