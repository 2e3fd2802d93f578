"""What `--help` says about keys: read from the comments in the YAML, so that a key is explained once."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

_KEY = re.compile(r"^(?P<indent> *)(?P<key>[a-z_]+):(?: +(?P<value>.*))?$")
_UNEXPLAINED = ("defaults", "hydra")


def described_keys(config: Path) -> list[tuple[str, str, str]]:
    """Every key with its value and the comment above it.

    Args:
        config: a YAML file in which each key has its sentence on the lines above.

    Returns:
        Rows of dotted key, value as written (empty for a section) and sentence.
    """
    rows: list[tuple[str, str, str]] = []
    parents: list[str] = []
    comment: list[str] = []
    for line in config.read_text(encoding="utf-8").splitlines():
        match = _KEY.match(line)
        if line.lstrip().startswith("#"):
            comment.append(line.strip("# "))
        elif match:
            parents = [*parents[: len(match["indent"]) // 2], match["key"]]
            if parents[0] not in _UNEXPLAINED:
                rows.append((".".join(parents), match["value"] or "", " ".join(comment)))
            comment = []
        else:
            comment = []
    return rows


def keys_help(config: Path, group: str = "", width: int = 118) -> str:
    """The keys as lines of help: `key=value`, and the sentence beside it.

    Args:
        config: see `described_keys`.
        group: what the keys stand below, such as `algo`; empty for nothing.
        width: longest line.
    """
    prefix = f"{group}." if group else ""
    lines = []
    for key, value, sentence in described_keys(config):
        if not value:
            continue
        left = f"  {prefix}{key}={value}"
        indent = 33
        first = left.ljust(indent) if len(left) < indent else f"{left}\n{' ' * indent}"
        wrapped = textwrap.wrap(sentence, width - indent) or [""]
        lines.append(first + f"\n{' ' * indent}".join(wrapped))
    return "\n".join(lines) + "\n"
