"""Fleets under way: advanced tick by tick, held and restored, and copied to ask what other decisions would lead to.

| module | subject |
|---|---|
| `setting` | what fleets run under: scenario, parts, horizon, engine |
| `running` | N fleets, each in its own episode: a tick, an end, a new episode |
| `snapshots` | what is held of fleets that others can be brought back to |
| `indices` | which of its fleets an environment is asked about |
| `plans` | what copies of fleets are told to do, and in which futures |
| `what_if` | the copies, in the future that comes or in drawn ones, and the results of these |
| `live` | what a batch under way can be asked: the base of the batched environment |
| `simulator` | the part of it that a planner gets: copies, and nothing else |
"""
