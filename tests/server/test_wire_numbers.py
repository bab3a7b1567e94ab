"""Numbers on the wire against torch's own types."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sememe.server.wire_numbers import WireDtype, packed

TORCH = {
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "fp8_e4m3": torch.float8_e4m3fn,
    "fp8_e5m2": torch.float8_e5m2,
}


@pytest.mark.parametrize("dtype", TORCH)
@given(values=st.lists(st.floats(-400, 400, width=32), min_size=1, max_size=50))
def test_rounding_is_torchs(dtype: WireDtype, values: list[float]) -> None:
    given_values = np.array(values, np.float32)
    got = torch.frombuffer(bytearray(packed(given_values, dtype, "native")), dtype=TORCH[dtype])
    expected = torch.from_numpy(given_values).to(TORCH[dtype])
    assert torch.equal(got.float(), expected.float())


def test_endianness() -> None:
    values = np.array([1.5, -2], np.float32)
    assert packed(values, "float32", "little") == values.astype("<f4").tobytes()
    assert packed(values, "float32", "big") == values.astype(">f4").tobytes()
    assert packed(values, "bfloat16", "big") == b"\x3f\xc0\xc0\x00"
