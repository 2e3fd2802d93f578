"""Set-points that follow the state: base entries, and gains times what a fleet shows.

| module | what |
|---|---|
| `features` | what the state is, site by site and class by class, and what is remembered of it |
| `law` | entries of the action from features, on a common scale |
| `numbers` | gains, entries and scales by name, and as arrays |
| `policy` | the policy `linear_feedback` |
"""
