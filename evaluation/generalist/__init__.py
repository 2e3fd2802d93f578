"""One policy trained on many drawn fleets, fine-tuned in one scenario, and compared on fleets it never saw.

    python -m tokenfleet.evaluation.generalist.train --out runs/generalist
    python -m tokenfleet.evaluation.generalist.finetune --scenario heatwave
    python -m tokenfleet.evaluation.generalist.compare --weights runs/generalist/generalist.safetensors
    python -m tokenfleet.evaluation.generalist.matrix

| module | subject |
|---|---|
| `rollouts` | results of many sets of weights in the same episodes of a fleet |
| `search` | a search over weights whose candidates meet the same episodes, and the choice on validation episodes |
| `training`, `finetuning` | what a search on drawn fleets meets, and one in a scenario |
| `commands` | their options as a person types them |
| `train`, `finetune` | their commands |
| `compare` | the table of policies on test fleets, or on scenarios by name |
| `matrix` | the generalist, fine-tuned too, beside specialists and rules |

A score is the net value of an episode as a share of what the fleet would earn if everybody were served in time: fleets
count alike, whatever they earn.
"""
