"""Train a policy: compose, check, build, run, save. `python train.py --help` says what can be set."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path

import hydra
from gymnasium.vector import AutoresetMode
from omegaconf import DictConfig

from tokenfleet.configs import entry
from tokenfleet.configs.environments import make_vector_env, settled
from tokenfleet.configs.lock import only_writer
from tokenfleet.configs.runs import finish_run, start_run
from tokenfleet.configs.schema import TrainConfig
from tokenfleet.configs.validation import validation_metrics

log = logging.getLogger(__name__)


def train(config: TrainConfig, folder: Path) -> float:
    """Train, or go on with what `folder` holds.

    Args:
        config: what to train.
        folder: where the run is kept.

    Returns:
        The best mean validation return, for sweepers; without validation, the mean return of the last episodes.
    """
    # Imported here, for torch takes a second that --help and a mistyped key should not cost.
    from tokenfleet.policies.learned.callbacks import Cadence
    from tokenfleet.policies.learned.checkpoint import Origin
    from tokenfleet.policies.learned.training import TrainingJob, make_model, train_policy

    config = settled(config)
    env = make_vector_env(config, config.n_envs, "train", AutoresetMode.SAME_STEP)
    job = TrainingJob(
        algorithm=config.algo,
        env=env,
        origin=Origin(
            environment=config.env.id,
            environment_kwargs=config.env.kwargs,
            scenario=config.scenario.model_dump(mode="json") if config.scenario else None,
            training_seed=config.seed,
            timesteps=0,
        ),
        total_timesteps=config.total_timesteps,
        cadence=Cadence(validate=config.validation.every, log=config.log_every, snapshot=config.snapshot_every),
        validate=partial(validation_metrics, config),
        threads=config.threads,
        device=config.device,
        tensorboard=config.tensorboard,
        progress_bar=config.progress_bar,
    )
    model = make_model(job)
    with only_writer(folder):
        start_run(config, folder)
        log.info("training in %s; if it is interrupted, go on with resume=%s", folder, folder)
        result = train_policy(job, model, folder)
        finish_run(folder, score=result.score, timesteps=result.timesteps, wall_s=result.wall_s)
    log.info("done: score %.4g; evaluate it with checkpoint=%s", result.score, folder)
    return result.score


@hydra.main(version_base="1.3", config_path="configs", config_name="train")
def compose(composed: DictConfig) -> float:
    """Run one job of Hydra."""
    return entry.job(composed, train, TrainConfig)


def main() -> None:
    """Entry point of `tokenfleet-train`."""
    entry.run(compose)


if __name__ == "__main__":
    main()
