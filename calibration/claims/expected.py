"""Which claim says how wrong a profile is expected to be; written to the catalogue with docs/accuracy.md."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from calibration.claims.comparison import Claim, Comparison
from tokenfleet.envs.catalog import SHIPPED
from tokenfleet.envs.files import entry_text

ACCURACY = SHIPPED / "accuracy" / "claims.yaml"
COMMENT = "# Written by python -m calibration.claims, with docs/accuracy.md."
DESCRIPTION = "Expected mean errors of a profile, by what it was made of: claims of docs/accuracy.md."
CLAIM_OF: dict[str, dict[str, dict[str, str]]] = {
    "measured": {
        "dense": {"decode_step": "decode step, dense", "board_power": "board power of shipped profiles"},
        "experts": {
            "decode_step": "decode step, mixtures of experts",
            "board_power": "board power, mixtures of experts, with a profile's factor",
        },
    },
    "kernels": {
        "dense": {"decode_step": "decode step, GPU left out", "board_power": "board power, model left out"},
        "experts": {
            "decode_step": "decode step, mixture in fp8 left out",
            "board_power": "board power, mixture left out",
        },
    },
    "roofline": {
        "dense": {
            "decode_step": "decode step, roofline on other boards",
            "board_power": "board power, chip left out",
        },
        "experts": {
            "decode_step": "decode step, mixture in fp8 left out",
            "board_power": "board power, mixture and step left out",
        },
    },
}
"""Origin of a profile -> kind of model -> quantity -> name of a claim."""


def accuracy(found: Mapping[str, float]) -> dict[str, Any]:
    """The entry of the catalogue.

    Args:
        found: name of a claim -> its mean error.
    """
    errors = {
        origin: {
            kind: {name: {"error": round(found[claim], 3), "claim": claim} for name, claim in quantities.items()}
            for kind, quantities in kinds.items()
        }
        for origin, kinds in CLAIM_OF.items()
    }
    return {"name": ACCURACY.stem, "description": DESCRIPTION, "errors": errors}


def write_accuracy(found: Mapping[Claim, Comparison], path: Path = ACCURACY) -> None:
    """Write what some comparisons say."""
    data = accuracy({claim.name: comparison.mean_error for claim, comparison in found.items()})
    path.write_text(entry_text(data, COMMENT), encoding="utf-8")
