"""Policies that learn: algorithms by name, training with exact resume, and checkpoints without pickle.

| module | subject |
|---|---|
| `training` | a run from its first step, or from a snapshot: begin here |
| `algorithms`, `algorithm_base`, `networks`, `named_values` | what a configuration may say of an algorithm |
| `recipes` | how each algorithm is made |
| `paired` | PPO whose baseline comes from paired episodes |
| `evolution`, `evolution_specs` | weights that are searched for without gradients |
| `controller`, `controller_algorithm` | the network of searches and of imitation; what both share |
| `imitation`, `imitation_spec`, `teaching` | a network that learns what a teacher would do; the teacher |
| `correction`, `links` | a network that corrects another policy; the observations that an entry of an action is given |
| `limits`, `limited_env` | limits on what episodes may cost; the prices that keep them |
| `limit_inputs`, `limit_draws`, `observed_limits` | a limit as an input of a network; which one an episode draws |
| `custom`, `custom_spec` | algorithms that a user names |
| `sb3`, `sb3_vec_env`, `updates` | models and environments as stable-baselines3 has them; when they learn |
| `callbacks`, `stopping` | what happens between two updates |
| `training_state`, `resume`, `wrapper_state`, `layout` | the state of a run, its snapshots, its folder |
| `checkpoint`, `checkpoint_meta`, `rebuilding` | policies to share, and to load again |
| `as_policy` | a checkpoint as a policy of the registry |
| `identity` | whether a policy is the same as before |
| `network_policy`, `action_masks`, `spaces` | what such a policy does, and may not do; spaces as plain data |
| `plain_data`, `weights`, `hashed_folder`, `packages` | files that can run no code |
| `trust` | whose code may run |
| `progress_log`, `tracking`, `trackers` | where the numbers of a run go |
"""
