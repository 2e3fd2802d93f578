"""Paired evaluation of policies on held-out episodes: rows, statistics, tables, figures.

| module | subject |
|---|---|
| `study` | all of it, from candidates to rows: begin here |
| `candidates`, `episodes` | policies under evaluation, and the episodes that they meet |
| `metrics`, `latency`, `identity`, `own_files` | what is said of an episode, and which environments are the same |
| `results`, `journal` | rows and their files; batches that an interrupted study has behind it |
| `pairing`, `statistics`, `summary` | rows on equal terms, intervals, ranking and verdict |
| `table`, `figures`, `timeline`, `style`, `learning` | what a person looks at |
| `ledgers`, `saving` | means of ledgers; all files of a study |
| `protocol`, `suite` | scores by a frozen protocol, and over a suite of scenarios |
| `events` | how a fleet answered each call for less power |
| `offered` | what the episodes of a split offer |
| `screen` | whether a scenario is worth learning on; a package, as those below are |
| `bound` | what no policy can exceed |
| `contenders`, `leaderboard`, `robustness`, `generalist` | the pages of results, and the commands that measure them |
"""

if __name__ != "tokenfleet.evaluation":
    raise ImportError("import tokenfleet.evaluation, not evaluation")

from tokenfleet.evaluation.candidates import Candidate
from tokenfleet.evaluation.episodes import episode_seeds, evaluate_policy
from tokenfleet.evaluation.journal import Journal
from tokenfleet.evaluation.ledgers import LedgerBook
from tokenfleet.evaluation.pairing import make_study
from tokenfleet.evaluation.results import EpisodeRow, append_rows, merge_rows, read_rows, write_rows
from tokenfleet.evaluation.saving import save_study
from tokenfleet.evaluation.statistics import (
    Interval,
    PairedBootstrap,
    interquartile_mean,
    probability_of_improvement,
)
from tokenfleet.evaluation.study import run_study
from tokenfleet.evaluation.summary import Summary, summarise, verdict
from tokenfleet.evaluation.table import print_table
from tokenfleet.evaluation.timeline import Timeline, record_timeline

__all__ = [
    "Candidate",
    "EpisodeRow",
    "Interval",
    "Journal",
    "LedgerBook",
    "PairedBootstrap",
    "Summary",
    "Timeline",
    "append_rows",
    "episode_seeds",
    "evaluate_policy",
    "interquartile_mean",
    "make_study",
    "merge_rows",
    "print_table",
    "probability_of_improvement",
    "read_rows",
    "record_timeline",
    "run_study",
    "save_study",
    "summarise",
    "verdict",
    "write_rows",
]
