"""Which of its fleets an environment is asked about."""

from __future__ import annotations

from typing import Any

import numpy as np

from tokenfleet.envs.engine.checks import check_index
from tokenfleet.envs.spec import SpecError, shown


def parse_fleets(given: Any, num_envs: int, name: str = "fleets") -> list[int]:
    """The numbers of fleets that a call was given.

    >>> parse_fleets(np.array([2, 0]), num_envs=3)
    [2, 0]

    Args:
        given: what the caller gave.
        num_envs: N; fleets have the numbers 0 to N - 1.
        name: the argument, for messages.

    Raises:
        SpecError: not a list of whole numbers.
        IndexError: there is no such fleet.
    """
    numbers = list(given) if hasattr(given, "__iter__") else None
    if numbers is None or not all(_is_number(number) for number in numbers):
        raise SpecError([f"{name}: must be a list of numbers of fleets, such as [0] (got {shown(given)})"])
    for number in numbers:
        check_index(number, num_envs, name)
    return [int(number) for number in numbers]


def check_distinct(fleets: list[int], name: str = "fleets") -> None:
    """Refuse a fleet that is to become two.

    Raises:
        SpecError: one is named more than once.
    """
    twice = next((index for index in fleets if fleets.count(index) > 1), None)
    if twice is not None:
        raise SpecError([f"{name}: a fleet can become one other (fleet {twice} is named more than once)"])


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)
