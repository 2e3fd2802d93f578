"""A scenario from ranges, a split and a number: the same three, the same fleet, to the bit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np

from tokenfleet.envs.scenario import Scenario, load_scenario
from tokenfleet.envs.scenario.capacity import capacity_rps
from tokenfleet.envs.scenario.generator.parts import KindSpec, ServerSpec
from tokenfleet.envs.scenario.generator.ranges import Ranges
from tokenfleet.envs.spec import SpecError
from tokenfleet.envs.splits import SPLITS, Split

Item = TypeVar("Item")
Data = dict[str, Any]

SIGMA = 0.8
"""Standard deviation of the logarithms of tokens of prompts and of answers."""
MOST_PROMPT_TOKENS, MOST_OUTPUT_TOKENS = 24_000, 2_000
SPIKE_DECAY_PER_H = 1.2
RAMP_S = 15.0
BEGINS_S = 60.0
"""Time of the episode before which no event begins [s]."""
DIGITS = 4


def fleet_name(ranges: Ranges, split: Split, index: int) -> str:
    """What a drawn fleet is called, such as `generalist-test-3`."""
    return f"{ranges.name}-{split}-{index}"


def draw_scenario(ranges: Ranges, split: Split, index: int) -> Scenario:
    """The fleet of this number; see `drawn_data`."""
    return load_scenario(drawn_data(ranges, split, index))


def held_out_in(ranges: Ranges, scenario: Scenario) -> list[str]:
    """What of a scenario's boards, models and number of sites the ranges do not train on, in words."""
    offers = ranges.offers("train")
    gpus = {server.gpu for servers in offers.values() for server in servers}
    pools = scenario.pools.values()
    found = [] if len(scenario.sites) in ranges.sites else [f"{len(scenario.sites)} sites"]
    return found + sorted({pool.gpu for pool in pools} - gpus) + sorted({pool.model for pool in pools} - offers.keys())


def drawn_data(ranges: Ranges, split: Split, index: int) -> Data:
    """The fleet of this number as plain data, in the form of a scenario's YAML file.

    Args:
        ranges: see there.
        split: of fleets; each draws from a random stream of its own. The fleet's episodes have splits too.
        index: from 0 on.

    Raises:
        SpecError: a negative number.
    """
    if index < 0:
        raise SpecError([f"generator: fleets are numbered from 0 on (got {index})"])
    draw = _Draw(ranges, split, np.random.default_rng([ranges.seed, SPLITS.index(split), index]))
    data = {"name": fleet_name(ranges, split, index), **draw.fleet()}
    return _at_load(data, draw.loads)


class _Draw:
    """Draws one fleet, whose streams still have a rate of 1 request/s.

    Args:
        ranges: see there.
        split: of fleets.
        rng: of this fleet.

    Attributes:
        loads: of each stream, as a share of what the pools could serve of its class alone.
    """

    def __init__(self, ranges: Ranges, split: Split, rng: np.random.Generator) -> None:
        self._ranges, self._split, self._rng = ranges, split, rng
        self.loads: dict[str, float] = {}

    def fleet(self) -> Data:
        """All but the name."""
        ranges, offers = self._ranges, self._ranges.offers(self._split)
        sites = [f"site-{number + 1}" for number in range(self._one_of(ranges.sites_of(self._split)))]
        models = self._some_of(list(offers), self._one_of(ranges.models_of_fleet))
        real_time = self._happens(ranges.grid.real_time.chance)
        data: Data = {
            "description": f"Drawn from the ranges {ranges.name}: {', '.join(models)} at {len(sites)} sites.",
            "tick_s": 1.0,
            "horizon_ticks": ranges.horizon_ticks,
            "announced_lead_s": [10.0, 60.0],
            "sites": {site: {"grid": self._grid(real_time)} for site in sites},
            "pools": self._pools(sites, {model: offers[model] for model in models}),
            "classes": {},
            "workload": {},
        }
        for model in models:
            self._add_demand(data, model)
        if real_time:
            data["calendar"] = {"speedup": ranges.grid.real_time.speedup}
            data["forecast_lead_s"] = list(ranges.grid.real_time.forecast_lead_s)
        if self._happens(ranges.regime.chance):
            data["regimes"] = {"demand": self._regime(data)}
        return data

    def _grid(self, real_time: bool) -> Data:
        grid = self._ranges.grid
        price = self._within(grid.price_usd_per_mwh)
        data: Data = {
            "cap_fraction": self._within(grid.cap_fraction),
            "price_usd_per_mwh": price,
            "carbon_g_per_kwh": self._within(grid.carbon_g_per_kwh),
        }
        if self._happens(grid.carbon_usd_per_t.chance):
            data["tariff"] = {"carbon_usd_per_t": self._within(grid.carbon_usd_per_t.span)}
        if real_time:
            spikes, size = self._within(grid.real_time.spikes_per_h), self._within(grid.real_time.spike_usd_per_mwh)
            # The residual has mean zero, so that the price between spikes is lower than what is stated.
            data["price_usd_per_mwh"] = _rounded(price + spikes * size / SPIKE_DECAY_PER_H)
            data["real_time_price"] = {
                "sigma_usd_per_mwh": 20.0,
                "spikes_per_h": spikes,
                "spike_usd_per_mwh": size,
                "spike_decay_per_h": SPIKE_DECAY_PER_H,
            }
        call, outage = grid.demand_response, grid.emergency
        if self._happens(call.chance):
            hold_s = self._within(call.hold_s)
            event: Data = {"depth_fraction": self._within(call.depth_fraction), "notice_s": self._within(call.notice_s)}
            data["demand_response"] = [{**event, **self._window(hold_s)}]
        if self._happens(outage.chance):
            hold_s, depths = self._within(outage.hold_s), list(outage.depth_fraction)
            event = {"probability": outage.probability, "depth_fraction": depths}
            data["emergencies"] = [{**event, **self._window(hold_s)}]
        return data

    def _window(self, hold_s: float) -> Data:
        """When an event comes, and for how long: it ends before the episode, if that is long enough."""
        latest_s = max(self._ranges.horizon_ticks - hold_s - 2.0 * RAMP_S, BEGINS_S)
        shape = {"ramp_s": RAMP_S, "hold_s": hold_s, "recovery_s": RAMP_S}
        return {"earliest_start_s": BEGINS_S, "latest_start_s": latest_s, **shape}

    def _pools(self, sites: Sequence[str], offers: dict[str, tuple[ServerSpec, ...]]) -> Data:
        """Every site serves one model at least, and every model has one site at least."""
        models = list(offers)
        pools: Data = {}
        for place, site in enumerate(sites):
            here = {models[place % len(models)], *(model for model in models if self._happens(0.5))}
            if place == len(sites) - 1:
                here |= set(models[len(sites) :])
            for model in (model for model in models if model in here):
                kinds = 2 if self._happens(self._ranges.second_pool) else 1
                for server in self._some_of(offers[model], min(kinds, len(offers[model]))):
                    pools[f"{site}-{server.gpu}-{model}"] = {
                        "site": site,
                        "gpu": server.gpu,
                        "model": model,
                        "tensor_parallel": server.tensor_parallel,
                        "replicas": self._one_of(self._ranges.replicas),
                    }
        return pools

    def _add_demand(self, data: Data, model: str) -> None:
        """Classes and streams of a model."""
        ranges, offer = self._ranges, self._ranges.models[model]
        kinds = self._some_of(list(ranges.kinds), self._one_of(ranges.kinds_of_model))
        shares = self._rng.dirichlet(np.full(len(kinds), 2.0)) * self._within(ranges.load)
        factor = self._within(ranges.list_price_factor)
        for kind, share in zip(kinds, shares.tolist(), strict=True):
            name, spec = f"{kind}-{model}", ranges.kinds[kind]
            on_list = factor * spec.list_price_factor
            data["classes"][name] = {
                "model": model,
                **self._promise(spec),
                "usd_per_million_input_tokens": _rounded(on_list * offer.usd_per_million_input_tokens),
                "usd_per_million_output_tokens": _rounded(on_list * offer.usd_per_million_output_tokens),
                "lost_penalty_fraction": self._within(spec.lost_penalty_fraction),
                **(self._tolerance() if self._happens(spec.chance_of_price) else {}),
            }
            data["workload"][name] = {"request_class": name, **self._stream(spec)}
            self.loads[name] = share

    def _promise(self, kind: KindSpec) -> Data:
        """Limits, and how long clients wait."""
        if kind.deadline_s is not None:
            deadline_s = self._within(kind.deadline_s)
            return {"deadline_s": deadline_s, "patience_s": deadline_s, "deferrable": True}
        limits = {"ttft_s": kind.ttft_s, "tpot_s": kind.tpot_s, "patience_s": kind.patience_s}
        return {key: self._within(span) for key, span in limits.items() if span is not None}

    def _tolerance(self) -> Data:
        tolerance = self._ranges.price_tolerance
        low, high = tolerance.token_price_factor
        law = {"median": self._within(tolerance.median), "sigma": self._within(tolerance.sigma)}
        return {
            "price_tolerance": {**law, "episode_factor": list(tolerance.episode_factor)},
            "token_price_factor": {"low": low, "high": high},
        }

    def _stream(self, kind: KindSpec) -> Data:
        arrivals, bursts = self._one_of(kind.arrivals), self._ranges.bursts
        tokens = {
            "prompt": self._tokens(kind.prompt_tokens, MOST_PROMPT_TOKENS),
            "output": self._tokens(kind.output_tokens, MOST_OUTPUT_TOKENS),
        }
        if arrivals != "mmpp":
            return {"kind": arrivals, "rate_rps": 1.0, **tokens}
        factor = self._within(bursts.burst_factor)
        quiet_s, burst_s = self._within(bursts.mean_quiet_s), self._within(bursts.mean_burst_s)
        quiet_rps = (quiet_s + burst_s) / (quiet_s + factor * burst_s)
        rates = {"quiet_rate_rps": quiet_rps, "burst_rate_rps": factor * quiet_rps}
        return {"kind": arrivals, **rates, "mean_quiet_s": quiet_s, "mean_burst_s": burst_s, **tokens}

    def _tokens(self, median: tuple[float, float], most: int) -> Data:
        return {"median_tokens": round(self._within(median)), "sigma": SIGMA, "max_tokens": most}

    def _regime(self, data: Data) -> Data:
        regime, stream = self._ranges.regime, self._one_of(list(data["workload"]))
        stay_s = self._within(regime.mean_stay_s)
        quiet = {"rate_factor": self._within(regime.quiet_factor)}
        busy: Data = {"streams": {stream: {"rate_factor": self._within(regime.busy_factor)}}}
        factor = self._within(regime.tolerance_factor)
        if priced := [name for name, spec in data["classes"].items() if "price_tolerance" in spec]:
            busy["price_tolerance_factor"] = dict.fromkeys(priced, factor)
        states = {"quiet": {"mean_stay_s": stay_s, "streams": {stream: quiet}}, "busy": {"mean_stay_s": stay_s, **busy}}
        return {"states": states, "indicator": {"noise": self._within(regime.indicator_noise)}}

    def _happens(self, chance: float) -> bool:
        return bool(self._rng.random() < chance)

    def _within(self, span: tuple[float, float]) -> float:
        return _rounded(self._rng.uniform(*span))

    def _one_of(self, choices: Sequence[Item]) -> Item:
        return choices[int(self._rng.integers(len(choices)))]

    def _some_of(self, choices: Sequence[Item], count: int) -> list[Item]:
        """`count` different choices, in their order."""
        return [choices[place] for place in sorted(self._rng.permutation(len(choices))[:count].tolist())]


def _at_load(data: Data, loads: dict[str, float]) -> Data:
    """The fleet with rates of streams such that each takes its share of the pools' capacity."""
    unit = load_scenario(data)
    capacity = dict(zip(unit.classes, capacity_rps(unit).sum(axis=1).tolist(), strict=True))
    workload = {
        name: {
            key: _rounded(value * loads[name] * capacity[name]) if key.endswith("rate_rps") else value
            for key, value in stream.items()
        }
        for name, stream in data["workload"].items()
    }
    return {**data, "workload": workload}


def _rounded(value: float) -> float:
    """As a person would write it."""
    return float(f"{value:.{DIGITS}g}")
