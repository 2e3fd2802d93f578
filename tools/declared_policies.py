"""Write what policies say of themselves into its page: `python tools/declared_policies.py docs/controllers.md`.

`make contenders` writes all of that page, measurements included.
"""

from __future__ import annotations

from tokenfleet.envs.commands import typed_path
from tokenfleet.envs.files.markdown import with_part
from tokenfleet.evaluation.contenders.page import DECLARED, declared


def main() -> None:
    """Write the part between its markers."""
    path = typed_path(__doc__, f"the page with a part marked `{DECLARED}`")
    path.write_text(with_part(path.read_text(encoding="utf-8"), DECLARED, declared()), encoding="utf-8")


if __name__ == "__main__":
    main()
