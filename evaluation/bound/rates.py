"""The least time and energy that any clock and any batch spend on a token: what a relaxation may take for granted.

An iteration computes n = B + P tokens and decodes B of them. Its cost is at least f(n), and something for each decoded
token, each token of context and each attention pair (`layers.llm.iteration`). f is linear between the knots, so the
edges of its lower convex hull are lines a + b n below it. Where a >= 0, I iterations that compute N tokens cost at
least a I + b N. I is at least the decoded tokens over the largest batch, and at least their context over the KV cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, product

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.episode import Episode
from tokenfleet.envs.estimates.power_model import PowerModel
from tokenfleet.envs.layers.gpu import memory_fraction_under
from tokenfleet.envs.layers.llm import TOKEN_KNOTS
from tokenfleet.envs.layers.llm.coefficients import Coefficients
from tokenfleet.envs.layers.llm.iteration import at_tokens
from tokenfleet.envs.scenario import Scenario

Float64Array = NDArray[np.float64]

EDGES = 2
"""Edges of a hull that are kept beside the steepest ray below it."""
CLOCKS = 24
"""Intervals of clocks; energy is bounded within each by its ends."""
LOWEST_CLOCK = 0.125
"""Below which boards do not slow down by themselves; see `layers.gpu.clock`."""


@dataclass(frozen=True)
class Least:
    """Lower bounds for one pool, of seconds or of joules: a line each, L of them, and parts that all lines share.

    Attributes:
        per_iteration, per_token: a and b of the lines, `[L]`.
        per_decoded, per_context, per_pair: of every decoded token, token of context and attention pair.
    """

    per_iteration: Float64Array
    per_token: Float64Array
    per_decoded: float
    per_context: float
    per_pair: float


@dataclass(frozen=True)
class PoolRates:
    """What work costs at the least on a replica of a pool, with whichever of its models it is cheaper.

    Attributes:
        seconds: of a replica, at full clock.
        joules: of IT power beyond `rest_w`, at the thriftiest clock.
        rest_w: least IT power of a replica, whatever it does; 0 where it may lose its power [W].
    """

    seconds: Least
    joules: Least
    rest_w: float


def pool_rates(scenario: Scenario, episode: Episode, may_lose_power: NDArray[np.bool_]) -> list[PoolRates]:
    """The rates of every pool.

    Args:
        scenario: of the fleet.
        episode: whose constants and regimes hold.
        may_lose_power: pools whose replicas may draw nothing, `[P]`.
    """
    arrays, model = FleetArrays.from_scenario(scenario), PowerModel(scenario)
    models = [_most_memory_bound(each, arrays, episode) for each in _measured(arrays, episode)]
    slowest = np.minimum.reduce(
        [np.full(arrays.num_pools, LOWEST_CLOCK), arrays.clock_floor_fraction, _least_held(arrays)]
    )
    always_limited = model.worst_busy_w(slowest) >= arrays.limit_w * (1.0 - 1e-9)
    return [
        _rates(
            [coefficients.replica(p) for coefficients in models[: 1 + (arrays.variant[p] >= 0)]],
            arrays,
            episode,
            p,
            float(slowest[p]),
            bool(always_limited[p]),
            dark,
        )
        for p, dark in enumerate(may_lose_power.tolist())
    ]


def _measured(arrays: FleetArrays, episode: Episode) -> tuple[Coefficients, Coefficients]:
    """Coefficients of every pool's iterations with its own model, and with its variant if it has one."""
    own, variant = episode.decode_memory_fraction, episode.variant_memory_fraction
    return arrays.coefficients(own), arrays.switched_coefficients(own, variant)


def _most_memory_bound(measured: Coefficients, arrays: FleetArrays, episode: Episode) -> Coefficients:
    """The coefficients of the tick in which low clocks cost the least time."""
    fraction = measured.decode_memory_fraction.copy()
    lowest_factor = episode.clock_sensitivity_factor.min(axis=0)
    for p in np.flatnonzero(arrays.unsteady >= 0).tolist():
        fraction[p] = memory_fraction_under(float(fraction[p]), float(lowest_factor[arrays.unsteady[p]]))
    return replace(measured, decode_memory_fraction=fraction)


def _least_held(arrays: FleetArrays) -> Float64Array:
    """The lowest clock to which brakes and warm rooms hold each pool, `[P]`."""
    lowest = min(float(arrays.brake_clock_fraction.min()), float(arrays.derate_clock_fraction.min()))
    return np.full(arrays.num_pools, max(lowest, 1e-3))


def _rates(
    models: Sequence[Coefficients],
    a: FleetArrays,
    episode: Episode,
    p: int,
    slowest: float,
    always_limited: bool,
    dark: bool,
) -> PoolRates:
    budget = float(a.token_budget[p])
    tokens = np.unique([*(knot for knot in TOKEN_KNOTS if knot <= budget), budget])
    full = [own.at_clock(1.0) for own in models]
    seconds = Least(
        *_lines(tokens, np.min([one.host_s + _line(one.token_s, tokens) for one in full], axis=0)),
        per_decoded=min(float(one.decode_s) for one in full),
        per_context=min(float(one.context_s) for one in full),
        per_pair=min(float(one.prefill_attention_s) for one in full),
    )
    host = float(episode.host_power_factor[a.site[p]])
    board = 1.0 + host * float(a.host_w_per_board_w[p])
    clocks = np.geomspace(slowest, 1.0, CLOCKS + 1)
    resting = [(a.idle_w, a.host_w), (a.asleep_w, a.host_asleep_w)]
    resting += [(a.standby_w, a.host_standby_w)] if a.standby[p] >= 0 else []
    steady_w = host * float(a.host_w[p])
    lowest_busy_w = board * float(models[0].at_clock(clocks[0]).draw.busy_w) + steady_w
    draws_w = [board * float(boards[p]) + host * float(servers[p]) for boards, servers in resting]
    rest_w = 0.0 if dark else min(*draws_w, lowest_busy_w)
    least: list[tuple[Float64Array, float, float, float]] = []
    for own, (index, (low, high)) in product(models, enumerate(pairwise(clocks.tolist()))):
        slow, fast = own.at_clock(low), own.at_clock(high)  # least watts and joules, least seconds
        watts = board * float(slow.draw.busy_w) + steady_w - rest_w
        work = 0.0 if always_limited and index == 0 else board * min(float(own.shoulder_slope), 1.0)
        per_iteration_j = watts * (fast.host_s + _line(fast.token_s, tokens)) + work * _line(slow.work_j, tokens)
        least.append(
            (
                per_iteration_j + work * float(slow.token_j) * tokens,
                watts * float(fast.decode_s),
                watts * float(fast.context_s) + work * float(slow.context_j),
                watts * float(fast.prefill_attention_s) + work * float(slow.attention_j),
            )
        )
    curves, decoded, context, pairs = zip(*least, strict=True)
    # Between two knots the least of straight lines lies above the line between its ends.
    joules = Least(*_lines(tokens, np.min(curves, axis=0)), min(decoded), min(context), min(pairs))
    return PoolRates(seconds, joules, rest_w)


def _line(values: object, tokens: Float64Array) -> Float64Array:
    line: Float64Array = np.asarray(at_tokens(np.asarray(values, np.float64), tokens), np.float64)
    return line


def _lines(tokens: Float64Array, cost: Float64Array) -> tuple[Float64Array, Float64Array]:
    """A and b of the ray and of `EDGES` lines below the points, a never negative, `[1 + EDGES]` each.

    >>> [line.tolist() for line in _lines(np.array([1.0, 2.0, 4.0]), np.array([3.0, 3.0, 4.0]))]
    [[0.0, 2.0, 3.0], [1.0, 0.5, 0.0]]
    """
    hull: list[int] = []
    for point in range(len(tokens)):
        while len(hull) > 1 and _slope(tokens, cost, hull[-2], hull[-1]) >= _slope(tokens, cost, hull[-1], point):
            hull.pop()
        hull.append(point)
    ray = (0.0, float((cost / tokens).min()))
    edges = []
    for first, second in pairwise(hull):
        slope = _slope(tokens, cost, first, second)
        intercept = float(cost[first] - slope * tokens[first])
        if intercept > 0.0 and slope >= 0.0:
            edges.append((intercept, slope))
    edges = edges[::-1] or [ray]
    kept = [edges[int(place)] for place in np.linspace(0, len(edges) - 1, EDGES)]
    lines = np.array([ray, *kept])
    return lines[:, 0], lines[:, 1]


def _slope(tokens: Float64Array, cost: Float64Array, first: int, second: int) -> float:
    return float((cost[second] - cost[first]) / (tokens[second] - tokens[first]))
