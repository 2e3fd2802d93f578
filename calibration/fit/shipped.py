"""The catalogue's YAML beside the fits: what differs, and the fitted values written into it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from calibration.fit.gpus import gpu_numbers
from calibration.fit.kernels import board_kernels, interconnects
from calibration.fit.profiles import fit_errors, power_factors, profile_numbers
from tokenfleet.envs.catalog import SHIPPED, read_yaml


class Fitted(NamedTuple):
    """Fitted numbers of a kind of entry: name -> key -> value, in a section of the file if one is named."""

    kind: str
    numbers: Callable[[], Mapping[str, Mapping[str, Any]]]
    section: str = ""

    def shipped(self, name: str) -> dict[str, Any]:
        """What the file has."""
        whole = read_yaml(SHIPPED / self.kind / f"{name}.yaml")
        part: dict[str, Any] = whole[self.section] if self.section and self.section in whole else whole
        return part


FITTED = (
    Fitted("profile", profile_numbers),
    Fitted("profile", power_factors),
    Fitted("gpu", gpu_numbers),
    Fitted("gpu", board_kernels, section="kernels"),
    Fitted("interconnect", interconnects),
)


def shipped_differences() -> list[str]:
    """One line for each shipped value that is not the fit's."""
    lines = []
    for fitted in FITTED:
        for name, numbers in fitted.numbers().items():
            shipped = fitted.shipped(name)
            lines += [
                f"{fitted.kind}/{name}.yaml {key}: shipped {shipped[key]}, fitted {value}"
                for key, value in numbers.items()
                if not _alike(shipped[key], value)
            ]
    return lines


def write() -> None:
    """Rewrite the fitted values in the catalogue."""
    for fitted in FITTED:
        for name, numbers in fitted.numbers().items():
            values = {key: _flow(value) for key, value in numbers.items()}
            if fitted.numbers is profile_numbers:
                errors = ", ".join(f"{key}: {error:g}" for key, error in fit_errors()[name].items())
                values["fit_errors"] = f"{{{errors}}}"
            path = SHIPPED / fitted.kind / f"{name}.yaml"
            text = path.read_text(encoding="utf-8")
            indent = "  " if fitted.section else ""
            for key, value in values.items():
                text = re.sub(rf"(?m)^{indent}{key}:.*$", f"{indent}{key}: {value}", text)
            path.write_text(text, encoding="utf-8")


def _alike(shipped: Any, fitted: Any) -> bool:
    """Within a thousandth, number by number."""
    here, there = _numbers(shipped), _numbers(fitted)
    return len(here) == len(there) and np.allclose(here, there, rtol=1e-3, atol=0.0)


def _numbers(value: Any) -> list[float]:
    """All of a nested value, the numbers among its keys too."""
    if isinstance(value, Mapping):
        return [
            x for key, part in value.items() for x in ([float(key)] if isinstance(key, int) else []) + _numbers(part)
        ]
    return [x for part in value for x in _numbers(part)] if isinstance(value, list | tuple) else [float(value)]


def _flow(value: Any) -> str:
    """A value as YAML on one line; every number with a point, so that YAML reads it as one."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_flow(part)}" for key, part in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_flow, value)) + "]"
    shown = repr(value)
    return shown if "e" not in shown or "." in shown else shown.replace("e", ".0e")
