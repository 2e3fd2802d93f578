"""One policy trained on many drawn fleets, and compared on fleets it never saw.

    python -m tokenfleet.evaluation.generalist.train --out runs/generalist
    python -m tokenfleet.evaluation.generalist.compare --weights runs/generalist/generalist.safetensors

| module | subject |
|---|---|
| `rollouts` | what many sets of weights come to in the same episodes of a fleet |
| `training` | a search over weights whose candidates meet the same fleets, and the choice on validation fleets |
| `train` | its command |
| `compare` | the table of policies on test fleets, or on scenarios by name |

A score is the net value of an episode as a share of what the fleet would earn if everybody were served in time: fleets
count alike, whatever they earn.
"""
