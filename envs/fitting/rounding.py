"""Coefficients as the catalogue has them: four significant digits, and never beyond what physics allows."""

from __future__ import annotations

import math

from tokenfleet.envs.fitting.knots import never_falling
from tokenfleet.envs.layers.llm import Bounds, ProfileSpec


def four_digits(value: float, lowest: float = -math.inf) -> float:
    """Four significant digits, upwards where rounding would fall below `lowest`.

    >>> four_digits(1.23456e-3), four_digits(1.23444e-3, lowest=1.23444e-3)
    (0.001235, 0.001235)
    """
    rounded = float(f"{value:.3e}")
    if rounded >= lowest:
        return rounded
    return float(f"{rounded + 10.0 ** (math.floor(math.log10(rounded)) - 3):.3e}")


def rounded(profile: ProfileSpec, least: Bounds) -> ProfileSpec:
    """A profile whose fitted numbers are rounded, upwards where they would fall below the physical bound."""
    token_s = [four_digits(value, low) for value, low in zip(profile.token_s, least.token_s.tolist(), strict=True)]
    return profile.model_copy(
        update={
            "host_s": four_digits(profile.host_s),
            "decode_s": four_digits(profile.decode_s),
            "context_s": four_digits(profile.context_s, least.context_s),
            "mixed_context_s": four_digits(profile.mixed_context_s),
            "token_s": tuple(never_falling(token_s).tolist()),
            "token_memory_share": tuple(round(share, 3) for share in profile.token_memory_share),
            "prefill_attention_s": four_digits(profile.prefill_attention_s, least.prefill_attention_s),
            "power_factor": four_digits(profile.power_factor),
        }
    )
