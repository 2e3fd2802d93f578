"""Whether policies stay ahead where nobody trained them: `python -m tokenfleet.evaluation.robustness`.

The shipped policies `pretrained/<scenario>`, the shipped constants `tuned/<scenario>/constants` and rules meet on test
episodes of the scenario as it is, and under every shift of the catalogue. Nothing is trained or chosen here. The same
command resumes from the content of `--out`.

| module | what |
|---|---|
| `episodes` | what a policy comes to |
| `rivals` | who meets in a scenario |
| `matrix` | who is ahead under a shift, with intervals |
| `page` | docs/robustness.md |
| `figure` | the picture of it |
"""
