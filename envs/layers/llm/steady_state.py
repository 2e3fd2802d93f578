"""Layer 4, the steady state of a replica that serves one kind of request and nothing else, by the law of an iteration.

A replica with B sequences of P prompt and O output tokens prefills B / O requests while each sequence gains a token, so
a token takes

    tpot(B) = host_s + T(B (1 + P / O)) + B (decode_s + context_s (P + O / 2) + prefill_attention_s pairs(P) / O)

and the replica serves B / (O tpot(B)) requests/s. Contexts are read as in an iteration of decode alone, as most
iterations are. If the mean iteration would draw more than the boards' limit, a token takes longer by the same factor as
that iteration at the clock that holds the limit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tokenfleet.envs.layers.gpu import Coefficient
from tokenfleet.envs.layers.llm.coefficients import Float64Array, Physics, TimeCoefficients
from tokenfleet.envs.layers.llm.iteration import (
    LAST_PIECE,
    Batch,
    at_tokens,
    iteration_effort,
    prefill_pairs,
    unlimited_time_s,
    window_pairs,
)
from tokenfleet.envs.layers.llm.profile import KNOTS, ProfileSpec

SETTLING_STEPS = 4
HIGHEST_BATCH = 1e5  # more sequences than any replica seats


@dataclass(frozen=True)
class MeanRequest:
    """What is asked of a replica in the long run; floats or arrays that broadcast against its coefficients.

    Attributes:
        prompt_tokens: P.
        output_tokens: O.
        window_tokens: what layers with a sliding window see of a context; 0 without.
        window_ratio: such layers for each that sees all of it.
    """

    prompt_tokens: Coefficient
    output_tokens: Coefficient
    window_tokens: Coefficient = 0
    window_ratio: Coefficient = 0.0

    @property
    def tokens_per_output(self) -> Coefficient:
        """Tokens computed for each generated token, prefill included."""
        return 1.0 + self.prompt_tokens / self.output_tokens

    @property
    def context_tokens(self) -> Coefficient:
        """Context that a sequence attends to in the middle of its answer, windows included."""
        context = self.prompt_tokens + self.output_tokens / 2.0
        return context + self.window_ratio * np.minimum(context, self.window_tokens)

    @property
    def pairs(self) -> Coefficient:
        """(Query, key) pairs of its prompt, windows included."""
        windowed = self.window_ratio * window_pairs(self.window_tokens, self.prompt_tokens)
        return prefill_pairs(self.prompt_tokens) + windowed


def steady_batch(request: MeanRequest, sequences: Float64Array) -> Batch[Float64Array]:
    """What the mean iteration works on while so many sequences run, in the shape of `sequences`."""
    return Batch(
        decoding=sequences,
        context=sequences * request.context_tokens,
        prefill=sequences * request.prompt_tokens / request.output_tokens,
        pairs=sequences * request.pairs / request.output_tokens,
    )


def sequence_s(physics: TimeCoefficients | ProfileSpec, request: MeanRequest) -> Coefficient:
    """What each sequence adds to an iteration beyond its tokens [s]."""
    attention_s = physics.prefill_attention_s * request.pairs
    return physics.decode_s + physics.context_s * request.context_tokens + attention_s / request.output_tokens


def tpot_s(physics: TimeCoefficients | ProfileSpec, request: MeanRequest, sequences: Float64Array) -> Float64Array:
    """Time per output token while so many sequences run, by the module's equation, broadcast [s]."""
    token_s = at_tokens(physics.token_s, sequences * request.tokens_per_output)
    time_s: Float64Array = physics.host_s + token_s + sequences * sequence_s(physics, request)
    return time_s * limit_stretch(physics, request, sequences)


def limit_stretch(
    physics: TimeCoefficients | ProfileSpec, request: MeanRequest, sequences: Float64Array
) -> Float64Array | float:
    """Factor of the boards' limit on the mean iteration's time, broadcast; 1 for coefficients without a limit."""
    if not isinstance(physics, Physics):
        return 1.0
    batch = steady_batch(request, sequences)
    stretch: Float64Array = iteration_effort(physics, batch).time_s / unlimited_time_s(physics, batch)
    return stretch


def largest_batch(
    physics: TimeCoefficients | ProfileSpec, request: MeanRequest, limit_s: Float64Array | float
) -> Float64Array:
    """The number of sequences at which `tpot_s` reaches a limit.

    Args:
        physics: the coefficients.
        request: what each sequence is.
        limit_s: may be infinite [s].

    Returns:
        B, broadcast; not above 0 where the limit leaves time for none.

    >>> from tokenfleet.envs.layers import llm
    >>> profile, request = llm.load_profile("llama-3.1-8b", "h100-sxm", 1), MeanRequest(250.0, 370.0)
    >>> float(tpot_s(profile, request, largest_batch(profile, request, 0.02)).round(6))
    0.02
    """
    batch = _largest_unlimited_batch(physics, request, limit_s)
    if not isinstance(physics, Physics):
        return batch
    for _ in range(SETTLING_STEPS):  # the stretch hardly depends on the batch
        stretch = limit_stretch(physics, request, np.clip(batch, 1.0, HIGHEST_BATCH))
        batch = _largest_unlimited_batch(physics, request, limit_s / stretch)
    return batch


def _largest_unlimited_batch(
    physics: TimeCoefficients | ProfileSpec, request: MeanRequest, limit_s: Float64Array | float
) -> Float64Array:
    tokens_per_output = request.tokens_per_output
    per_token_s = np.asarray(sequence_s(physics, request) / tokens_per_output)[..., None]
    reached_s = np.asarray(physics.host_s)[..., None] + physics.token_s + per_token_s * KNOTS
    piece = np.clip((reached_s <= np.asarray(limit_s)[..., None]).sum(axis=-1) - 1, 0, LAST_PIECE)
    low_s, high_s = (np.take_along_axis(reached_s, piece[..., None] + step, axis=-1)[..., 0] for step in (0, 1))
    tokens = KNOTS[piece] * (1.0 + (limit_s - low_s) / (high_s - low_s))
    return np.asarray(tokens / tokens_per_output)


def service_rate_rps(
    physics: TimeCoefficients | ProfileSpec, request: MeanRequest, sequences: Float64Array
) -> Float64Array:
    """Requests that are served in a second while so many sequences run, broadcast [requests/s]."""
    rate_rps: Float64Array = sequences / (request.output_tokens * tpot_s(physics, request, sequences))
    return rate_rps
