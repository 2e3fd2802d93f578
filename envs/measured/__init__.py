"""Profiles of one's own: from benchmark results and power logs to an entry of the catalogue.

python -m tokenfleet.envs.measured runs.csv --model llama-3.1-8b --gpu h100-sxm --own-gpu my-h100 --out mine

A fit starts from a profile, the catalogue's or a roofline, and moves only those of its numbers that the runs tell; it
says which they are, how far its predictions are from the runs, and how far from a run that it had not seen.
docs/your-own-hardware.md has an example.

| module | subject |
|---|---|
| `columns` | what columns and keys are called, and their units |
| `runs` | benchmark results, from CSV tables and the JSON files of `vllm bench serve` |
| `power_log` | logs of nvidia-smi, and the mean power of a run |
| `compare` | what a profile predicts of a run, beside what was measured; no run may beat physics |
| `fit` | the numbers that the runs tell, least squares, and the runs left out in turn |
| `report` | the fit as text |
| `entry` | the fit as files of the catalogue |
"""

from __future__ import annotations

from tokenfleet.envs.measured.compare import COMPARISONS, Bench, check_runs
from tokenfleet.envs.measured.entry import write_entries
from tokenfleet.envs.measured.fit import Fit, fit_profile
from tokenfleet.envs.measured.power_log import read_power_log, with_power
from tokenfleet.envs.measured.report import report
from tokenfleet.envs.measured.runs import Run, read_runs

__all__ = [
    "COMPARISONS",
    "Bench",
    "Fit",
    "Run",
    "check_runs",
    "fit_profile",
    "read_power_log",
    "read_runs",
    "report",
    "with_power",
    "write_entries",
]
