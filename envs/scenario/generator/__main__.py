"""`python -m tokenfleet.envs.scenario.generator`: drawn fleets as files that every script takes.

python -m tokenfleet.envs.scenario.generator --split test --count 3 --out fleets
python evaluate.py --config-dir fleets scenario=generalist-test-0
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tokenfleet.envs.commands import exit_status
from tokenfleet.envs.files import check_free, entry_text, write_whole
from tokenfleet.envs.scenario.generator.draw import drawn_data, fleet_name
from tokenfleet.envs.scenario.generator.ranges import load_ranges
from tokenfleet.envs.spec import SpecError
from tokenfleet.envs.splits import SPLITS

COMMAND = "python -m tokenfleet.envs.scenario.generator"


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; see the module."""
    parser = argparse.ArgumentParser(prog=COMMAND, description="Draw fleets from ranges, as files of scenarios.")
    parser.add_argument("--ranges", default="generalist", help="a name of the catalogue, or a YAML file")
    parser.add_argument("--split", choices=SPLITS, default="train", help="of fleets (default: train)")
    parser.add_argument("--first", type=int, default=0, help="number of the first fleet (default: 0)")
    parser.add_argument("--count", type=int, default=1, help="how many (default: 1)")
    parser.add_argument("--out", type=Path, required=True, help="folder; files are written to its scenario/")
    parser.add_argument("--force", action="store_true", help="overwrite files")
    typed = parser.parse_args(arguments)
    return exit_status(lambda: _write(typed))


def _write(typed: argparse.Namespace) -> None:
    if typed.count < 1:
        raise SpecError([f"--count: must be at least 1 (got {typed.count})"])
    ranges = load_ranges(typed.ranges)
    contents = {}
    for index in range(typed.first, typed.first + typed.count):
        path = typed.out / "scenario" / f"{fleet_name(ranges, typed.split, index)}.yaml"
        check_free(path, typed.force)
        contents[path] = entry_text(drawn_data(ranges, typed.split, index)).encode()
    for path in write_whole(contents):
        print(f"Written: {path}")


if __name__ == "__main__":
    sys.exit(main())
