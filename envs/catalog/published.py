"""Data that others have published."""

from __future__ import annotations

from tokenfleet.envs.spec import Name, Spec


class PublishedSpec(Spec):
    """The YAML beside published data: their meaning, source and license."""

    name: Name
    description: str = ""
    source: str = ""
    license: str = ""
    attribution: str = ""
