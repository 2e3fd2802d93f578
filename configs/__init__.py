"""Hydra configuration groups of the three scripts, and the types that check the compositions."""

if __name__ != "tokenfleet.configs":
    raise ImportError("import tokenfleet.configs, not configs")
