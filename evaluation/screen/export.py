"""Write what a screen has tuned as a policy: `python -m tokenfleet.evaluation.screen.export FILE.json --out FILE.yaml`.

The file is one that `policies=[FILE.yaml]` and `policy.base=FILE.yaml` take (`tokenfleet.policies.policy_files`).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokenfleet.envs.commands import exit_status
from tokenfleet.envs.spec import SpecError
from tokenfleet.evaluation.screen.conclusions import CONSTANTS, FEEDBACK
from tokenfleet.evaluation.screen.found import FinishedScreen
from tokenfleet.policies.policy_files import SUFFIX, write_policy

COMMAND = "python -m tokenfleet.evaluation.screen.export"
TYPED = ("scenario", "minutes", "seed", "generations", "episodes")
"""What a person may type of a screen; what is None or 0 is the default."""
PLANS = {"constants": CONSTANTS, "feedback": FEEDBACK}


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; see the module."""
    parser = argparse.ArgumentParser(prog=COMMAND, description="Write what a screen has tuned as a policy.")
    parser.add_argument("screen", type=Path, metavar="FILE.json", help="what a screen has written")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.yaml", help="the policy's file")
    parser.add_argument("--plan", choices=list(PLANS), default="feedback", help="which (default: feedback)")
    parser.add_argument("--scenario", metavar="YAML", help="of the screen, where it is not in the catalogue")
    typed = parser.parse_args(arguments)
    return exit_status(lambda: _export(typed.screen, typed.out, PLANS[typed.plan], typed.scenario))


def _export(screen: Path, out: Path, plan: str, scenario: str | None) -> None:
    if out.suffix != SUFFIX:
        raise SpecError([f"--out: must end in {SUFFIX} (got {out})"])
    found = FinishedScreen.of_file(screen, scenario)
    try:
        write_policy(out, found.choice(plan), _origin(found, plan))
    except OSError as error:
        raise SpecError([f"--out: cannot write {out}: {error.strerror or error}"]) from None
    print(f"Written: {out}")


def _origin(found: FinishedScreen, plan: str) -> dict[str, Any]:
    """How the policy was found."""
    card, header = found.card, found.header
    return {
        "command": " ".join(
            ["python -m tokenfleet.evaluation.screen", *(f"--{name} {header[name]}" for name in TYPED if header[name])]
        ),
        "plan": plan,
        "config_hash": header["config_hash"],
        "seed": header["seed"],
        "generations": dict(card["budget"]["done"]),
        "validation": {"episodes": card["budget"]["episodes"], "value": dict(card["values"][plan])},
    }


if __name__ == "__main__":
    sys.exit(main())
