"""What searches learn against the best rules, on test episodes: `python -m tokenfleet.evaluation.leaderboard`.

On every scenario, training seeds search for feedback, for corrections of the best rule, and for constants with as many
episodes. The best rule and the best published controller that have numbers are tuned, by the budget of `tune.py`.
Validation episodes choose what goes into service, within the strongest rival's seconds above a cap. The chosen policies
and the best rules meet on test episodes, which choose nothing. The same command goes on with what `--out` holds.

| module | what |
|---|---|
| `budget` | how much a training may cost |
| `commands` | what a person types to train or tune, and running it once |
| `cells` | results of policies in some episodes |
| `rivals` | the rules that are best on validation, and the best of them tuned |
| `learning` | what a training seed learns in a scenario, and how long it took |
| `meeting` | learned policies and rules on the same episodes of a scenario |
| `standings` | who is ahead of whom in a scenario, with intervals |
| `filing` | standings on file |
| `page` | docs/leaderboard.md |
| `figure` | the picture of it |
| `shipping` | the best learned policies as files |
| `tuned_sets` | rules with tuned numbers for scenarios that are no benchmarks |
"""
