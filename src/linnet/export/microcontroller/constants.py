"""Weights, tables and steps as constants of the C file, and the function that runs the steps."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from linnet.export.microcontroller.arrays import byte_rows, bytes_array, number, numbers_array, pairs_array
from linnet.export.microcontroller.layers import Layer, Mean, Network, Sum, Weights
from linnet.export.microcontroller.plan import PICTURE, Map, Plan
from linnet.export.microcontroller.stages import Stage, Step
from linnet.quantisation.fixed_point import Multipliers

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass
class Constants:
    """All constants of a network and its plan, as text, and the calls that run the steps.

    Attributes:
        network: what is computed.
        plan: how.
        fixed: integers instead of floats in rounding.
        bytes: of the constants in flash, so far.
    """

    network: Network
    plan: Plan
    fixed: bool
    bytes: int = 0
    parts: list[str] = field(default_factory=list)
    named: dict[int, str] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)

    @property
    def values(self) -> NDArray[np.int8]:
        """What becomes of each byte of a picture, once for all channels if they agree."""
        table = self.network.table
        return table[:1] if (table == table[:1]).all() else table

    def tables(self) -> list[str]:
        """All constants."""
        self._add(
            f"static const int8_t linnet_values[{len(self.values)}][256] = {{\n" + self._rows(self.values) + "};\n"
        )
        self.bytes += self.values.size
        for layer in self.network.layers:
            if layer.weights is not None:
                self._weights(layer, layer.weights)
        self._outsides()
        for place, step in enumerate(self.plan.steps):
            self._step(place, step)
        return self.parts

    def end(self) -> str:
        """The functions that run the steps behind the first one."""
        outputs = ", ".join(
            f"int8_t* {_output_name(self.network, number)}" for number in range(len(self.network.outputs))
        )
        names = ", ".join(_output_name(self.network, number) for number in range(len(self.network.outputs)))
        calls = "".join(f"  {call}\n" for call in self.calls)
        return f"""\
int32_t linnet_model_end({outputs}) {{
  if (linnet_state.given < LINNET_MODEL_HEIGHT) return LINNET_MODEL_HEIGHT - linnet_state.given;
{calls}  /* The picture is gone from the arena: the next one begins. */
  linnet_model_begin();
  return 0;
}}

void linnet_model_run(const uint8_t* pixels, {outputs}) {{
  linnet_model_begin();
  for (int32_t y = 0; y < LINNET_MODEL_HEIGHT; ++y) {{
    linnet_model_row(pixels + y * LINNET_MODEL_WIDTH * LINNET_MODEL_CHANNELS);
  }}
  (void)linnet_model_end({names});
}}
"""

    def _add(self, text: str) -> None:
        self.parts.append(text)

    def _rows(self, table: NDArray[np.int8]) -> str:
        return "".join("  {" + ", ".join(map(str, row)) + "},\n" for row in table.tolist())

    def _weights(self, layer: Layer, weights: Weights) -> None:
        name = "linnet_" + re.sub(r"\W", "_", layer.name)
        number = self.network.layers.index(layer)
        self.named[number] = name
        depthwise = layer.depthwise
        shape = "tap, channel" if depthwise else "output, input"
        text = f"/* {layer.name}: {' x '.join(map(str, weights.weights.shape))} ({shape}) */\n"
        text += bytes_array(f"{name}_weights", weights.weights)
        text += numbers_array("int32_t", f"{name}_bias", weights.bias)
        factors = weights.factors
        if isinstance(factors, Multipliers):
            text += pairs_array("linnet_factor", f"{name}_factors", factors.factors, factors.shifts)
        else:
            text += numbers_array("linnet_factor", f"{name}_factors", factors)
        length = 9 if depthwise else weights.weights.shape[1]
        text += (
            f"static const linnet_layer {name} = {{&{name}_weights[0][0], {name}_bias, {name}_factors, {length}, "
            f"{weights.outputs}, {weights.weight_zero}, {int(weights.once)}, "
            f"{self._range(weights.limits, weights.zero)}}};\n"
        )
        self.bytes += byte_rows(weights.weights.size) + (12 if self.fixed else 8) * weights.outputs + 40
        self._add(text)

    def _range(self, limits: tuple[int, int], zero: int) -> str:
        if self.fixed:
            return f"{{{limits[0]}, {limits[1]}, {zero}}}"
        return f"{{{limits[0] - zero}, {limits[1] - zero}, {zero}}}"

    def _outsides(self) -> None:
        """A pixel of zeros for each zero point of what windows read, as long as the longest that is read with it."""
        longest: dict[int, int] = {}
        for step in self.plan.steps:
            for stage in step.stages:
                if stage.first.window is not None:
                    zero = stage.first.input_zero
                    longest[zero] = max(longest.get(zero, 0), stage.input_shape[2])
        for zero, size in longest.items():
            self._add(bytes_array(_outside(zero), np.full(size, zero, np.int8)))
            self.bytes += byte_rows(size)

    def _step(self, number: int, step: Step) -> None:
        name, maps = f"linnet_step_{number}", self.plan.maps[number]
        if step.kind == "chain":
            place, pixels = self.plan.tiles[number]
            stages = [self._stage(stage, maps, place, count) for stage, count in zip(step.stages, pixels, strict=True)]
            if number == 0:
                self._add(f"static const linnet_map linnet_picture = {_map(maps[PICTURE])};\n")
                name = "linnet_first_stages"
            else:
                self.calls.append(f"linnet_run_chain({name}, {len(stages)});")
            names = " to ".join(dict.fromkeys((step.stages[0].first.name, step.stages[-1].last.name)))
            self._add(f"/* {names} */\nstatic const linnet_stage {name}[{len(stages)}] = {{\n{''.join(stages)}}};\n")
            self.bytes += 104 * len(stages)
            return
        if step.kind == "output":
            self._output(step, name, maps[step.layer])
            return
        layer = self.network.layers[step.layer]
        result = f"static const linnet_map {name}_output = {_map(maps[step.layer])};\n"
        self.bytes += 20
        if step.kind == "sum":
            assert layer.added is not None
            assert layer.total is not None
            first, second = (_map(maps[read]) for read in (layer.reads, layer.added))
            text = f"static const linnet_map {name}_first = {first}, {name}_second = {second};\n"
            text += f"static const linnet_sum {name}_sum = {self._sum(layer.total)};\n"
            self.calls.append(f"linnet_add_maps(&{name}_first, &{name}_second, &{name}_output, &{name}_sum);")
            self.bytes += 80
        else:
            assert layer.mean is not None
            text = f"static const linnet_mean_rule {name}_rule = {self._mean(layer.mean)};\n"
            if step.stages:
                stage = self._stage(step.stages[0], maps, 0, 1)
                text += f"static const linnet_stage {name}[1] = {{\n{stage}}};\n"
                self.calls.append(f"linnet_multiply_and_pool({name}, &{name}_output, &{name}_rule);")
            else:
                text += f"static const linnet_map {name} = {_map(maps[layer.reads])};\n"
                self.calls.append(f"linnet_pool(&{name}, &{name}_output, &{name}_rule);")
            self.bytes += 150
        self._add(result + text)

    def _output(self, step: Step, name: str, place: Map) -> None:
        output = self.network.outputs[step.output]
        piece = output.pieces[step.piece]
        begin = sum(int(np.prod(self.network.layers[each.layer].shape)) for each in output.pieces[: step.piece])
        text, table = f"static const linnet_map {name} = {_map(place)};\n", "(const int8_t*)0"
        self.bytes += 20
        if piece.table is not None:
            table = f"{name}_table[0]"
            text += f"static const int8_t {name}_table[1][256] = {{\n{self._rows(piece.table[None])}}};\n"
            self.bytes += 256
        self._add(text)
        target = _output_name(self.network, step.output) + (f" + {begin}" if begin else "")
        self.calls.append(f"linnet_give(&{name}, {table}, {target});")

    def _stage(self, stage: Stage, maps: dict[int, Map], place: int, pixels: int) -> str:
        numbers = {id(layer): number for number, layer in enumerate(self.network.layers)}

        def named(layer: Layer | None) -> str:
            return "0" if layer is None else "&" + self.named[numbers[id(layer)]]

        total = "0"
        if stage.last.total is not None:
            total = f"linnet_sum_{stage.result}"
            self._add(f"static const linnet_sum {total} = {self._sum(stage.last.total)};\n")
            self.bytes += 24
            total = "&" + total
        window = stage.first.window
        geometry = (
            (window.kernel, window.stride, window.dilation, window.pads[0], window.pads[2]) if window else (0,) * 5
        )
        places = [maps[stage.reads], maps.get(stage.result, Map(0, 1, *stage.shape))]
        places.append(maps[stage.added] if stage.added is not None else Map(0, 1, 1, 1, 1))
        outside = f"&{_outside(stage.first.input_zero)}[0][0]" if window else "0"
        return (
            f"  {{{named(stage.filter)}, {named(stage.product)}, {total}, {outside}, "
            f"{', '.join(map(_map, places))}, {', '.join(map(str, geometry))}, {place}, {pixels}}},\n"
        )

    def _sum(self, total: Sum) -> str:
        zeros = ", ".join(map(str, total.zeros))
        if self.fixed:
            pairs = ", ".join(
                f"{{{factor}, {shift}}}" for factor, shift in zip(total.factors, total.shifts, strict=True)
            )
            return f"{{{{{pairs}}}, {zeros}}}"
        return f"{{{{{', '.join(map(str, (*total.factors, *total.shifts)))}}}, {zeros}}}"

    def _mean(self, mean: Mean) -> str:
        if mean.average:
            return f"{{{mean.pixels}, {mean.raw}}}"
        if isinstance(mean.factor, tuple):
            factor, shift = mean.factor
            return f"{{{mean.zero}, {{{factor}, {shift}}}, {{{mean.limits[0]}, {mean.limits[1]}, {mean.offset}}}}}"
        floats = f"{number(mean.factor)}, {number(float(mean.offset))}"
        return f"{{{mean.pixels}, {mean.raw}, {floats}, {mean.limits[0]}, {mean.limits[1]}}}"


def _output_name(network: Network, number: int) -> str:
    return "scores" if len(network.outputs) == 1 else network.outputs[number].name


def _outside(zero: int) -> str:
    return f"linnet_outside_{'minus_' if zero < 0 else ''}{abs(zero)}"


def _map(place: Map) -> str:
    return f"{{{place.offset}, {place.slots}, {place.height}, {place.width}, {place.channels}}}"
