"""Paired evaluation of policies on held-out episodes: rows, statistics, tables, figures."""

if __name__ != "tokenfleet.evaluation":
    raise ImportError("import tokenfleet.evaluation, not evaluation")
