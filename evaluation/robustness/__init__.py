"""Whether policies stay ahead where nobody trained them: `python -m tokenfleet.evaluation.robustness`.

Policies that ship as `pretrained/<scenario>`, constants that ship as `tuned/<scenario>/constants`, and rules meet on
test episodes of the scenario as it is and under every shift of the catalogue. Nothing is trained or chosen here. The
same command goes on with what `--out` holds.

| module | what |
|---|---|
| `episodes` | what a policy comes to |
| `rivals` | who meets in a scenario |
| `matrix` | who is ahead under a shift, with intervals |
| `page` | docs/robustness.md |
| `figure` | the picture of it |
"""
