"""States as bytes: nothing lost, nothing taken for a state that is none."""

from __future__ import annotations

import numpy as np
import pytest

from domain.model import DamagedState, Model, decode_state, encode_state
from tests.checks.jobs import START, detector, job, make_batch, records, run

MODEL, _ = run(job(detector("median", by_field_name="host"), detector("distinct_count")), records())


def test_a_state_survives_to_the_bit() -> None:
    arrays, meta = MODEL.state()
    again, meta_again = decode_state(encode_state(arrays, meta))
    assert meta_again == meta
    assert again.keys() == arrays.keys()
    for name, array in arrays.items():
        assert (again[name].dtype, again[name].shape) == (array.dtype, array.shape)
        assert again[name].tobytes() == array.tobytes()


def test_the_state_of_a_model_without_data_survives() -> None:
    config = job(detector("mean", by_field_name="host"))
    model = Model(config)
    assert Model.restore(config, *decode_state(encode_state(*model.state()))).digest() == model.digest()


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9, 1.0])
def test_a_cut_state_is_damaged(share: float) -> None:
    data = encode_state(*MODEL.state())
    with pytest.raises(DamagedState):
        decode_state(data[: int(share * (len(data) - 1))])


def test_a_changed_byte_is_damage_wherever_it_is() -> None:
    data = encode_state(*MODEL.state())
    for place in range(0, len(data), len(data) // 40):
        changed = data[:place] + bytes([data[place] ^ 0x55]) + data[place + 1 :]
        with pytest.raises(DamagedState):
            decode_state(changed)


def test_ten_thousand_series_are_small_to_store() -> None:
    n = 10_000
    rng = np.random.default_rng(1)
    seconds = START + np.repeat(np.arange(6) * 900, n)
    hosts = [f"host-{k}" for k in range(n)] * 6
    config = job(detector("mean", by_field_name="host"))
    model, _ = run(config, make_batch(seconds, {"value": rng.normal(size=6 * n)}, {"host": hosts}))
    data = encode_state(*model.state())
    again = Model.restore(config, *decode_state(data))
    assert len(data) < 4000 * n
    assert again.digest() == model.digest()
