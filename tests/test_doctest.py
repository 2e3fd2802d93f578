"""The examples in the docstrings are true."""

from __future__ import annotations

import doctest
import importlib

import numpy as np
import pytest

from tests.sources import modules

OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
WITH_EXAMPLES = [
    name for name, path in modules(("calibration", "tools")).items() if ">>> " in path.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples(name: str) -> None:
    failed, tried = doctest.testmod(importlib.import_module(name), extraglobs={"np": np}, optionflags=OPTIONS)
    assert tried > 0
    assert failed == 0
