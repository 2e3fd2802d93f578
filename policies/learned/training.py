"""Training from the first step or from a snapshot, to the same end."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.logger import KVWriter, Logger

from tokenfleet.envs.spec import SpecError
from tokenfleet.policies.learned.algorithm_base import AlgorithmSpec
from tokenfleet.policies.learned.callbacks import Cadence, RunKeeper, Validate
from tokenfleet.policies.learned.checkpoint import FILES, describe_policy
from tokenfleet.policies.learned.checkpoint_meta import TrainingOrigin
from tokenfleet.policies.learned.correction import base_of
from tokenfleet.policies.learned.hashed_folder import check_hashed_folder
from tokenfleet.policies.learned.layout import BEST, LAST, PROGRESS_FILE, checkpoint_of
from tokenfleet.policies.learned.limited_env import limited_env
from tokenfleet.policies.learned.plain_data import recover_folder
from tokenfleet.policies.learned.progress_log import ProgressLog
from tokenfleet.policies.learned.resume import Snapshots
from tokenfleet.policies.learned.sb3 import begin_at_the_base, build_model, make_vec_env, own_code, use_threads
from tokenfleet.policies.learned.stopping import StopSignals
from tokenfleet.policies.learned.trackers import TrackedRun, make_writers
from tokenfleet.policies.learned.tracking import NoTracking, TrackingSpec
from tokenfleet.policies.learned.training_state import restore

_OUT_OF_MEMORY = re.compile(r"out of memory|can't allocate memory|not enough memory", re.IGNORECASE)
"""How torch reports a lack of memory in errors other than `MemoryError`."""
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
        tracking: where the numbers go beside `progress.csv`.
        config: of the run, as plain data, for trackers that keep it.
        trust: modules whose code a checkpoint of a base or teacher may name.
        progress_bar: show a bar if the output is a terminal.
        stop: asks the run to stop.
    """

    algorithm: AlgorithmSpec
    env: VectorEnv[Any, Any, Any]
    origin: TrainingOrigin
    total_timesteps: int
    cadence: Cadence
    validate: Validate | None = None
    threads: int = 1
    device: str = "cpu"
    tracking: TrackingSpec = field(default_factory=NoTracking)
    config: Mapping[str, Any] = field(default_factory=dict)
    trust: tuple[str, ...] = ()
    progress_bar: bool = False
    stop: StopSignals = field(default_factory=StopSignals)


@dataclass(frozen=True)
class TrainingResult:
    """The outcome of a run.

    Attributes:
        score: mean validation return of the best checkpoint; without validation, mean return of the last episodes.
        timesteps: environment steps taken.
        wall_s: how long the run has trained, over all of its processes up to each one's last snapshot [s].
        learned: whether any weight differs from those that the run began with.
    """

    score: float
    timesteps: int
    wall_s: float
    learned: bool


def make_model(job: TrainingJob) -> BaseAlgorithm:
    """A model with fresh weights on the job's environments; writes nothing.

    Raises:
        SpecError: the algorithm cannot work on the environment, there is no such device, or a checkpoint could not hold
            what would be trained.
        MemoryError: the network or the buffer does not fit.
    """
    use_threads(job.threads)
    env = make_vec_env(job.env, job.algorithm, job.trust)
    try:
        model = build_model(job.algorithm, env, job.origin.training_seed, job.device)
    except RuntimeError as error:
        if not _OUT_OF_MEMORY.search(str(error)):
            raise
        raise MemoryError(f"for the network or the buffer of {job.algorithm.name}") from None
    if base_of(job.env) is not None:
        begin_at_the_base(model.policy)
    describe_policy(model, job.algorithm, job.origin)
    return model


def train_policy(
    job: TrainingJob,
    model: BaseAlgorithm,
    folder: Path,
    record: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> TrainingResult:
    """Train, going on from the folder's newest snapshot where there is one.

    Leaves `progress.csv`, `checkpoints/best`, `checkpoints/last`, `snapshots/` and what a tracker keeps in the folder.

    Args:
        job: what to train.
        model: fresh from `make_model`.
        folder: of the run; one process at a time.
        record: gives a context that is entered once the folder is known to be sound, and left when training ends.

    Raises:
        SpecError: the folder's snapshots or its best checkpoint are damaged.
        Stopped: the job was asked to stop.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in (BEST, LAST):
        recover_folder(checkpoint_of(folder, name))
    state = Snapshots(folder).newest()
    if state is not None:
        _check_best(folder)
    with record():
        return _train(job, model, folder, state)


def _train(job: TrainingJob, model: BaseAlgorithm, folder: Path, state: dict[str, Any] | None) -> TrainingResult:
    first_weights = _weights(model)
    keeper = _keeper(job, folder)
    model.set_logger(_logger(job, folder, keeper.progress_log))
    try:
        if state is not None:
            restore(model, state["model"])
            keeper.restore(state["run"], model.logger)
            log.info("going on from step %s", f"{model.num_timesteps:,}")
        with own_code(job.algorithm):
            _learn(model, job, keeper, first=state is None)
    except BaseException as error:
        for writer in model.logger.output_formats:
            if isinstance(writer, TrackedRun):
                writer.error = error
        raise
    finally:
        keeper.close()
        model.logger.close()
    learned = any(not np.array_equal(first_weights[name], value) for name, value in _weights(model).items())
    return TrainingResult(_score(model, keeper), model.num_timesteps, keeper.wall_s, learned)


def _check_best(folder: Path) -> None:
    """Refuse a damaged best checkpoint: it would stay in place if no later validation was better."""
    best = checkpoint_of(folder, BEST)
    if best.exists():
        try:
            check_hashed_folder(best, FILES)
        except SpecError as error:
            hint = f"delete {best} to go on without the best policy so far"
            raise SpecError([f"resume: {line} ({hint})" for line in error.problems]) from None


def _weights(model: BaseAlgorithm) -> dict[str, NDArray[Any]]:
    return {name: tensor.detach().cpu().numpy().copy() for name, tensor in model.policy.state_dict().items()}


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
        stop=job.stop,
        limits=limited_env(job.env),
    )


def _logger(job: TrainingJob, folder: Path, progress_log: ProgressLog) -> Logger:
    writers: list[KVWriter] = [progress_log, *make_writers(job.tracking, folder, job.config)]
    return Logger(folder=str(folder), output_formats=writers)


def _score(model: BaseAlgorithm, keeper: RunKeeper) -> float:
    if math.isfinite(keeper.best_return):
        return keeper.best_return
    returns = [episode["r"] for episode in model.ep_info_buffer or ()]
    return float(np.mean(returns)) if returns else math.nan
