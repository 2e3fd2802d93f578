"""Whether a scenario is worth learning on: `python -m tokenfleet.evaluation.screen --scenario NAME`.

| module | what |
|---|---|
| `plans` | set-points of many policies as entries of the action `setpoints`, constant or moved by the state |
| `space` | the few directions in which plans are searched |
| `rollouts` | results of plans and rules in episodes, spread over processes |
| `tuning` | CMA-ES with the same episodes for all of a generation |
| `planner` | a planner by forks, and its placebo |
| `record` | everything measured, in one JSON file from which a screen that was killed goes on |
| `budget` | how a screen divides its minutes |
| `probes` | plans that a sensible scenario punishes, plans without one group of set-points, and an obvious rule |
| `findings`, `conclusions` | numbers with intervals from what was measured, and all of them for the card |
| `criteria` | whether the findings make a benchmark |
| `card` | the findings as text |
| `table` | the cards of many screens side by side |
| `options` | what a person may set |
| `limit` | a limit on seconds above a cap |
| `stage` | one search, and what its candidates are ranked by |
| `search` | constants and feedback, searched one after the other |
| `run` | the screen from its start to its end |
| `found` | what a screen has found, as policies that evaluate.py takes |
| `export` | the same, written as a file |
| `freeze` | reference values of the protocol of scores, from screens |
| `surpass` | shipped policies that are better than the best of a screen |
"""
