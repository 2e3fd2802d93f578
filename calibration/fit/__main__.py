"""Recompute every fitted number of the catalogue: `python -m calibration.fit [--write]`, from the repository's root.

Without `--write` it prints predicted against measured and says which YAML values differ from the fit; with it, it
rewrites those values and leaves the rest of each file as it is.
"""

from __future__ import annotations

import argparse

from calibration.fit.power.board import CHIPS, fit_board
from calibration.fit.power.clock import fit_clock
from calibration.fit.profiles import time_fits
from calibration.fit.shipped import shipped_differences, write
from tokenfleet.envs.fitting.errors import mean_error, worst_error


def report() -> str:
    """Predicted against measured, as text."""
    lines = [f"{'profile':36} {'comparison':16} {'runs':>4} {'mean |err|':>10} {'worst':>7}"]
    for name, fit in time_fits().items():
        lines += [_row(name, key, errors) for key, errors in fit.errors.items()]
    lines += [_row(chip, "board power", fit_board(chip).errors) for chip in CHIPS]
    clock = fit_clock()
    lines.append(f"clock (A100): Ps {clock.static_w:.0f} W (mean error {clock.power_error:.1%}),")
    floor, memory = clock.voltage_floor_fraction, clock.memory_fraction
    lines.append(f"  voltage floor {floor:.3f}, prefill's m {memory:.3f} (mean error {clock.time_error:.1%})")
    return "\n".join(lines)


def main() -> None:
    """Print the report; write the catalogue if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="rewrite the fitted values in the catalogue")
    arguments = parser.parse_args()
    print(report())
    if arguments.write:
        write()
    print("\n".join(shipped_differences()) or "the catalogue holds the fit")


def _row(name: str, key: str, errors: list[float]) -> str:
    return f"{name:36} {key:16} {len(errors):4d} {mean_error(errors):10.1%} {worst_error(errors):+7.1%}"


if __name__ == "__main__":
    main()
