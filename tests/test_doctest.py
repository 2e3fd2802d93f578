"""The examples in the docstrings are true."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import numpy as np
import pytest

ROOMS = ("tokenfleet.envs", "tokenfleet.policies", "tokenfleet.evaluation", "calibration")
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def modules() -> list[str]:
    names = []
    for room in ROOMS:
        package = importlib.import_module(room)
        names += [room, *(found.name for found in pkgutil.walk_packages(package.__path__, f"{room}."))]
    return [name for name in names if not name.endswith("._native")]


@pytest.mark.parametrize("name", modules())
def test_examples(name: str) -> None:
    module = importlib.import_module(name)
    failed, _ = doctest.testmod(module, extraglobs={"np": np}, optionflags=OPTIONS)
    assert failed == 0
