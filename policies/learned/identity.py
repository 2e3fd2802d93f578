"""Identity of a policy: one that was trained or tuned anew is another policy, even under the same name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tokenfleet.envs.files.digest import short_digest
from tokenfleet.policies.learned.hashed_folder import HASHES_FILE
from tokenfleet.policies.learned.layout import find_checkpoint, named_checkpoint
from tokenfleet.policies.policy_files import resolved
from tokenfleet.policies.registry import Choice
from tokenfleet.policies.shipped import CHECKPOINT


def policy_hash(policy: Choice | Path) -> str:
    """Hash of a policy as the registry takes it, and of the files of a checkpoint.

    Args:
        policy: as the registry takes it, or the folder of a checkpoint or run.

    Raises:
        SpecError: there is no such file or checkpoint.
    """
    if isinstance(policy, Path):
        return short_digest(_hashes(policy))
    choice = resolved(policy)
    if isinstance(choice, Mapping) and choice["name"] == CHECKPOINT:
        return short_digest([choice, _hashes(named_checkpoint(choice["folder"]))])
    return short_digest(choice)


def _hashes(checkpoint: Path) -> str:
    """The hashes of all files of a checkpoint, as it lists them."""
    return (find_checkpoint(checkpoint) / HASHES_FILE).read_text(encoding="utf-8")
