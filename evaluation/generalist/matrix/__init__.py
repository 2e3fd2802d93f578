"""One policy for any fleet beside specialists and rules: `python -m tokenfleet.evaluation.generalist.matrix`.

In every benchmark scenario, and in drawn test fleets, everyone who can act meets the same test episodes: rules with
their own numbers and with tuned ones, tuned constants, the specialist that ships for the scenario, the specialists of
all other scenarios, the generalist as it ships, and the generalist after fine-tuning. Fine-tuning sees training
episodes and chooses by validation episodes; this command does it where it is not on file. The same command goes on with
what `--out` holds.

| module | what |
|---|---|
| `entrants` | who meets in a scenario, by column of the matrix |
| `row` | what a scenario says: values, leads with intervals, who refused |
| `page` | docs/generalist-matrix.md |
| `figure` | the picture of it |
"""
