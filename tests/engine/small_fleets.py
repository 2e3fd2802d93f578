"""Small fleets worked by hand: one or two pools, a plain episode."""

from __future__ import annotations

import numpy as np

from tests.engine.site_columns import counts
from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.engine.columns.nodes import NodeColumns
from tokenfleet.envs.episode import Episode
from tokenfleet.envs.fields import OUTCOMES, VIEW
from tokenfleet.envs.layers.llm import TOKEN_KNOTS
from tokenfleet.envs.quantities import neutral_arrays, quantities_of
from tokenfleet.envs.rows import Layout
from tokenfleet.envs.traces import RequestTable


def one_pool(fixed_s: float = 0.01, token_s: float = 0.001, **changes: object) -> FleetArrays:
    """One site, one pool of one replica, one class without limits; `changes` are scalars or arrays by name.

    Its iteration lasts `fixed_s` plus `token_s` a prefill token (10 and 1 ms) and draws 100 W; idle it draws 40 W; no
    PUE, no servers. Sums on paper are easiest with decoding tokens that cost nothing, so `decode_s` takes back what the
    knots count for them.
    Its breaker carries r times the cap for `trip_heat_s / (r - 1)`.
    """
    given: dict[str, object] = {
        "kv_token_s": 1e-3,
        "wake_s": 5.0,
        "token_s": fixed_s + token_s * np.array(TOKEN_KNOTS),
        "prompt_token_s": token_s,
        "decode_s": -token_s,
        "static_w": 100.0,
        "idle_w": 40.0,
        "asleep_w": 5.0,
        "late_value_fraction": 0.25,
        "brake_delay_s": 3.0,
        "brake_clock_fraction": 0.25,
        "recovery_ratio": 0.5,
        "release_delay_s": 2.0,
        "restart_s": 4.0,
        "context_limit_tokens": changes.get("kv_tokens", 10_000_000),
        **changes,
    }
    tick_s, horizon_ticks = float(given.pop("tick_s", 1.0)), int(given.pop("horizon_ticks", 20))  # type: ignore[arg-type]
    nodes = {quantity.name: given[quantity.name] for quantity in quantities_of(NodeColumns) if quantity.name in given}
    rows = max((np.size(values) for values in nodes.values()), default=1) - 1
    some = {"B": "battery", "V": "solar", "R": "room", "T": "priced"}
    some |= {
        "M": "charges",
        "C": "programme",
        "U": "regulation",
        "Q": "agreement",
        "p": "standby",
        "s": "training",
        "v": "variant",
        "k": "unsteady",
    }
    counted = counts({axis: np.atleast_1d(np.asarray(given.get(name, -1))) for axis, name in some.items()})
    sizes = {**dict.fromkeys("LF", 0), "S": 1, "W": rows, "P": 1, "K": 1, **counted}
    return FleetArrays.neutral(tick_s, horizon_ticks, sizes, **given)


def two_pools(sites: int = 1, **changes: object) -> FleetArrays:
    """Two pools like that of `one_pool`, at one site or each at its own; `changes` are arrays `[2]` or `[2, 2]`."""
    single = one_pool()
    sizes = {**dict.fromkeys("WRBVTLF", 0), "S": sites, "P": 2, "K": 1}
    doubled: dict[str, object] = {
        quantity.name: getattr(single, quantity.name) for quantity in quantities_of(FleetArrays)
    }
    return FleetArrays.neutral(1.0, 20, sizes, **{**doubled, "site": np.arange(2) % sites, **changes})


def layouts(**sizes: int) -> dict[str, Layout]:
    """View and outcome of a fleet with so many of everything; 0 of what is not said."""
    every = {**dict.fromkeys("SWRBVMCUXPKQOZTLFipsvk", 0), **sizes}
    return {"view": Layout(VIEW, every), "outcome": Layout(OUTCOMES, every)}


def plain_episode(
    arrays: FleetArrays,
    requests: RequestTable,
    cap_w: float | np.ndarray = 1e12,
    row_cap_w: float | np.ndarray = 1e12,
) -> Episode:
    """An episode of `requests` under constant caps of sites and rows, or ones of `[H]` watts."""
    horizon, sites = arrays.horizon_ticks, arrays.num_sites

    def through_time(limit_w: float | np.ndarray, count: int) -> np.ndarray:
        return np.ascontiguousarray(np.broadcast_to(np.asarray(limit_w, float).reshape(-1, 1), (horizon, count)))

    caps, row_caps = through_time(cap_w, sites), through_time(row_cap_w, arrays.num_rows)
    width = arrays.view.width - arrays.view.offsets["cap_w"]
    given = {
        "cap_w": caps,
        "rating_w": caps,
        "brake_cap_w": caps,
        "row_cap_w": row_caps,
        "row_rating_w": row_caps,
        "outdoor_c": np.full((horizon, sites), 15.0),
        "pue": np.tile(arrays.pue, (horizon, 1)),
        "fixed_w": arrays.fixed_w,
        "exogenous": np.ones((horizon + 1, width), np.float32),
    }
    return Episode(requests=requests, **{**neutral_arrays(Episode, arrays.sizes), **given})
