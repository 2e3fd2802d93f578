"""The command line of train.py, tune.py and evaluate.py: composing, checking, folders, plain messages.

| module | subject |
|---|---|
| `entry` | from what was typed to a job with a folder: begin here |
| `words`, `bounds`, `resolvers`, `help` | what Hydra is handed and may read; what YAML asks for; what `--help` says |
| `sweeps` | the jobs of a sweep before the first begins |
| `messages` | mistakes in one line each |
| `environments`, `wrappers`, `guarded` | environments and wrappers from a configuration, and calls of a user's own |
| `bases`, `tuning` | the policy that a network corrects; tuning the numbers of a policy |
| `candidates`, `validation` | the policies that an evaluation compares; validation while training |
| `runs`, `evaluations` | the folders of runs and of evaluations, begun and resumed |
| `manifest`, `lock`, `job_folders` | where a run comes from, who writes to its folder, which folders are taken back |
"""

if __name__ != "tokenfleet.cli":
    raise ImportError("import tokenfleet.cli, not cli")
