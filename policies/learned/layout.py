"""Where the parts of a training run stand in its folder."""

from __future__ import annotations

from pathlib import Path

from tokenfleet.envs.spec import SpecError
from tokenfleet.policies.policy_files import PRETRAINED

CHECKPOINTS = "checkpoints"
BEST, LAST = "best", "last"
META_FILE, WEIGHTS_FILE = "meta.json", "policy.safetensors"
PROGRESS_FILE = "progress.csv"
SNAPSHOTS = "snapshots"


def checkpoint_of(run: Path, name: str) -> Path:
    """The folder of the checkpoint `BEST` or `LAST` of a run."""
    return run / CHECKPOINTS / name


def run_of(checkpoint: Path) -> Path:
    """The folder of the run of a checkpoint; the checkpoint itself without a run."""
    return checkpoint.parent.parent if checkpoint.parent.name == CHECKPOINTS else checkpoint


def has_checkpoint(folder: Path) -> bool:
    """Whether a folder is a checkpoint, or a run with checkpoints."""
    return (folder / META_FILE).is_file() or (folder / CHECKPOINTS).is_dir()


def find_checkpoint(path: Path) -> Path:
    """The checkpoint folder that a path means: itself, or the best (else the last) of a run.

    Raises:
        SpecError: there is none.
    """
    candidates = [path, checkpoint_of(path, BEST), checkpoint_of(path, LAST)]
    for candidate in candidates:
        if (candidate / META_FILE).is_file():
            return candidate
    if path.is_file():
        hint = "a file; stable-baselines3's zip files can run code when they are opened and are never read here"
        raise SpecError([f"checkpoint: {path} is {hint}; give a folder that train.py wrote"])
    if not path.exists():
        raise SpecError([f"checkpoint: no such folder {str(path)!r}"])
    raise SpecError(
        [f"checkpoint: {path} holds no checkpoint ({META_FILE} is missing); give a folder that train.py wrote"]
    )


def named_checkpoint(folder: str) -> Path:
    """The folder that the policy `checkpoint` is given: a shipped checkpoint by its name, or any folder."""
    shipped = PRETRAINED / folder
    return shipped if shipped.is_dir() else Path(folder)
