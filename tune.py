"""Tune the numbers of a policy on training episodes. `python tune.py --help` says what can be set."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import hydra
from omegaconf import DictConfig
from tqdm import tqdm

from tokenfleet.cli import entry
from tokenfleet.cli.environments import settled
from tokenfleet.cli.lock import only_writer
from tokenfleet.cli.runs import check_same_run, finish_run, recorded_run
from tokenfleet.cli.tuning import TUNED_FILE, subject_of, tune_policy
from tokenfleet.configs.schema import TuneConfig
from tokenfleet.evaluation.screen.rollouts import Workers
from tokenfleet.policies.policy_files import resolved
from tokenfleet.policies.tunable import Tunable

log = logging.getLogger(__name__)


def tune(config: TuneConfig, folder: Path) -> float:
    """Tune, or go on with what `folder` holds.

    Args:
        config: what to tune.
        folder: for `tuned.yaml`.

    Returns:
        Mean value of the tuned policy in the validation episodes.
    """
    config = settled(config.model_copy(update={"policy": resolved(config.policy)}))
    subject = subject_of(config)
    with only_writer(folder):
        check_same_run(config, folder)
        with recorded_run(config, folder):
            log.info("tuning %s in %s; to go on later, resume=%s", _searched(config, subject), folder, folder)
            bar = tqdm(bar_format="{elapsed} {desc}", disable=not sys.stderr.isatty())
            with bar, Workers(config.workers) as workers:
                tuned = tune_policy(config, subject, folder, workers, bar.set_description_str)
            finish_run(folder, value=tuned.value)
    log.info(
        "validation: %.4g, and %.4g before; gain %.4g [%.4g, %.4g]",
        tuned.value, tuned.before, tuned.gain, tuned.low, tuned.high,
    )  # fmt: skip
    log.info("evaluate it with policies=[%s]", folder / TUNED_FILE)
    return tuned.value


def _searched(config: TuneConfig, subject: Tunable) -> str:
    """What is tuned, for people."""
    return f"{len(subject.start)} numbers" if config.feedback_generations is None else "gains of feedback"


@hydra.main(version_base="1.3", config_path="configs", config_name="tune")
def compose(composed: DictConfig) -> float:
    """Run one job of Hydra."""
    return entry.job(composed, tune, TuneConfig)


def main() -> None:
    """Entry point of `tokenfleet-tune`."""
    entry.run(compose, TuneConfig)


if __name__ == "__main__":
    main()
