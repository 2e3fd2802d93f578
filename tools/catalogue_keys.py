"""Write every key of a board, interconnect and model: `python -m tools.catalogue_keys docs/catalogue-keys.md`.

Types, ranges and defaults come from the schemas that check the files, meanings from their docstrings.
"""

from __future__ import annotations

from tokenfleet.envs.commands import typed_path
from tokenfleet.envs.layers.gpu import GpuSpec, InterconnectSpec
from tokenfleet.envs.layers.llm import ModelSpec
from tools.scenario_keys import section, specs

ENTRIES = (GpuSpec, InterconnectSpec, ModelSpec)
HEAD = """# Every key of a board, an interconnect and a model

A board is `gpu/<name>.yaml`, an interconnect `interconnect/<name>.yaml` and a model `model/<name>.yaml` of a folder in
`catalog.search_paths`; `name` is that of the file.
[your-own-hardware.md](your-own-hardware.md#without-measurements) has an example. Profiles are not written by hand: a
[command](your-own-hardware.md) fits them.
`python -m tools.catalogue_keys docs/catalogue-keys.md` writes this page.
"""


def main() -> None:
    """Write the page."""
    typed_path(__doc__, "the page to write").write_text(page(), encoding="utf-8")


def page() -> str:
    """The whole page."""
    parts = dict.fromkeys(part for entry in ENTRIES for part in specs(entry))
    return "\n".join([HEAD, *map(section, parts)])


if __name__ == "__main__":
    main()
