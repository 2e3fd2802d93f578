"""One policy for any fleet beside specialists and rules: `python -m tokenfleet.evaluation.generalist.matrix`.

In every benchmark scenario, and in drawn test fleets, all policies that can act there meet the same test episodes. The
policies are rules with their own and with tuned numbers, tuned constants, the shipped specialists of this and of all
other scenarios, and the generalist as it ships and after fine-tuning. Fine-tuning sees training episodes and chooses by
validation episodes; the command fine-tunes where no result is on file. A second call continues with what `--out` holds.

| module | what |
|---|---|
| `entrants` | who meets in a scenario, by column of the matrix |
| `row` | what a scenario says: values, leads with intervals, who refused |
| `page` | docs/generalist-matrix.md |
| `figure` | the picture of it |
"""
