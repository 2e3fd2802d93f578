"""How a configuration names a policy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator

from tokenfleet.envs.spec import shown


def _policy(value: Any) -> Any:
    if not isinstance(value, (str, Mapping)):
        raise ValueError(f"must be a name, 'module:Class', or a mapping with name and parameters (got {shown(value)})")
    return value


PolicyChoice = Annotated[str | dict[str, Any], BeforeValidator(_policy)]
"""A name, `module:Class`, or a mapping with `name` and parameters."""
