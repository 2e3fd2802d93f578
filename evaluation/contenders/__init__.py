"""Every shipped policy on every shipped scenario: `python -m tokenfleet.evaluation.contenders`.

All meet the same validation episodes; the test split stays untouched. `--out` holds what has been measured, and the
same command goes on with it. From it the page docs/controllers.md and its figure are written.
"""
