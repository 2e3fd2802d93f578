"""Whether a scenario is worth learning on: `python -m tokenfleet.evaluation.screen --scenario NAME`.

| module | what |
|---|---|
| `plans` | set-points of many policies as entries of the action `setpoints`, constant or moved by the state |
| `space` | the numbers that are searched |
| `features` | what the state is, site by site, on a common scale |
| `rollouts` | what plans and rules come to in episodes, spread over processes |
| `tuning` | CMA-ES with the same episodes for all of a generation |
| `planner` | a planner by forks, and its placebo |
| `record` | everything measured, in one JSON file from which a screen that was killed goes on |
| `budget` | how a screen divides its minutes |
| `probes` | plans that a sensible scenario punishes, and plans without one group of set-points |
| `findings` | numbers with intervals from what was measured |
| `criteria` | what a scenario must show to be worth learning on |
| `card` | the findings as text |
| `run` | the screen from its start to its end |
| `freeze` | reference values of the protocol of scores, from screens |
"""
