"""Identity of plain data, whatever the order of its keys."""

from __future__ import annotations

import hashlib
import json
from typing import Any

SHORT_DIGITS = 12
"""Of a digest that people read: enough to tell a few million things apart."""


def json_digest(data: Any) -> str:
    """SHA-256 of plain data as JSON with sorted keys, 64 hexadecimal digits.

    >>> json_digest({"a": 1, "b": 2}) == json_digest({"b": 2, "a": 1})
    True
    """
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


def short_digest(data: Any) -> str:
    """The first `SHORT_DIGITS` of `json_digest`."""
    return json_digest(data)[:SHORT_DIGITS]
