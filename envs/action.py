"""What a policy sets: one number in [-1, 1] for each knob, and its meaning in `Controls`.

An action is a row of segments, one a control (`tokenfleet.envs.knobs`). The middle of the box is a sane fleet:
capacity-weighted routing, everything awake, everything admitted, middle clocks, batteries at rest, calls that weigh
waiting and computing alike, prices half-way. Exploration noise around the middle neither puts replicas to sleep (that
takes a < -0.5) nor cuts a class off.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Protocol

import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from tokenfleet.envs.knobs import SEGMENTS
from tokenfleet.envs.layers.iteration import at_tokens, largest_batch
from tokenfleet.envs.layers.scheduling import Controls
from tokenfleet.envs.pools import PoolSpec
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.segments import LEAST_GAIN, Segment

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]


class Action(Protocol):
    """What the environments ask of an action; bring your own to give a policy other knobs."""

    @property
    def space(self) -> Box:
        """The space of one environment's action."""

    def decode(self, action: NDArray[np.generic]) -> Controls:
        """Rows `[N, A]` to controls in physical units; raises `ValueError` on NaN."""


class FleetAction:
    """The default action; see the module.

    Args:
        scenario: fixes sizes, legal routes, clock floors and rates.

    Attributes:
        space: `Box(-1, 1, (A,))`, float32.
        table: the segments, in order.
        capacity_share: what each pool could serve of each class alone, normalised over pools, `[K, P]`; 0 where a pool
            does not serve a class.
    """

    def __init__(self, scenario: Scenario) -> None:
        capacity = capacity_rps(scenario)
        self.capacity_share = capacity / capacity.sum(axis=1, keepdims=True)
        self.table = self._lay_out([make(scenario, self.capacity_share) for make in SEGMENTS])
        self._width = self.table[-1].columns.stop
        self.space = Box(-1.0, 1.0, (self._width,), np.float32)
        self._gain = np.maximum(np.concatenate([segment.gain for segment in self.table]), LEAST_GAIN)
        self._bias, self._lowest, self._highest = (
            np.concatenate([getattr(segment, name) for segment in self.table]) for name in ("bias", "lowest", "highest")
        )

    def decode(self, action: NDArray[np.generic]) -> Controls:
        """Controls that rows `[N, A]` stand for; entries outside [-1, 1] count as the nearer end.

        Raises:
            ValueError: wrong shape, or NaN.
        """
        shape = np.shape(action)
        if len(shape) != 2 or shape[1] != self._width:
            raise ValueError(f"actions must have shape [N, {self._width}] (got {list(shape)})")
        values: Float64Array = np.multiply(action, self._gain, dtype=np.float64)
        values += self._bias
        # Every control rises with its entry: cutting it here cuts the entry to [-1, 1], infinite ones too.
        np.maximum(values, self._lowest, out=values)
        np.minimum(values, self._highest, out=values)
        if math.isnan(np.add.reduce(values, axis=None)):
            where = np.argwhere(np.isnan(np.asarray(action, dtype=np.float64))).tolist()
            raise ValueError(f"actions hold NaN in entries {where[:5]} ([env, entry])")
        return Controls(**{part.control: part.filling.fill(values[:, part.columns]) for part in self.table})  # type: ignore[arg-type]

    def encode(self, controls: Controls) -> Float32Array:
        """The action `[N, A]` that means `controls`; `decode` of it gives them back up to float32.

        What the box cannot say becomes the nearest it can: a class whose shares are all 0 is routed by capacity, and a
        rate above four times the class's mean is no limit.
        """
        action = np.empty((controls.num_envs, self._width), np.float32)
        for part in self.table:
            action[:, part.columns] = part.entries(controls)
        return action

    @staticmethod
    def _lay_out(segments: list[Segment]) -> tuple[Segment, ...]:
        first = np.cumsum([0, *(len(segment.labels) for segment in segments)]).tolist()
        return tuple(replace(segment, first=column) for segment, column in zip(segments, first, strict=False))


def capacity_rps(scenario: Scenario) -> Float64Array:
    """What each pool could serve of each class if it served nothing else, at full clock, `[K, P]` [requests/s].

    A replica that runs B sequences of P prompt and O output tokens in a steady state prefills B / O requests for every
    token that each sequence gains, so a token takes

        tpot(B) = host + T(B (1 + P / O)) + B * (decode + context (P + O / 2) + prefill_attention P (P + 1) / (2 O)).

    B is the largest batch that `max_batch` and the KV cache hold and whose tpot keeps the class's limit (for a class
    with a deadline, the deadline over O), and the replica serves `B / (O * tpot(B))` requests/s. Queueing and bursts
    are not in it: use it to weigh pools, not to promise a rate.
    """
    capacity = np.zeros(scenario.route_mask.shape)
    for k, name in enumerate(scenario.classes):
        for p, pool in enumerate(scenario.pools.values()):
            if scenario.route_mask[k, p]:
                capacity[k, p] = pool.replicas * _replica_rps(scenario, name, pool)
    return capacity


def _replica_rps(scenario: Scenario, request_class: str, pool: PoolSpec) -> float:
    prompt, output = _mean_lengths(scenario, request_class)
    profile, cls = pool.profile, scenario.classes[request_class]
    attention_s = profile.prefill_attention_s * prompt * (prompt + 1.0) / 2.0
    sequence_s = profile.decode_s + profile.context_s * (prompt + output / 2.0) + attention_s / output
    token_s, tokens = np.array(profile.token_s), 1.0 + prompt / output
    limit_s = cls.tpot_s or (cls.deadline_s / output if cls.deadline_s else np.inf)
    held = min(float(pool.max_batch), pool.kv_capacity_tokens / (prompt + output))
    batch = max(1.0, min(held, float(largest_batch(token_s, tokens, sequence_s, profile.host_s, limit_s))))
    return batch / (output * (profile.host_s + at_tokens(token_s, batch * tokens) + batch * sequence_s))


def _mean_lengths(scenario: Scenario, request_class: str) -> tuple[float, float]:
    """Mean prompt and output length of a class [tokens]; of a class that no stream asks for, the operator's guess."""
    streams = [stream for stream in scenario.workload.values() if stream.request_class == request_class]
    if not streams:
        expected = float(scenario.classes[request_class].expected_output_tokens)
        return expected, expected
    rate_rps = sum(stream.mean_rate_rps for stream in streams)
    prompt = sum(stream.mean_rate_rps * stream.mean_prompt_tokens for stream in streams) / rate_rps
    output = sum(stream.mean_rate_rps * stream.mean_output_tokens for stream in streams) / rate_rps
    return prompt, output
