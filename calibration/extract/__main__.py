"""Cut the excerpts of `data/` out of the published files: `python -m calibration.extract FOLDER`.

FOLDER holds the originals as data/README.md names them. Only needed to add a GPU, a model or a tensor-parallel degree.
"""

from __future__ import annotations

from typing import Any

from calibration.excerpts import DATA
from calibration.extract import boards, collectives, experts, kernels, latent_attention, products, runs
from tokenfleet.envs.commands import typed_path

TABLES = {**kernels.TABLES, **collectives.TABLES, **products.TABLES, **experts.TABLES, **latent_attention.TABLES}
TABLES |= {**runs.TABLES, **boards.TABLES}
PLAIN: dict[str, Any] = {"float_format": "%.6g"}
PACKED: dict[str, Any] = {"float_format": "%.8g", "compression": {"method": "gzip", "mtime": 1}}


def main() -> None:
    """Write every excerpt."""
    source = typed_path(__doc__, "the folder of the originals")
    for file, cut in TABLES.items():
        cut(source).to_csv(DATA / file, index=False, **(PACKED if file.endswith(".gz") else PLAIN))


if __name__ == "__main__":
    main()
