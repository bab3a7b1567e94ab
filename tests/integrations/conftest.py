from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """What coroutines among the tests, marked `anyio`, run on."""
    return "asyncio"
