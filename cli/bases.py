"""From `policy.base` of a configuration to the policy that a network corrects."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tokenfleet.configs.schema import TrainConfig
from tokenfleet.policies.learned.layout import LAST, checkpoint_of, has_checkpoint
from tokenfleet.policies.policy_files import resolved

if TYPE_CHECKING:
    from tokenfleet.policies.learned.correction import Base


def with_base_written_out(config: TrainConfig) -> TrainConfig:
    """The configuration with the content of its base's file: the run does not depend on the file.

    Raises:
        SpecError: there is no such file, or none of a policy.
    """
    policy = config.policy.model_copy(update={"base": resolved(config.policy.base)})
    return config.model_copy(update={"policy": policy})


def find_base(config: TrainConfig, folder: Path) -> Base | None:
    """What the network of a run corrects; None for nothing.

    Args:
        config: of the run.
        folder: of the run; one that goes on has its base in its own checkpoint.

    Raises:
        SpecError: the base is a checkpoint that cannot be read.
    """
    from tokenfleet.policies.learned.checkpoint import load_policy
    from tokenfleet.policies.learned.correction import Base

    choice, reach = config.policy.base, config.policy.reach
    if choice is None:
        return None
    own = checkpoint_of(folder, LAST)
    if own.exists():
        return load_policy(own, config.trust).base
    if isinstance(choice, str) and has_checkpoint(Path(choice)):
        return Base(reach, learned=load_policy(choice, config.trust))
    return Base(reach, choice)
