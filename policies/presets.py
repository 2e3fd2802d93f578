"""What a name in a configuration stands for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Preset:
    """What a name stands for.

    Attributes:
        target: `module:Class`, imported when it is first used, or the class itself.
        parameters: keyword arguments of the preset; a user's own override them.
        group: kind of policy, a key of `tokenfleet.policies.shipped.GROUPS`; empty for a user's own.
    """

    target: str | type[Any]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    group: str = ""
