"""Tables and parts of the pages that commands write."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from tokenfleet.envs.spec import SpecError


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown, without a line's end after its last row.

    >>> print(markdown_table(["policy", "USD"], [["random", "1.50"]]))
    | policy | USD |
    | --- | --- |
    | random | 1.50 |
    """
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows))


def with_part(page: str, name: str, text: str) -> str:
    """`page` with `text` between its markers `<!-- generated: NAME -->` and `<!-- end -->`.

    Raises:
        SpecError: the page has no such part.
    """
    part = re.compile(rf"(<!-- generated: {name} -->\n).*?(<!-- end -->)", re.DOTALL)
    if not part.search(page):
        raise SpecError([f"the page has no part marked <!-- generated: {name} -->"])
    return part.sub(lambda found: f"{found[1]}\n{text}\n\n{found[2]}", page)
