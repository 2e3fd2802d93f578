"""`python -m tokenfleet.evaluation.generalist.matrix`; see the package."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from tokenfleet.envs.commands import exit_status
from tokenfleet.envs.scenario import Scenario, load_scenario
from tokenfleet.envs.scenario.generator import draw_scenario, load_ranges
from tokenfleet.envs.spec import SpecError
from tokenfleet.evaluation.generalist.commands import add_options, options_of
from tokenfleet.evaluation.generalist.finetune import HELP, finetuning_command
from tokenfleet.evaluation.generalist.finetuning import FinetuningOptions, finetune
from tokenfleet.evaluation.generalist.matrix.entrants import FINE_TUNED, SPECIALIST, ZERO_SHOT, generalist_by, rivals_of
from tokenfleet.evaluation.generalist.matrix.figure import draw_rows
from tokenfleet.evaluation.generalist.matrix.page import row_text, write_page
from tokenfleet.evaluation.generalist.matrix.row import Row, row_of
from tokenfleet.evaluation.identity import scenario_hash
from tokenfleet.evaluation.leaderboard.cells import CellMeasurement, Cells
from tokenfleet.evaluation.metrics import SECONDS
from tokenfleet.evaluation.protocol import Protocol, load_protocol
from tokenfleet.evaluation.robustness.rivals import scenarios_with_rivals
from tokenfleet.evaluation.screen.record import MeasurementFile
from tokenfleet.evaluation.screen.rollouts import Workers
from tokenfleet.policies.generalist.weights import SUFFIX

COMMAND = "python -m tokenfleet.evaluation.generalist.matrix"
FOLDER = "finetuned"
"""Of fine-tuned weights, in `--out`."""
LEAST_EPISODES = 2
LIMIT_DIGITS = 3
"""Behind the point, of a limit on seconds: it stands in commands."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; see the package."""
    typed = _parser().parse_args(arguments)
    return exit_status(lambda: _run(typed))


def _run(typed: argparse.Namespace) -> None:
    options, protocol, out = options_of(typed, FinetuningOptions), load_protocol(), Path(typed.out)
    for name, least in (("test_episodes", LEAST_EPISODES), ("fleets", 0)):
        if getattr(typed, name) < least:
            raise SpecError([f"--{name.replace('_', '-')}: must be at least {least} (got {getattr(typed, name)})"])
    scenarios, rows = _scenarios(typed), list[Row]()
    with Workers(typed.workers) as workers, tqdm(scenarios, disable=not sys.stderr.isatty()) as bar:
        for scenario in bar:
            bar.set_description_str(scenario.name)
            tunes = not typed.as_on_file or (out / FOLDER / f"{scenario.name}{SUFFIX}").is_file()
            row = _row(scenario, options, tunes, protocol, typed.test_episodes, out, workers, bar.set_postfix_str)
            rows.append(row)
            print(row_text(row), flush=True)
    if typed.docs:
        images = Path(typed.docs) / "images"
        images.mkdir(parents=True, exist_ok=True)
        write_page(rows, protocol, typed.test_episodes, options, Path(typed.docs) / "generalist-matrix.md")
        draw_rows(rows, images / "generalist.png")


def _row(
    scenario: Scenario,
    options: FinetuningOptions,
    tunes: bool,
    protocol: Protocol,
    episodes: int,
    out: Path,
    workers: Workers,
    say: Callable[[str], None],
) -> Row:
    """Meet everyone in a scenario; the generalist that is fine-tuned there is among them if `tunes`.

    A fine-tuned generalist is to stand above a cap no longer than the specialist does in the validation episodes.
    """
    header = {"scenario": scenario.name, "config_hash": scenario_hash(scenario), "episodes": episodes}
    record = MeasurementFile(out / f"{scenario.name}.json", header | {"protocol": protocol.name})
    entrants = [*rivals_of(scenario.name), generalist_by(ZERO_SHOT, options.weights)]
    specialist = next((one for one in entrants if one.column == SPECIALIST), None)
    if tunes and specialist and options.above_cap_limit_s is None:
        cell = CellMeasurement(scenario, options.validation_episodes, options.seed, "validation")
        cells = Cells(cell, "validation/", record, workers, say)
        [done] = cells.measured({specialist.key: specialist.choice}).values()
        options = replace(options, above_cap_limit_s=round(done[SECONDS], LIMIT_DIGITS))
    if tunes:
        weights, _ = finetune(scenario, options, finetuning_command(options, scenario.name), out / FOLDER, workers)
        entrants.append(generalist_by(FINE_TUNED, str(weights)))
    cell = CellMeasurement(scenario, episodes, protocol.seed, protocol.split)
    measured = Cells(cell, "", record, workers, say).measured({one.key: one.choice for one in entrants})
    known = protocol.references.get(scenario.name)
    frozen = known is not None and known.config_hash == header["config_hash"] and episodes == protocol.episodes
    return row_of(scenario.name, entrants, measured, known if frozen else None)


def _scenarios(typed: argparse.Namespace) -> list[Scenario]:
    """Those by name, or the benchmark scenarios and as many test fleets as were asked for."""
    if typed.scenario:
        return [load_scenario(name) for name in typed.scenario]
    ranges = load_ranges(typed.ranges)
    drawn = [draw_scenario(ranges, "test", index) for index in range(typed.fleets)]
    return [*map(load_scenario, scenarios_with_rivals()), *drawn]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=COMMAND, description="Meet one policy for any fleet, fine-tuned too, specialists and rules."
    )
    parser.add_argument("--scenario", action="append", default=[], help="only this one; may be repeated")
    parser.add_argument("--ranges", default="generalist", help="what test fleets are drawn from (default: generalist)")
    parser.add_argument(
        "--fleets", type=int, default=0, help="test fleets as further rows, the first ones (default: 0)"
    )
    parser.add_argument("--test-episodes", type=int, default=100, help="of every scenario (default: 100)")
    parser.add_argument("--out", default="runs/generalist/matrix", help="folder that holds what has been done")
    parser.add_argument(
        "--as-on-file", action="store_true", help="fine-tune nothing: only weights that --out holds are met"
    )
    parser.add_argument("--docs", metavar="FOLDER", help="write generalist-matrix.md and images/generalist.png there")
    add_options(parser.add_argument_group("fine-tuning"), FinetuningOptions(), HELP)
    return parser


if __name__ == "__main__":
    sys.exit(main())
