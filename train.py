"""Train a policy: compose, check, build, run, save. `python train.py --help` says what can be set."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import hydra
from gymnasium.vector import AutoresetMode
from omegaconf import DictConfig

from tokenfleet.cli import entry
from tokenfleet.cli.bases import find_base, with_policies_written_out
from tokenfleet.cli.environments import limited, make_vector_env, rewarded, settled
from tokenfleet.cli.lock import only_writer
from tokenfleet.cli.runs import check_same_run, finish_run, is_run, not_restorable, recorded_run
from tokenfleet.cli.validation import validation_metrics
from tokenfleet.configs.schema import TrainConfig
from tokenfleet.policies.learned.stopping import Stopped, StopSignals
from tokenfleet.policies.learned.updates import learning_warning

log = logging.getLogger(__name__)


def train(config: TrainConfig, folder: Path) -> float:
    """Train, or go on with what `folder` holds.

    Args:
        config: what to train.
        folder: where the run is kept.

    Returns:
        The mean validation return of the best checkpoint, for sweepers; without validation, the mean return of the last
        episodes. Where there are limits, the best checkpoint is one that keeps them, if any does.

    SIGINT and SIGTERM end the program with a snapshot, a hint, and the exit status of a process that they end.
    """
    with StopSignals() as stop:
        try:
            return _train(config, folder, stop)
        except Stopped as stopped:
            hint = f"; go on with resume={folder}" if is_run(folder) and not not_restorable(config) else ""
            print(f"interrupted{hint}", file=sys.stderr)
            sys.exit(stopped.exit_status)


def _train(config: TrainConfig, folder: Path, stop: StopSignals) -> float:
    # Imported here, for torch takes a second that --help and a mistyped key should not cost.
    from tokenfleet.policies.learned.callbacks import Cadence
    from tokenfleet.policies.learned.checkpoint_meta import TrainingOrigin
    from tokenfleet.policies.learned.correction import CorrectedEnv
    from tokenfleet.policies.learned.trackers import check_installed
    from tokenfleet.policies.learned.training import TrainingJob, make_model, train_policy

    config = with_policies_written_out(settled(config))
    check_installed(config.tracking)
    env = limited(config, make_vector_env(rewarded(config), config.n_envs, "train", AutoresetMode.SAME_STEP))
    base = find_base(config, folder)
    env = env if base is None else CorrectedEnv(env, base)
    job = TrainingJob(
        algorithm=config.algo,
        env=env,
        origin=TrainingOrigin(
            environment=config.env.id,
            environment_kwargs=config.env.kwargs,
            environment_wrappers=config.env.wrappers,
            scenario=config.scenario.model_dump(mode="json") if config.scenario else None,
            training_seed=config.seed,
            timesteps=0,
        ),
        total_timesteps=config.total_timesteps,
        cadence=Cadence(validate=config.validation.every, log=config.log_every, snapshot=config.snapshot_every),
        validate=partial(validation_metrics, config),
        threads=config.threads,
        device=config.device,
        tracking=config.tracking,
        config=config.kept(),
        trust=config.trust,
        progress_bar=config.progress_bar,
        stop=stop,
    )
    model = make_model(job)
    with only_writer(folder):
        check_same_run(config, folder)
        result = train_policy(job, model, folder, partial(_announced, config, folder))
        finish_run(folder, **vars(result))
    if not result.learned:
        log.warning("nothing was learned: the weights are those that the run began with")
    where = f"{job.origin.keys}{config.limits.ranges}"
    log.info("done: score %.4g; evaluate it with %s checkpoint=%s", result.score, where, folder)
    return result.score


@contextlib.contextmanager
def _announced(config: TrainConfig, folder: Path) -> Iterator[None]:
    """`recorded_run`, with what the user should know as it begins."""
    with recorded_run(config, folder):
        hint = "" if not_restorable(config) else f"; if it is interrupted, go on with resume={folder}"
        log.info("training in %s%s", folder, hint)
        for part in not_restorable(config):
            log.warning("%s does not tell its state, so this run cannot be resumed; see docs/training.md", part)
        warning = learning_warning(config.algo, config.n_envs, config.total_timesteps)
        if warning:
            log.warning(warning)
        yield


@hydra.main(version_base="1.3", config_path="configs", config_name="train")
def compose(composed: DictConfig) -> float:
    """Run one job of Hydra."""
    return entry.job(composed, train, TrainConfig)


def main() -> None:
    """Entry point of `tokenfleet-train`."""
    entry.run(compose, TrainConfig)


if __name__ == "__main__":
    main()
