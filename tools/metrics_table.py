"""Write the table of metrics into its page: `python tools/metrics_table.py docs/evaluation.md`."""

from __future__ import annotations

from tokenfleet.envs.commands import typed_path
from tokenfleet.envs.files.markdown import with_part
from tokenfleet.evaluation.metrics import markdown_table


def main() -> None:
    """Write the table between its markers."""
    path = typed_path(__doc__, "the page with a part marked `metrics`")
    path.write_text(with_part(path.read_text(encoding="utf-8"), "metrics", markdown_table()), encoding="utf-8")


if __name__ == "__main__":
    main()
