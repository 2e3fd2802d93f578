"""Profiles of one's own: from benchmark results and power logs to an entry of the catalogue.

python -m tokenfleet.envs.fitting runs.csv --model llama-3.1-8b --gpu h100-sxm --own-gpu my-h100 --out mine

python -m tokenfleet.envs.fitting requests.csv.gz --model llama-3.1-8b --gpu h100-sxm --own-gpu my-h100 --out mine

A fit starts from a profile, the catalogue's or a roofline, and moves only the numbers that the runs tell. The report
names these numbers. It says how far the predictions are from the runs, and how far from a run that the fit had not
seen. docs/your-own-hardware.md has an example.

| module | subject |
|---|---|
| `columns` | what columns and keys are called, and their units |
| `runs` | benchmark results, from CSV tables and the JSON files of `vllm bench serve` |
| `power_log` | logs of nvidia-smi, and the mean power of a run |
| `bench`, `checks` | what was measured on; no run may beat physics |
| `iterations` | the iterations of a run, with and without prompts |
| `compare` | what a profile predicts of a run, beside what was measured |
| `numbers` | the numbers that runs can tell, and a profile with them at other values |
| `problem` | which numbers some runs do tell, and their least squares |
| `fit` | the whole fit: times, then watts, then the runs left out in turn |
| `report` | the fit as text |
| `records` | records of JSON, alone or line by line |
| `request_columns` | what a log of requests calls its columns |
| `request_log`, `request_fit`, `request_report` | logs of requests, and a fit to one |
| `replay` | given requests on one replica of the engine |
| `clock_sweep`, `clock_law`, `clocks` | jobs at several clocks, their law, and a fit to them |
| `entry` | the fit as files of the catalogue |

`errors`, `least_squares`, `knots` and `rounding` are the machinery. The fits of the shipped catalogue, in the folder
`calibration/` of the repository, use the same.
"""

from __future__ import annotations

from tokenfleet.envs.fitting.bench import Bench
from tokenfleet.envs.fitting.checks import check_runs
from tokenfleet.envs.fitting.compare import COMPARISONS
from tokenfleet.envs.fitting.entry import write_entries
from tokenfleet.envs.fitting.fit import Fit, fit_profile
from tokenfleet.envs.fitting.power_log import read_power_log, with_power
from tokenfleet.envs.fitting.report import report
from tokenfleet.envs.fitting.runs import Run, read_runs

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
