"""How far apart the splits of scenarios are in what they offer: `python -m tools.split_loads [NAME ...]`.

Differences of train, validation and test from the mean of the three, in percent, as a table in Markdown.
"""

from __future__ import annotations

import argparse

from tokenfleet.envs.catalog import catalog_names
from tokenfleet.envs.scenario import load_scenario
from tokenfleet.envs.splits import SPLITS
from tokenfleet.evaluation.offered import QUANTITIES, differences, offered


def main() -> None:
    """Print the table, a row a scenario."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="scenarios; all that ship by default")
    parser.add_argument("--episodes", type=int, default=256, help="of each split (default: %(default)s)")
    arguments = parser.parse_args()
    print(f"| scenario | {' | '.join(quantity.replace('_', ' ') for quantity in QUANTITIES)} |")
    print("|---|" + "---|" * len(QUANTITIES))
    for name in arguments.names or sorted(catalog_names("scenario")):
        scenario = load_scenario(name)
        difference, _ = differences({split: offered(scenario, split, arguments.episodes) for split in SPLITS})
        cells = [" / ".join(f"{100 * value:+.1f}" for value in column) for column in difference.T]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
