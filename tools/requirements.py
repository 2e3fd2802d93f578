"""Print the dependencies of the project and of the named extras, a line each (no torch: see the Makefile)."""

import re
import sys
from pathlib import Path


def main() -> None:
    """Read the arrays of `pyproject.toml` by hand: Python 3.10 has no TOML reader and nothing is installed yet."""
    text = (Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8")
    names = ["dependencies", *sys.argv[1:]]
    for name in names:
        found = re.search(rf"^{name} = \[(.*?)\]\s*$", text, re.DOTALL | re.MULTILINE)
        if found is None:
            raise SystemExit(f"pyproject.toml: no list named {name!r}")
        for requirement in re.findall(r'"([^"]+)"', found.group(1)):
            if not requirement.startswith("torch"):
                print(requirement)


if __name__ == "__main__":
    main()
