"""What searches learn against every rule, on test episodes: `python -m tokenfleet.evaluation.leaderboard`.

On every scenario, training seeds search for constants and for feedback with the same budget; then they and every
shipped rule meet the same test episodes, which choose nothing. The same command goes on with what `--out` holds.

| module | what |
|---|---|
| `learning` | what a training seed learns in a scenario, and how long it took |
| `meeting` | learned policies and rules on the test episodes of a scenario |
| `standings` | who is ahead of whom in a scenario, with intervals |
| `page` | docs/leaderboard.md |
| `figure` | the picture of it |
| `shipping` | the best learned policies as files |
"""
