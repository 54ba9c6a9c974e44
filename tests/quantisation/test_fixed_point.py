"""Is the rule of fixed point that of TensorFlow Lite's reference kernels, to the last bit?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from quantised import quantised_checkpoint

from linnet.architecture import Architecture, MobileNetV1, MobileNetV2
from linnet.engine.integer_reference import FixedPointNetwork, IntegerNetwork
from linnet.export import export
from linnet.quantisation import fixed_point, rule
from linnet.quantisation.scheme import Encoding

NETWORKS: dict[str, tuple[Architecture, dict[str, Any]]] = {
    "v2": (MobileNetV2(width=0.35, resolution=64, classes=10), {}),
    "hidden layer": (MobileNetV1(width=0.25, resolution=48, classes=7, hidden=(20,)), {"per_tensor": True}),
    "average": (MobileNetV2(width=0.25, resolution=(45, 61), classes=10), {"pooling": "average"}),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_are_those_of_the_reference_kernels(tmp_path: Path, name: str) -> None:
    litert = pytest.importorskip("ai_edge_litert.interpreter", reason="the kernels are those of ai-edge-litert")
    architecture, style = NETWORKS[name]
    checkpoint = quantised_checkpoint(architecture, **style)
    assert checkpoint.quantisation is not None
    path = export(checkpoint, tmp_path / "network.tflite").path
    interpreter = litert.Interpreter(
        str(path), experimental_op_resolver_type=litert.OpResolverType.BUILTIN_REF, num_threads=1
    )
    interpreter.allocate_tensors()
    shape = (4, *architecture.input_size, 3)
    pictures = np.random.default_rng(3).uniform(-1, 1, shape).astype(np.float32)
    whole = rule.quantise(pictures, checkpoint.quantisation.encodings["input"], "int8")
    given = []
    for number in range(len(whole)):
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], whole[number : number + 1])
        interpreter.invoke()
        given.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))
    found, floats = (
        kind(architecture.with_options(folded=True), checkpoint.tensors, checkpoint.quantisation).integers(pictures)[0]
        for kind in (FixedPointNetwork, IntegerNetwork)
    )
    assert np.array_equal(found, np.concatenate(given))
    # The rule in floats is another one: a test of one against the other would find nothing else.
    assert not np.array_equal(found, floats)


@given(st.floats(2.0**-40, 2.0**8), st.integers(-(2**31), 2**31 - 1))
def test_scaling_is_nearly_exact(number: float, value: int) -> None:
    factor, shift = fixed_point.split(number)
    exact = value * number
    if abs(exact) < 2**31 - 2:
        # Rounded twice: halves may be one apart, and the multiplier has 31 bits.
        assert abs(int(fixed_point.scale(np.array(value), factor, shift)) - exact) <= 1 + abs(exact) * 2.0**-29


def test_multipliers_at_their_ends() -> None:
    assert fixed_point.split(1.0) == (2**30, 1)
    assert fixed_point.split(1 - 2.0**-33) == (2**30, 1)
    assert fixed_point.split(2.0**-80) == (0, 0)
    assert fixed_point.split(2.0**90) == (2**31 - 1, 30)
    assert fixed_point.bounds("int8", Encoding(float(np.float32(6 / 255)), -128), "relu6") == (-128, 127)
    assert fixed_point.bounds("int8", Encoding(2.0**-126, 0), "relu6") == (0, 127)
    assert fixed_point.bounds("int8", Encoding(4.0, 0), "relu6") == (0, 2)
    assert rule.bounds("int8", Encoding(4.0, 0), "relu6") == (0, 2)
    assert fixed_point.bounds("int8", Encoding(4.0, 1), "relu6") == (1, 3)
    assert rule.bounds("int8", Encoding(4.0, 1), "relu6") == (1, 2)
