"""Scenarios drawn from ranges: fleets by the dozen, for policies that must run any of them.

A fleet is a pure function of ranges, split and number: `draw_scenario(load_ranges("generalist"), "test", 3)`.
Each split draws its fleets from a random stream of its own, and what the ranges hold out comes in test fleets alone.
`python -m tokenfleet.envs.scenario.generator` writes fleets as YAML files, which every script takes as it takes any
other scenario.

| module | subject |
|---|---|
| `ranges`, `parts` | what is drawn from, as a person writes it, and its sections |
| `draw` | a scenario from ranges, a split and a number |
"""

from __future__ import annotations

from tokenfleet.envs.scenario.generator.draw import draw_scenario, drawn_data, fleet_name, held_out_in
from tokenfleet.envs.scenario.generator.ranges import Ranges, load_ranges

__all__ = ["Ranges", "draw_scenario", "drawn_data", "fleet_name", "held_out_in", "load_ranges"]
