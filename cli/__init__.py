"""The command line of train.py, tune.py and evaluate.py: composing, checking, run folders, and plain messages for mistakes."""

if __name__ != "tokenfleet.cli":
    raise ImportError("import tokenfleet.cli, not cli")
