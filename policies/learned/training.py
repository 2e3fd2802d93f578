"""Training from the first step or from a snapshot, to the same end."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from gymnasium.vector import VectorEnv
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.logger import KVWriter, Logger, TensorBoardOutputFormat

from tokenfleet.policies.learned.algorithms import AlgorithmSpec
from tokenfleet.policies.learned.callbacks import Cadence, RunKeeper, Validate
from tokenfleet.policies.learned.checkpoint import BEST, LAST, Origin
from tokenfleet.policies.learned.plain_data import recover_folder
from tokenfleet.policies.learned.progress_log import ProgressLog
from tokenfleet.policies.learned.resume import Snapshots
from tokenfleet.policies.learned.sb3 import build_model, make_vec_env, use_threads
from tokenfleet.policies.learned.training_state import restore

PROGRESS_FILE = "progress.csv"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingJob:
    """One training run.

    Attributes:
        algorithm: hyper-parameters.
        env: in autoreset mode `SAME_STEP`.
        origin: what checkpoints say about where they come from; `training_seed` is the run's seed.
        total_timesteps: environment steps, over all environments.
        cadence: how often to validate, log and take snapshots.
        validate: mean metrics of a policy on the validation episodes; None for no validation.
        threads: of torch.
        device: of torch.
        tensorboard: also write TensorBoard files.
        progress_bar: show a bar if the output is a terminal.
    """

    algorithm: AlgorithmSpec
    env: VectorEnv[Any, Any, Any]
    origin: Origin
    total_timesteps: int
    cadence: Cadence
    validate: Validate | None = None
    threads: int = 1
    device: str = "cpu"
    tensorboard: bool = False
    progress_bar: bool = False


@dataclass(frozen=True)
class TrainingResult:
    """What a run came to.

    Attributes:
        score: best mean validation return; without validation, mean return of the last training episodes.
        timesteps: environment steps taken.
        wall_s: how long the run has trained, over all of its processes up to each one's last snapshot [s].
    """

    score: float
    timesteps: int
    wall_s: float


def make_model(job: TrainingJob) -> BaseAlgorithm:
    """A model with fresh weights on the job's environments; writes nothing.

    Raises:
        SpecError: the algorithm cannot work on the environment, or there is no such device.
    """
    use_threads(job.threads)
    env = make_vec_env(job.env, job.algorithm)
    return build_model(job.algorithm, env, job.origin.training_seed, job.device)


def train_policy(job: TrainingJob, model: BaseAlgorithm, folder: Path) -> TrainingResult:
    """Train, going on from the folder's newest snapshot where there is one.

    Leaves `progress.csv`, `checkpoints/best`, `checkpoints/last`, `snapshots/` and TensorBoard files in the folder.

    Args:
        job: what to train.
        model: fresh from `make_model`.
        folder: of the run; one process at a time.

    Raises:
        SpecError: the folder's snapshots are damaged.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in (BEST, LAST):
        recover_folder(folder / "checkpoints" / name)
    state = Snapshots(folder).newest()
    keeper = _keeper(job, folder)
    model.set_logger(_logger(job, folder, keeper.progress_log))
    if state is not None:
        restore(model, state["model"])
        keeper.restore(state["run"])
        log.info("going on from step %s", f"{model.num_timesteps:,}")
    _learn(model, job, keeper, first=state is None)
    model.logger.close()
    return TrainingResult(_score(model, keeper), model.num_timesteps, keeper.wall_s)


def _learn(model: BaseAlgorithm, job: TrainingJob, keeper: RunKeeper, first: bool) -> None:
    """stable-baselines3's own loop; it counts the steps that remain, and logs nothing by itself."""
    remaining = job.total_timesteps - (0 if first else model.num_timesteps)
    model.learn(max(remaining, 0), callback=keeper, log_interval=cast(int, None), reset_num_timesteps=first)


def _keeper(job: TrainingJob, folder: Path) -> RunKeeper:
    return RunKeeper(
        folder=folder,
        algorithm=job.algorithm,
        origin=job.origin,
        cadence=job.cadence,
        total=job.total_timesteps,
        validate=job.validate,
        progress_log=ProgressLog(folder / PROGRESS_FILE),
        progress_bar=job.progress_bar,
    )


def _logger(job: TrainingJob, folder: Path, progress_log: ProgressLog) -> Logger:
    writers: list[KVWriter] = [progress_log]
    if job.tensorboard:
        writers.append(TensorBoardOutputFormat(str(folder / "tensorboard")))
    return Logger(folder=str(folder), output_formats=writers)


def _score(model: BaseAlgorithm, keeper: RunKeeper) -> float:
    if math.isfinite(keeper.best_return):
        return keeper.best_return
    returns = [episode["r"] for episode in model.ep_info_buffer or ()]
    return float(np.mean(returns)) if returns else math.nan
