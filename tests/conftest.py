"""What the tests share."""

from __future__ import annotations

import pytest

ENGINE = "native"


@pytest.fixture
def engine() -> str:
    """The engine that environment tests run on; `tests/engine` holds it to the reference."""
    return ENGINE
