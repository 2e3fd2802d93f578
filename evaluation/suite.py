"""The score of policies over a suite of scenarios: `python -m tokenfleet.evaluation.suite FOLDER ...`.

The folders are what evaluate.py has written, one a scenario. A scenario without a reference in the protocol is refused.
Policies that did not meet all of the scenarios are left out.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tokenfleet.envs.commands import exit_status
from tokenfleet.envs.spec import SpecError
from tokenfleet.evaluation.protocol import Protocol, load_protocol, score_text, suite_score
from tokenfleet.evaluation.results import read_rows
from tokenfleet.evaluation.saving import ROWS
from tokenfleet.evaluation.summary import Summary, summarise

COMMAND = "python -m tokenfleet.evaluation.suite"


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; see the module."""
    parser = argparse.ArgumentParser(prog=COMMAND, description="Score policies over a suite of scenarios.")
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="what evaluate.py has written")
    typed = parser.parse_args(arguments)
    return exit_status(lambda: _print_scores(typed.folders))


def _print_scores(folders: Sequence[Path]) -> None:
    protocol = load_protocol()
    scores = suite_scores([_summary(folder) for folder in folders], protocol)
    print("\n".join(_lines(protocol, scores)))


def suite_scores(summaries: Sequence[Summary], protocol: Protocol) -> dict[str, dict[str, float]]:
    """Scores by policy and scenario, of policies that met every scenario; the best policy first.

    Raises:
        SpecError: a study without a score in the protocol, two of one scenario, or no policy that met all.
    """
    by_scenario: dict[str, dict[str, float]] = {}
    for summary in summaries:
        study, reference = summary.study, protocol.reference(summary.study)
        if reference is None:
            why = protocol.why_none(study) or f"{protocol.name} has no reference for it"
            raise SpecError([f"{study.scenario or 'an environment that is no fleet'}: {why}"])
        if study.scenario in by_scenario:
            raise SpecError([f"{study.scenario}: there are two studies of it; name one"])
        usd = {name: summary.estimates[name]["net_value_usd"].mean.estimate for name in summary.ranking}
        by_scenario[study.scenario] = {name: reference.score(value) for name, value in usd.items()}
    names = set.intersection(*(set(scores) for scores in by_scenario.values()))
    if not names:
        raise SpecError([f"policies: none met all of {', '.join(by_scenario)}"])
    found = {name: {scenario: scores[name] for scenario, scores in by_scenario.items()} for name in sorted(names)}
    return dict(sorted(found.items(), key=lambda item: -suite_score(item[1].values())))


def _summary(folder: Path) -> Summary:
    files = [folder / f"{ROWS}.{suffix}" for suffix in ("parquet", "csv")]
    return summarise(read_rows(next((path for path in files if path.exists()), files[0])))


def _lines(protocol: Protocol, scores: Mapping[str, Mapping[str, float]]) -> Iterator[str]:
    scenarios = list(next(iter(scores.values())))
    width = max(len(name) for name in (*scores, "policy"))
    yield "  ".join([f"{'policy':{width}}", f"{protocol.name:>12}", *(f"{name:>12}" for name in scenarios)])
    for name, of_each in scores.items():
        numbers = [suite_score(of_each.values()), *of_each.values()]
        yield "  ".join([f"{name:{width}}", *(f"{score_text(score):>12}" for score in numbers)])


if __name__ == "__main__":
    sys.exit(main())
