"""Cut the excerpts of `data/` out of the published files: `python -m calibration.extract FOLDER`.

FOLDER holds the originals as data/README.md names them. Only needed to add a GPU, a model or a tensor-parallel degree.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from calibration.excerpts import DATA
from calibration.extract import boards, collectives, experts, kernels, latent_attention, products, runs

TABLES = {**kernels.TABLES, **collectives.TABLES, **products.TABLES, **experts.TABLES, **latent_attention.TABLES}
TABLES |= {**runs.TABLES, **boards.TABLES}
PLAIN: dict[str, Any] = {"float_format": "%.6g"}
PACKED: dict[str, Any] = {"float_format": "%.8g", "compression": {"method": "gzip", "mtime": 1}}


def main() -> None:
    """Write every excerpt."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder of the originals")
    source = parser.parse_args().folder
    for file, cut in TABLES.items():
        cut(source).to_csv(DATA / file, index=False, **(PACKED if file.endswith(".gz") else PLAIN))


if __name__ == "__main__":
    main()
