"""Policies in YAML files, with parameters that were tuned or written down: `tuned/<scenario>/<name>`, or a path.

Such a file holds `policy`, a choice as the registry takes it, and may hold `found`: how it was come by.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenfleet.envs.files import read_yaml
from tokenfleet.envs.spec import SpecError, suggest

TUNED = "tuned"
SUFFIX = ".yaml"
SHIPPED = Path(__file__).parent / TUNED


def is_file_choice(choice: Any) -> bool:
    """Whether a choice names a file.

    >>> is_file_choice("tuned/default/supervisor"), is_file_choice("mine/best.yaml"), is_file_choice("supervisor")
    (True, True, False)
    """
    return isinstance(choice, str) and (choice.startswith(f"{TUNED}/") or choice.endswith(SUFFIX))


def resolved(choice: Any) -> Any:
    """What a choice stands for: that in the file, if it names one, else itself.

    Raises:
        SpecError: there is no such file, or none of a policy.
    """
    return _read(_path(choice)) if is_file_choice(choice) else choice


def shipped_names() -> list[str]:
    """Every tuned policy that ships, as it is named."""
    return sorted(f"{TUNED}/{path.parent.name}/{path.stem}" for path in SHIPPED.glob(f"*/*{SUFFIX}"))


def _path(choice: str) -> Path:
    if choice.endswith(SUFFIX):
        return Path(choice)
    names = shipped_names()
    if choice not in names:
        raise SpecError([f"policy: unknown name {choice!r}{suggest(choice, names)}, or the path of a YAML file"])
    return SHIPPED / f"{choice.removeprefix(f'{TUNED}/')}{SUFFIX}"


def _read(path: Path) -> dict[str, Any]:
    data = read_yaml(path)
    policy = data.get("policy") if isinstance(data, Mapping) else None
    if not isinstance(policy, Mapping) or not isinstance(policy.get("name"), str):
        raise SpecError([f"{path}: holds no policy; write `policy: {{name: ..., parameters}}`, as tune.py does"])
    if is_file_choice(policy["name"]):
        raise SpecError([f"{path}: policy.name: must be a policy and no further file (got {policy['name']!r})"])
    return {str(key): value for key, value in policy.items()}
