"""Convert public records of demand to the catalogue's forms: `python -m calibration.extract.traces FOLDER`.

FOLDER holds the originals in `mooncake_fast25`, `servegen` and `azure_llm_2024_digitised`; what they are, and from
where, is said in the YAML beside each result.
"""

from __future__ import annotations

import pandas as pd
import yaml

from tokenfleet.envs.catalog import SHIPPED
from tokenfleet.envs.commands import typed_path
from tokenfleet.envs.demand import mooncake, servegen
from tokenfleet.envs.traces import write_clients, write_sessions

RATE_STEP_S = 1800.0


def rate_profile(points: pd.DataFrame) -> list[float]:
    """Requests per minute in steps of half an hour, from points every 7.2 minutes."""
    step = (points.t_s_from_start // RATE_STEP_S).astype(int)
    return [round(float(mean), 1) for mean in points.groupby(step).rpm_mid.mean()]


def main() -> None:
    """Convert all and write them into the catalogue."""
    source = typed_path(__doc__, "the folder of the originals")
    requests = mooncake.read_requests(source / "mooncake_fast25" / "conversation_trace.jsonl.gz")
    write_sessions(mooncake.conversations(requests), SHIPPED / "trace" / "mooncake-chat.npz")
    for model in ("m-large", "m-small"):
        write_clients(
            servegen.read_clients_of(source / "servegen", model), SHIPPED / "clients" / f"servegen-{model}.npz"
        )
    points = pd.read_csv(source / "azure_llm_2024_digitised" / "requests_per_minute.csv")
    path = SHIPPED / "rate" / "azure-coding-2024.yaml"
    about = yaml.safe_load(path.read_text())
    about["requests_per_minute"] = rate_profile(points[points.service == "coding"])
    lines_out = yaml.safe_dump(about, sort_keys=False, width=118, default_flow_style=None)
    path.write_text(lines_out, encoding="utf-8")


if __name__ == "__main__":
    main()
