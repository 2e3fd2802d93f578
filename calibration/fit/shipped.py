"""The catalogue's YAML beside the fits: what differs, and the fitted values written into it."""

from __future__ import annotations

import re

import numpy as np

from calibration.fit.gpus import gpu_numbers
from calibration.fit.profiles import fit_errors, power_factors, profile_numbers
from tokenfleet.envs.catalog import SHIPPED, read_yaml

FITTED = (("profile", profile_numbers), ("profile", power_factors), ("gpu", gpu_numbers))


def shipped_differences() -> list[str]:
    """One line for each shipped value that is not the fit's."""
    lines = []
    for kind, tables in FITTED:
        for name, numbers in tables().items():
            shipped = read_yaml(SHIPPED / kind / f"{name}.yaml")
            lines += [
                f"{kind}/{name}.yaml {key}: shipped {shipped[key]}, fitted {value}"
                for key, value in numbers.items()
                if not np.allclose(shipped[key], value, rtol=1e-3, atol=0.0)
            ]
    return lines


def write() -> None:
    """Rewrite the fitted values in the catalogue."""
    for kind, tables in FITTED:
        for name, numbers in tables().items():
            values = {key: repr(value) for key, value in numbers.items()}
            if tables is profile_numbers:
                errors = ", ".join(f"{key}: {error:g}" for key, error in fit_errors()[name].items())
                values["fit_errors"] = f"{{{errors}}}"
            path = SHIPPED / kind / f"{name}.yaml"
            text = path.read_text(encoding="utf-8")
            for key, value in values.items():
                text = re.sub(rf"(?m)^{key}:.*$", f"{key}: {value}", text)
            path.write_text(text, encoding="utf-8")
