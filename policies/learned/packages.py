"""The packages that decide a network's form, and their versions."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version

LEARNING_PACKAGES = ("tokenfleet", "torch", "stable-baselines3", "sb3-contrib")
"""The packages whose versions a checkpoint records."""


def versions_of(packages: Iterable[str]) -> dict[str, str | None]:
    """The installed version of each package; None for one that is not installed."""
    return {name: _version(name) for name in packages}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
