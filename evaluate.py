"""Evaluate policies on held-out episodes that all of them meet. `python evaluate.py --help` says what can be set."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import hydra
from gymnasium.vector import AutoresetMode
from omegaconf import DictConfig

from tokenfleet.cli import entry
from tokenfleet.cli.candidates import make_candidates, run_folders
from tokenfleet.cli.environments import make_vector_env, settled
from tokenfleet.cli.evaluations import recorded_evaluation
from tokenfleet.configs.schema import EvaluateConfig
from tokenfleet.evaluation.events import EventCard, cards_csv
from tokenfleet.evaluation.figures import draw_figures
from tokenfleet.evaluation.ledgers import LedgerBook
from tokenfleet.evaluation.saving import save_study
from tokenfleet.evaluation.study import record_timelines, run_study
from tokenfleet.evaluation.summary import summarise
from tokenfleet.evaluation.table import print_table


def evaluate(config: EvaluateConfig, folder: Path) -> float:
    """Run an evaluation, or go on with what `folder` holds, and save it.

    Args:
        config: what to evaluate.
        folder: for the results.

    Returns:
        Mean net value [USD] of the best policy, or its mean return in an environment that is not a fleet.

    Raises:
        LedgerError: an episode's ledger does not balance; the results are saved all the same.
    """
    config = settled(config)
    make_env = partial(make_vector_env, config, split=config.split, autoreset_mode=AutoresetMode.NEXT_STEP)
    probe = make_env(1)
    candidates = make_candidates(config, probe)
    probe.close()
    ledgers, events = LedgerBook(), list[EventCard]()
    with recorded_evaluation(config, folder, candidates) as journal:
        rows = run_study(
            make_env,
            candidates,
            config.episodes,
            config.seed,
            batch_size=config.n_envs,
            deterministic=config.deterministic,
            show_progress=True,
            on_ledger=ledgers.add,
            on_event=events.append,
            journal=journal,
        )
        summary = summarise(rows)
        timelines = record_timelines(make_env, candidates, summary, config.deterministic) if config.figures else []
        texts = {"ledger.csv": ledgers.csv()} if ledgers else {}
        texts |= {"events.csv": cards_csv(events)} if events else {}
        save_study(
            folder,
            rows,
            summary,
            timelines,
            formats=config.formats,
            texts=texts,
            draw=partial(draw_figures, summary, timelines, run_folders(candidates)) if config.figures else None,
        )
    print_table(summary)
    print(f"Results are in {folder}: {', '.join(sorted(path.name for path in folder.iterdir()))}")
    if ledgers:
        print(ledgers.audit())
    return summary.estimates[summary.ranking[0]][summary.headline.name].mean.estimate


@hydra.main(version_base="1.3", config_path="configs", config_name="evaluate")
def compose(composed: DictConfig) -> float:
    """Run one job of Hydra."""
    return entry.job(composed, evaluate, EvaluateConfig)


def main() -> None:
    """Entry point of `tokenfleet-evaluate`."""
    entry.run(compose, EvaluateConfig)


if __name__ == "__main__":
    main()
