"""A user's own demand: from any record of requests to a trace, and to a stream that draws other weeks like it.

python -m tokenfleet.envs.demand import azure-2024 week.csv --out week.npz
python -m tokenfleet.envs.demand fit week.npz --start 2024-05-10 --name my-chat --out mine

docs/workloads.md has an example.

| module | subject |
|---|---|
| `importers` | the records that can be imported |
| `mooncake`, `servegen` | records that are no plain tables of requests |
| `counts` | requests counted in windows |
| `hours`, `cascade_fit`, `lengths_fit` | the parts of a fit: hours of the week, bursts, token counts |
| `fit` | the whole fit |
| `judge` | its error on a part of the trace that it has not seen |
| `report` | the fit as text, and as an entry of the catalogue |

Formats of tables are declared in `envs/traces/formats.py`; what is fitted is drawn by the stream `fitted` of
`envs/layers/agents/fitted.py`.
"""

from __future__ import annotations

from tokenfleet.envs.demand.fit import fit_demand
from tokenfleet.envs.demand.importers import IMPORTERS
from tokenfleet.envs.demand.judge import judge

__all__ = ["IMPORTERS", "fit_demand", "judge"]
