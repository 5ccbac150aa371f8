"""What is traced and compiled calculates what the array code does, to the bit."""

from __future__ import annotations

import numpy as np
import pytest

from domain.model.tracing import Compiled, Path, Trace, compile_trace


def arithmetic(state, x):  # type: ignore[no-untyped-def]
    """Something of everything that array code does: views, in-place operations, choices, truths in arithmetic."""
    level, spread = state[0], state[1:3]
    residual = x - level
    z = residual / np.sqrt(np.maximum(spread[0], 1e-9))
    weight = 1.0 / (1.0 + z * z)
    np.maximum(weight, 0.25, out=weight)
    is_far = (np.abs(z) > 1.0) & ~(x < 0.0)
    spread[0] += 0.1 * (is_far - spread[0])
    spread[1] = np.minimum.reduce(state, axis=0)
    np.copyto(level, x, where=is_far)
    level *= np.where(z >= 0.5, np.exp(-weight), -np.log1p(weight))
    made = np.empty_like(x, shape=(2, x.size))
    made[0] = np.copysign(weight, z)
    made[1] = is_far.astype(np.float64)
    return made


def test_a_compiled_trace_gives_the_bits_of_the_array_code() -> None:
    trace = Trace()
    state, x = trace.input(3, 1), trace.input(1)
    made = arithmetic(state, x)
    step = compile_trace(trace, "arithmetic", [state, made])
    random = np.random.default_rng(1)
    for _ in range(500):
        rows, value = random.normal(0.5, 1.0, (3, 1)), random.normal(0.0, 2.0, 1)
        found = step(rows.ravel().tolist(), value.tolist())
        expected = arithmetic(rows, value)
        assert found == (tuple(rows.ravel()), tuple(expected.ravel()))


def test_only_what_outputs_need_is_calculated() -> None:
    trace = Trace()
    x = trace.input(2)
    _unused = np.exp(x)
    step = compile_trace(trace, "step", [x[0:1] + 1.0])
    assert step((1.0, 2.0)) == ((2.0,),)
    assert "exp" not in step.__code__.co_names


def branching(x):  # type: ignore[no-untyped-def]
    """Array code that asks what the values are like."""
    made = x + 1.0
    if (x > 0.0).any():
        made *= 2.0
        if x[0:1] == 3.0:
            made -= x
    for place in (x < -1.0).nonzero()[0]:
        made[place] = -x[place]
    return made


def test_a_compiled_trace_keeps_to_its_path_and_tells_the_right_one() -> None:
    functions: dict[Path, Compiled] = {}
    for values in ((0.5, 3.0), (3.0, 0.5), (-2.0, 0.0), (-3.0, -4.0), (0.0, -0.5), (3.0, -2.0)):
        path: Path = ()
        while True:
            if path not in functions:
                trace = Trace(path)
                functions[path] = compile_trace(trace, "step", [branching(trace.input(2))])
            found = functions[path](values)
            if not isinstance(found[0], bool):
                break
            path = found
        assert found == (tuple(branching(np.array(values))),)


def test_what_numpy_orders_itself_is_refused() -> None:
    x = Trace().input(3, 1)
    with pytest.raises(TypeError, match=r"cannot trace add\.reduce"):
        np.add.reduce(x, axis=0)
    with pytest.raises(TypeError, match="cannot trace median"):
        np.median(x)


def test_zeros_of_either_sign_are_different_constants() -> None:
    trace = Trace()
    x = trace.input(1)
    step = compile_trace(trace, "step", [np.copysign(x, 0.0), np.copysign(x, -0.0)])
    assert step((1.0,)) == ((1.0,), (-1.0,))
