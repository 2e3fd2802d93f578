"""Print the dependencies of the project and of the named extras, a line each (no torch: see the Makefile)."""

import argparse
import re
from pathlib import Path


def main() -> None:
    """Read the arrays of `pyproject.toml` by hand: Python 3.10 has no TOML reader and nothing is installed yet."""
    text = (Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("extras", nargs="*", help="lists under [project.optional-dependencies]")
    names = ["dependencies", *parser.parse_args().extras]
    for name in names:
        found = re.search(rf"^{name} = \[(.*?)\]\s*$", text, re.DOTALL | re.MULTILINE)
        if found is None:
            raise SystemExit(f"pyproject.toml: no list named {name!r}")
        for requirement in re.findall(r'"([^"]+)"', found.group(1)):
            if not requirement.startswith("torch"):
                print(requirement)


if __name__ == "__main__":
    main()
