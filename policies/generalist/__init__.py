"""One policy for any fleet: weights that all sites, all pools and all request classes share.

| module | what |
|---|---|
| `entities` | what a site, a pool and a class show, on scales that mean the same in every fleet |
| `neighbours` | which site, pools and classes an entry of the action is about |
| `law` | entries of the action from what is shown: a deep set, with the same weights for any number of entities |
| `weights` | the weights as a file, as numbers of a search, and as arrays |
| `base` | what the weights, and the actions of `drawn_fleets`, move from |
| `policy` | the policy `generalist` |
| `slots`, `drawn_fleets` | any drawn fleet in arrays of one size; an environment with another fleet every episode |
"""
