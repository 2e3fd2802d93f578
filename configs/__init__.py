"""Hydra configuration groups of train.py and evaluate.py."""

if __name__ != "tokenfleet.configs":
    raise ImportError("import tokenfleet.configs, not configs")
