"""What runs under a sanitizer: `python -m tests.sanitized fuzz ...` or `threads`; see tools/sanitize.sh.

The engine is loaded from the folder that TOKENFLEET_NATIVE names, before anyone can import the installed one.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

NAME = "tokenfleet.envs.engine._native"


def load_native(folder: Path) -> None:
    """Let `_native` be the library in that folder."""
    (library,) = folder.glob("_native*.so")
    spec = importlib.util.spec_from_file_location(NAME, library)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[NAME] = module
    spec.loader.exec_module(module)


def main() -> int:
    """Returns the exit status."""
    load_native(Path(os.environ["TOKENFLEET_NATIVE"]))
    what, *arguments = sys.argv[1:]
    if what == "fuzz":
        from tools.fuzz.__main__ import main as fuzz

        sys.argv[1:] = arguments
        return fuzz()
    return step_with_threads()


def step_with_threads() -> int:
    """Batches of several fleets on several threads; a sanitizer ends the process at what it finds."""
    from tests.engine.instances import Situation, random_instances
    from tests.engine.runs import run_batch

    for seed in range(30):
        situation = Situation(load=2.0, closed_loop=seed % 2 == 0, long_talks=seed % 3 == 0, hand_offs=seed % 5 == 0)
        run_batch("native", random_instances(seed, 7, situation), threads=3)
    return 0


if __name__ == "__main__":
    sys.exit(main())
