"""Layer 4, accuracy: how wrong the times and watts of a profile are expected to be, by what it was made of.

The figures are data, `catalog/accuracy/claims.yaml`: mean errors of the claims of docs/accuracy.md, written with
that page by `python -m calibration.claims`. A profile from the command of `tokenfleet.envs.fitting` brings errors of
its own, those of runs that were left out of the fit.
"""

from __future__ import annotations

from functools import cache

from tokenfleet.envs.catalog import load_entry
from tokenfleet.envs.layers.llm.model import ModelSpec
from tokenfleet.envs.layers.llm.profile import ProfileSpec
from tokenfleet.envs.spec import Name, NonNegativeFloat, Spec, UnitFraction

QUANTITIES = {"decode_step": "decode step", "board_power": "board power"}
"""What errors are of -> in words."""
LEFT_OUT = {"decode_step": ("decode_step_left_out", "tpot_left_out"), "board_power": ("board_power_left_out",)}
"""Quantity -> keys of a profile's own `fit_errors` that say it."""


class ExpectedErrorSpec(Spec):
    """Mean absolute relative error of a claim.

    Attributes:
        error: the share.
        claim: which claim of docs/accuracy.md found it.
    """

    error: UnitFraction
    claim: str


class AccuracySpec(Spec):
    """Expected errors, `catalog/accuracy/<name>.yaml`.

    Attributes:
        errors: origin of a profile -> `dense` or `experts` -> quantity -> expected error.
    """

    name: Name
    description: str = ""
    errors: dict[str, dict[str, dict[str, ExpectedErrorSpec]]]


def expected_errors(profile: ProfileSpec, model: ModelSpec) -> dict[str, NonNegativeFloat]:
    """Quantity -> mean absolute relative error that is expected of a profile.

    >>> from tokenfleet.envs.layers import llm
    >>> model = llm.load_model("llama-3.1-8b")
    >>> here, roofline = (llm.load_profile(model.name, gpu, 1) for gpu in ("h100-sxm", "l40s"))
    >>> expected_errors(here, model)["decode_step"] < expected_errors(roofline, model)["decode_step"]
    True
    """
    kind = "experts" if model.experts > 1 else "dense"
    known = _accuracy().errors[profile.origin][kind]
    own = profile.fit_errors
    return {name: next((own[key] for key in keys if key in own), known[name].error) for name, keys in LEFT_OUT.items()}


@cache
def _accuracy() -> AccuracySpec:
    return AccuracySpec.parse(load_entry("accuracy", "claims"), "accuracy.claims")
