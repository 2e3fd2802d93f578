"""Variants: another model, smaller or with fewer bits, that the replicas of a pool can load instead of their own."""

from __future__ import annotations

from tokenfleet.envs.spec import Name, Spec, UnitFraction


class VariantSpec(Spec):
    """A model that the replicas of a pool can serve instead of their own, where watts are short.

    Attributes:
        model: its name in the catalogue; it runs on the boards of the pool, which split it as they do the own model.
        quality: what an answer of the variant is worth, over one of the own model. Scores of benchmarks say how often
            the variant is as good; what clients pay for that is an assumption of the scenario.
    """

    model: Name
    quality: UnitFraction
