"""What the YAML files ask for by `${name:...}`: the folder of a run, and the parts of `--help`."""

from __future__ import annotations

import contextlib
import re
import textwrap
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from tokenfleet import configs
from tokenfleet.cli.help import keys_help
from tokenfleet.envs.catalog import catalog_names

CONFIGS = Path(configs.__file__).parent
HELP_WIDTH, OPTIONS_INDENT = 118, 13
TIME = "%Y-%m-%d_%H-%M-%S"


def register_resolvers() -> None:
    """Make them known to OmegaConf."""
    # The time is that of the start: asked for later, CheckFirst and Hydra could make folders of different seconds.
    OmegaConf.register_new_resolver("run_folder", partial(_run_folder, f"{datetime.now():{TIME}}"), replace=True)
    OmegaConf.register_new_resolver("options", _wrapped_options, replace=True)
    OmegaConf.register_new_resolver("keys_of", _keys_of, replace=True)


def options(group: str) -> str:
    """The names that a group offers, in words."""
    shipped = (
        catalog_names("scenario") if group == "scenario" else sorted(f.stem for f in (CONFIGS / group).glob("*.yaml"))
    )
    return ", ".join(shipped)


def _wrapped_options(group: str) -> str:
    """The options as `--help` shows them, in lines that stand below each other."""
    return f"\n{' ' * OPTIONS_INDENT}".join(textwrap.wrap(options(group), HELP_WIDTH - OPTIONS_INDENT))


def _keys_of(name: str, *, _root_: DictConfig) -> str:
    """Help on the keys of an entry script, or of the file that was chosen of a group.

    A recipe of the user's own has the keys of the algorithm that it names.
    """
    if (CONFIGS / f"{name}.yaml").is_file():
        return keys_help(CONFIGS / f"{name}.yaml")
    choices = (_selected(_root_, f"hydra.runtime.choices.{name}"), _selected(_root_, f"{name}.name"))
    files = (CONFIGS / name / f"{choice}.yaml" for choice in choices)
    return next((keys_help(file, name) for file in files if file.is_file()), "")


def _run_folder(started: str, kind: str, *, _root_: DictConfig) -> str:
    """The folder of a run: the resumed one, or a new one that says environment, algorithm, seed and time."""
    if OmegaConf.select(_root_, "resume") is not None:
        return str(_root_.resume)
    env_id, scenario = str(_selected(_root_, "env.id")), _selected(_root_, "scenario.name")
    environment = scenario if env_id.startswith("tokenfleet/") and scenario else re.sub(r"[^\w.-]+", "-", env_id)
    algorithm, seed = _selected(_root_, "algo.name"), _selected(_root_, "seed")
    label = "-".join(str(part) for part in (environment, algorithm) if part) + (f"-seed{seed}" if algorithm else "")
    return f"runs/{kind}/{label}/{started}"


def _selected(composed: DictConfig, key: str) -> Any:
    """A value of a configuration that nobody has checked yet; None where the key's parent is no mapping."""
    with contextlib.suppress(OmegaConfBaseException):
        return OmegaConf.select(composed, key)
    return None
