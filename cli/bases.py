"""From the names of policies in a configuration to the policies that a network corrects or learns from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tokenfleet.configs.schema import TrainConfig
from tokenfleet.policies.learned.correction import BASE_KEY
from tokenfleet.policies.learned.layout import LAST, checkpoint_of
from tokenfleet.policies.policy_files import resolved, told_under

if TYPE_CHECKING:
    from tokenfleet.policies.learned.correction import Base


def with_policies_written_out(config: TrainConfig) -> TrainConfig:
    """The configuration with the content of the files of its base and its teacher: the run does not depend on them.

    Raises:
        SpecError: there is no such file, or none of a policy.
    """
    with told_under(BASE_KEY):
        policy = config.policy.model_copy(update={"base": resolved(config.policy.base)})
    return config.model_copy(update={"policy": policy, "algo": config.algo.written_out(resolved)})


def find_base(config: TrainConfig, folder: Path) -> Base | None:
    """What the network of a run corrects; None for nothing.

    Args:
        config: of the run.
        folder: of the run; one that goes on has its base in its own checkpoint.

    Raises:
        SpecError: the base is a checkpoint that cannot be read.
    """
    from tokenfleet.policies.learned.checkpoint import load_base, load_policy

    choice, reach = config.policy.base, config.policy.reach
    if choice is None:
        return None
    own = checkpoint_of(folder, LAST)
    if own.exists():
        return load_policy(own, config.trust).base
    with told_under(BASE_KEY):
        return load_base(choice, reach, config.trust)
