"""Set-points that follow the state: base entries, plus gains times features of the fleet.

| module | what |
|---|---|
| `features` | features of the state, site by site and class by class, and what is remembered of them |
| `law` | entries of the action from features, on a common scale |
| `numbers` | gains, entries and scales by name, and as arrays |
| `policy` | the policy `linear_feedback` |
"""
