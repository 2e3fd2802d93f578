"""CMA-ES: N. Hansen, "The CMA evolution strategy: a tutorial", arXiv 1604.00772; the package `cma`."""

from __future__ import annotations

import cma
import numpy as np
from cma.sigma_adaptation import CMAAdaptSigmaCSA
from numpy.typing import NDArray

from tokenfleet.policies.search import Float64Array, finite


class CovarianceSearch:
    """See `tokenfleet.policies.search.Search`.

    Args:
        start: the first centre, `[D]`.
        sigma: standard deviation of the first generation.
        population: candidates of a generation; None for the package's choice, 4 + 3 ln D.
        seed: of its own generator; numpy's global one is left alone.
        diagonal: adapt a standard deviation for each number instead of a whole covariance matrix, which learns faster
            where numbers are many and generations few (Ros and Hansen 2008).
    """

    def __init__(
        self, start: Float64Array, sigma: float, population: int | None, seed: int, diagonal: bool = False
    ) -> None:
        rng = np.random.default_rng(seed)
        options = {
            "seed": np.nan,  # do not seed numpy's
            "randn": lambda *shape: rng.standard_normal(shape),
            "AdaptSigma": CMAAdaptSigmaCSA,  # the default for many numbers is another, and costs two candidates
            "CMA_diagonal": diagonal,
            "verbose": -9,
            "verb_log": 0,
        }
        if population is not None:
            options["popsize"] = population
        self._strategy = cma.CMAEvolutionStrategy(np.asarray(start, np.float64), sigma, options)
        self.centre = np.array(start, np.float64)
        self.population = int(self._strategy.popsize)

    def ask(self) -> Float64Array:
        """See `Search`."""
        self._asked = self._strategy.ask()
        return np.array(self._asked)

    def tell(self, values: NDArray[np.generic]) -> None:
        """See `Search`."""
        self._strategy.tell(self._asked, (-finite(values)).tolist())
        self.centre = np.array(self._strategy.result.xfavorite)
