"""What each field of an observation is divided by: one table, from the scenario alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from tokenfleet.envs.layers.facility import it_nameplate_w
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.scenario.pools import PoolSpec

PRICE_SCALE_USD_PER_MWH = 100.0
CARBON_SCALE_G_PER_KWH = 500.0
DAMAGES_SCALE_USD_PER_MWH = 1000.0
TEMPERATURE_SCALE_C = 25.0
SEQUENCE_TOKENS_PER_S = 10.0
BACKLOG_SCALE_S = 10.0


def _per_pool(value: Callable[[PoolSpec], float]) -> Callable[[Scenario], list[float]]:
    return lambda scenario: [value(pool) for pool in scenario.pools.values()]


def _pool_nameplate_w(scenario: Scenario) -> list[float]:
    facility = {name: site.facility for name, site in scenario.sites.items()}
    pools = scenario.pools.values()
    return [pool.gpus * it_nameplate_w(facility[pool.site], [pool.gpu_spec.tdp_w]) for pool in pools]


def _batch_tokens(scenario: Scenario) -> list[float]:
    tokens = SEQUENCE_TOKENS_PER_S * scenario.tick_s
    return [tokens * pool.max_batch * pool.replicas for pool in scenario.pools.values()]


def _batch_of_class(scenario: Scenario) -> list[float]:
    sequences = np.array([float(pool.max_batch * pool.replicas) for pool in scenario.pools.values()])
    served: list[float] = (scenario.route_mask @ sequences).tolist()
    return served


def _mean_arrivals(scenario: Scenario, span_s: float) -> list[float]:
    return [max(span_s * scenario.mean_rate_rps(name), 1.0) for name in scenario.classes]


def _priced_arrivals(scenario: Scenario) -> list[float]:
    return [max(scenario.tick_s * scenario.mean_rate_rps(name), 1.0) for name in scenario.priced_classes]


def _ttft_s(scenario: Scenario) -> list[float]:
    return [cls.ttft_s or cls.deadline_s or 1.0 for cls in scenario.classes.values()]


def _nameplate_w(scenario: Scenario) -> list[float]:
    return [scenario.nameplate_w(name) for name in scenario.sites]


def _brake_s(scenario: Scenario) -> list[float]:
    return [max(site.grid.brake.delay_s, scenario.tick_s) for site in scenario.sites.values()]


def _restart_s(scenario: Scenario) -> list[float]:
    return [max(site.grid.breaker.restart_s, scenario.tick_s) for site in scenario.sites.values()]


def _row_nameplate_w(scenario: Scenario) -> list[float]:
    return [scenario.row_nameplate_w(*key) for key in scenario.rows]


def _row_brake_s(scenario: Scenario) -> list[float]:
    return [max(row.brake.delay_s, scenario.tick_s) for row in scenario.rows.values()]


def _row_restart_s(scenario: Scenario) -> list[float]:
    return [max(row.breaker.restart_s, scenario.tick_s) for row in scenario.rows.values()]


def _battery_w(scenario: Scenario) -> list[float]:
    return [battery.power_w for battery in scenario.batteries.values()]


def _charged_w(scenario: Scenario) -> list[float]:
    return [scenario.nameplate_w(name) for name in scenario.charging_tariffs]


def _offering_w(scenario: Scenario) -> list[float]:
    return [scenario.nameplate_w(name) for name in scenario.programmes]


def _regulating_w(scenario: Scenario) -> list[float]:
    return [scenario.nameplate_w(name) for name in scenario.regulators]


def _window_arrivals(scenario: Scenario) -> list[float]:
    return [max(spec.window_s * scenario.mean_rate_rps(name), 1.0) for name, spec in scenario.agreements.items()]


def _arrival_rate(scenario: Scenario) -> list[float]:
    return [max(scenario.mean_rate_rps(name), 1.0) for name in scenario.forecast_classes]


def _solar_w(scenario: Scenario) -> list[float]:
    return [solar.peak_w for solar in scenario.solar_sites.values()]


def _longest_lead_s(scenario: Scenario) -> float:
    return max([*scenario.announced_lead_s, scenario.tick_s])


class Scale(NamedTuple):
    """What a field is divided by: in words, and from a scenario (one number, or one along the field's first axis)."""

    doc: str
    values: Callable[[Scenario], float | list[float]]


SCALES: dict[str, Scale] = {
    "one": Scale("1", lambda scenario: 1.0),
    "batch": Scale(
        "the sequences that the pool can run at once, `max_batch * replicas`",
        _per_pool(lambda pool: pool.max_batch * pool.replicas),
    ),
    "budget": Scale(
        "the tokens of one iteration of every replica, `token_budget * replicas`",
        _per_pool(lambda pool: pool.token_budget * pool.replicas),
    ),
    "batch_of_class": Scale(
        "the sequences that the class's pools can run at once, `max_batch * replicas`", _batch_of_class
    ),
    "replicas": Scale("the pool's replicas", _per_pool(lambda pool: pool.replicas)),
    "standby_replicas": Scale(
        "the pool's replicas", lambda scenario: [pool.replicas for pool in scenario.standby_pools.values()]
    ),
    "variant_replicas": Scale(
        "the pool's replicas", lambda scenario: [scenario.pools[name].replicas for name in scenario.variants]
    ),
    "pool_nameplate_w": Scale("the pool's boards at TDP and servers on, before PUE", _pool_nameplate_w),
    "batch_tokens": Scale("10 tokens/s for every sequence that the pool can run, over a tick", _batch_tokens),
    "arrivals": Scale(
        "the class's mean arrivals in a tick, at least 1", lambda scenario: _mean_arrivals(scenario, scenario.tick_s)
    ),
    "priced_arrivals": Scale("the class's mean arrivals in a tick, at least 1", _priced_arrivals),
    "horizon_arrivals": Scale(
        "the class's mean arrivals in an episode, at least 1",
        lambda scenario: _mean_arrivals(scenario, scenario.horizon_s),
    ),
    "ttft_s": Scale("the class's TTFT limit, else its deadline, else 1 s", _ttft_s),
    "nameplate_w": Scale("the site's power with everything at its rating, PUE included", _nameplate_w),
    "brake_s": Scale("the brake's delay, at least a tick", _brake_s),
    "restart_s": Scale("the restart time after a trip, at least a tick", _restart_s),
    "row_nameplate_w": Scale("the IT power of the pools behind the row, all at its rating", _row_nameplate_w),
    "row_brake_s": Scale("the brake's delay, at least a tick", _row_brake_s),
    "row_restart_s": Scale("the restart time after a trip, at least a tick", _row_restart_s),
    "battery_w": Scale("the most that the battery gives or takes", _battery_w),
    "solar_w": Scale("the rating of the panels", _solar_w),
    "charged_w": Scale("the site's power with everything at its rating, PUE included", _charged_w),
    "offering_w": Scale("the site's power with everything at its rating, PUE included", _offering_w),
    "regulating_w": Scale("the site's power with everything at its rating, PUE included", _regulating_w),
    "window_arrivals": Scale("the class's mean arrivals in a window of its agreement, at least 1", _window_arrivals),
    "arrival_rate": Scale("the class's mean arrivals in a second, at least 1", _arrival_rate),
    "call_phases": Scale("3", lambda scenario: 3.0),
    "damages": Scale("1,000 USD/MWh", lambda scenario: DAMAGES_SCALE_USD_PER_MWH),
    "jobs": Scale(
        "the site's training jobs", lambda scenario: [spec.jobs for spec in scenario.training_sites.values()]
    ),
    "unsaved": Scale(
        "all jobs just before a checkpoint",
        lambda scenario: [spec.jobs * spec.checkpoint_interval_s for spec in scenario.training_sites.values()],
    ),
    "backlog": Scale("10 s", lambda scenario: BACKLOG_SCALE_S),
    "lead": Scale("the longest lead time of announced caps, at least a tick", _longest_lead_s),
    "price": Scale("100 USD/MWh", lambda scenario: PRICE_SCALE_USD_PER_MWH),
    "carbon": Scale("500 g/kWh", lambda scenario: CARBON_SCALE_G_PER_KWH),
    "temperature": Scale("25 C", lambda scenario: TEMPERATURE_SCALE_C),
}
"""By the name that `fields.Field.scale` gives."""
