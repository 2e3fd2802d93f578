"""Where the parts of a training run stand in its folder."""

from __future__ import annotations

from pathlib import Path

CHECKPOINTS = "checkpoints"
BEST, LAST = "best", "last"
META_FILE, WEIGHTS_FILE = "meta.json", "policy.safetensors"
PROGRESS_FILE = "progress.csv"
SNAPSHOTS = "snapshots"


def checkpoint_of(run: Path, name: str) -> Path:
    """The folder of the checkpoint `BEST` or `LAST` of a run."""
    return run / CHECKPOINTS / name


def run_of(checkpoint: Path) -> Path:
    """The folder of the run that a checkpoint belongs to; the checkpoint itself where it stands alone."""
    return checkpoint.parent.parent if checkpoint.parent.name == CHECKPOINTS else checkpoint


def has_checkpoint(folder: Path) -> bool:
    """Whether a folder is a checkpoint, or a run with some."""
    return (folder / META_FILE).is_file() or (folder / CHECKPOINTS).is_dir()
