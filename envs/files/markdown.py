"""Tables of the pages that commands write."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown, without a line's end after its last row.

    >>> print(markdown_table(["policy", "USD"], [["random", "1.50"]]))
    | policy | USD |
    | --- | --- |
    | random | 1.50 |
    """
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows))
