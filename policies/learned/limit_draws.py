"""Which limit an episode draws."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


class LimitDraws:
    """Where the limits of the present episodes stand among their knots.

    Environments with equal seeds form a group. In every round of episodes the range of each limit is divided anew among
    the groups, so that few groups cover the range.

    Args:
        sizes: knots of each limit, `[L]`.
        num_envs: N.

    Attributes:
        places: from 0 at the first knot to K - 1 at the last, `[L, N]`.
    """

    def __init__(self, sizes: NDArray[np.int64], num_envs: int) -> None:
        self._sizes = sizes[:, None]
        self.places: NDArray[np.float64] = np.zeros((len(sizes), num_envs))
        self.seed(np.arange(num_envs))

    def seed(self, seeds: NDArray[np.int64]) -> None:
        """Begin with the first round; `seeds` are those of the environments, `[N]`."""
        self._seeds = seeds.astype(np.int64)
        self._distinct, self._group = np.unique(self._seeds, return_inverse=True)
        self._begun = np.zeros(len(seeds), np.int64)

    def begin(self, begun: NDArray[np.bool_]) -> None:
        """Draw for the episodes that begin, `[N]`."""
        for number in np.unique(self._begun[begun]).tolist():
            chosen = begun & (self._begun == number)
            self.places[:, chosen] = self._round(number)[:, self._group[chosen]]
        self._begun[begun] += 1

    def get_state(self) -> dict[str, Any]:
        """What it needs to go on after an interruption."""
        return {"seeds": self._seeds.copy(), "begun": self._begun.copy(), "places": self.places.copy()}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `get_state` gave."""
        self.seed(np.array(state["seeds"]))
        self._begun, self.places = np.array(state["begun"]), np.array(state["places"])

    def _round(self, number: int) -> NDArray[np.float64]:
        """The places of all groups in one round, `[L, G]`: a Latin hypercube that gives every knot the same weight."""
        rng = np.random.default_rng([number, *self._distinct.tolist()])
        shape = len(self._sizes), len(self._distinct)
        strata = rng.permuted(np.broadcast_to(np.arange(shape[1]), shape), axis=1)
        drawn = (strata + rng.random(shape)) / shape[1]
        places: NDArray[np.float64] = np.clip(drawn * self._sizes - 0.5, 0.0, self._sizes - 1.0)
        return places
