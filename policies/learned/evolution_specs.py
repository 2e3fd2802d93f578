"""The hyper-parameters of algorithms that search for a network's weights without gradients."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tokenfleet.envs.spec import Count, PositiveFloat, PositiveFraction
from tokenfleet.policies.learned.algorithm_base import AlgorithmSpec
from tokenfleet.policies.learned.networks import ControllerNetwork


class EvolutionSpec(AlgorithmSpec):
    """What these algorithms share.

    Attributes:
        episodes: of each candidate in a generation, the same for all; there are `n_envs / episodes` candidates.
        sigma: standard deviation of candidates around the centre; for CMA-ES only at first.
        links: which entries of an observation the actions of a linear policy may follow.
        fields: which fields of a fleet's observation they may follow; None for all.
    """

    episodes: Count = 8
    sigma: PositiveFloat = 0.1
    links: Literal["all", "own", "none"] = "all"
    fields: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    policy_kwargs: ControllerNetwork = ControllerNetwork()

    def group_size(self, num_envs: int) -> int:
        """See `AlgorithmSpec.group_size`: as many as there are candidates."""
        return max(num_envs // self.episodes, 1)

    def environments_problem(self, num_envs: int) -> str | None:
        """See `AlgorithmSpec.environments_problem`."""
        candidates, rest = divmod(num_envs, self.episodes)
        if not rest and candidates and candidates % 2 == 0:
            return None
        fitting = max(2 * round(num_envs / self.episodes / 2), 2) * self.episodes
        return (
            f"n_envs: must be algo.episodes ({self.episodes}) times an even number of candidates (got {num_envs}); "
            f"give n_envs={fitting}"
        )


class CmaEsSpec(EvolutionSpec):
    """CMA-ES (Hansen, arXiv:1604.00772).

    Attributes:
        diagonal: adapt a standard deviation for each weight instead of a whole covariance matrix.
    """

    name: Literal["cma_es"] = "cma_es"
    diagonal: bool = True


class OpenAiEsSpec(EvolutionSpec):
    """OpenAI's evolution strategy (Salimans et al. 2017, arXiv:1703.03864).

    Attributes:
        learning_rate: of Adam.
    """

    name: Literal["openai_es"] = "openai_es"
    learning_rate: PositiveFloat = 0.03


class ArsSpec(EvolutionSpec):
    """Augmented random search (Mania et al. 2018, arXiv:1803.07055).

    Attributes:
        learning_rate: how far a generation moves the centre.
        top_fraction: share of the directions that count.
    """

    name: Literal["ars"] = "ars"
    learning_rate: PositiveFloat = 0.05
    top_fraction: PositiveFraction = 0.5
