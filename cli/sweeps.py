"""The jobs of a sweep before the first of them begins."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig

_HYDRAS_OWN = "BasicSweeper"


def jobs_of(sweep: DictConfig) -> Iterator[DictConfig]:
    """The configurations of the jobs of Hydra's own sweeper; none of another sweeper, which chooses as it goes.

    Args:
        sweep: what Hydra has composed, its own keys included.

    Raises:
        HydraException: a choice that does not exist, or a word that Hydra cannot read.
    """
    sweeper = sweep.hydra.sweeper
    if not str(sweeper.get("_target_")).endswith(_HYDRAS_OWN):
        return
    loader = GlobalHydra.instance().config_loader()
    typed = [f"{key}={value}" for key, value in (sweeper.get("params") or {}).items()]
    typed += list(sweep.hydra.overrides.task)
    overrides = OverridesParser.create(config_loader=loader).parse_overrides(typed)
    for words in product(*map(_values, overrides)):
        yield loader.load_sweep_config(sweep, list(words))


def _values(override: Override) -> list[str]:
    """An override once for each of its values."""
    if not override.is_sweep_override():
        return [str(override.input_line)]
    return [f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator()]
