"""The learned policy of a scenario as a file that `policies=` and `policy.base=` take."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml

from tokenfleet.envs.files.writing import replace_file
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.spec import SpecError
from tokenfleet.evaluation.identity import scenario_hash
from tokenfleet.evaluation.leaderboard.learning import LEARNED, METHODS, Budget, Learned
from tokenfleet.policies.tuned_files import SUFFIX

STEMS = {method: "feedback" if method == LEARNED else "constants" for method in METHODS}


def ship(scenario: Scenario, learned: Sequence[Learned], budget: Budget, folder: Path) -> None:
    """Write each method's policy of the training seed that is best on validation, as FOLDER/SCENARIO/METHOD.yaml.

    Raises:
        SpecError: it cannot be written.
    """
    for method, stem in STEMS.items():
        seed = max(range(len(learned)), key=lambda one: learned[one].validation_usd[method])
        best = learned[seed]
        found = {
            "command": f"python -m tokenfleet.evaluation.leaderboard --scenario {scenario.name}"
            f" --seeds {len(learned)} --generations {budget.generations} --validation {budget.episodes}",
            "method": method,
            "config_hash": scenario_hash(scenario),
            "seed": seed,
            "training_episodes": best.episodes,
            "validation": {"episodes": budget.episodes, "value": best.validation_usd[method]},
        }
        path = folder / scenario.name / f"{stem}{SUFFIX}"
        text = yaml.safe_dump({"policy": best.choice[method], "found": found}, sort_keys=False, allow_unicode=True)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(path, text.encode())
        except OSError as error:
            raise SpecError([f"--ship: cannot write {path}: {error.strerror or error}"]) from None
