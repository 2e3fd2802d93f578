"""The clairvoyant upper bound on what an episode can be worth: `python -m tokenfleet.evaluation.bound`.

docs/bound.md proves that no policy earns more.
"""
