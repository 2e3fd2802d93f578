"""A user's mistakes in one line each, whoever has found them: this project, Hydra, OmegaConf, YAML or the disk."""

from __future__ import annotations

import errno

import yaml
from hydra.errors import HydraException, MissingConfigException, OverrideParseException

from tokenfleet.envs.spec import SpecError, suggest

_UNWRITABLE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.ENOTDIR, errno.EEXIST, errno.EDQUOT}
_NOISE = ("See https", "object_type", "full_key", "To append to your config")
"""How lines of Hydra and OmegaConf begin that are of no use to a user."""


def is_mistake(error: Exception) -> bool:
    """Whether the user can mend it: anything but an input or output error of unknown cause."""
    return not isinstance(error, OSError) or isinstance(error, HydraException) or error.errno in _UNWRITABLE


def messages_of(error: Exception) -> list[str]:
    """One line per mistake."""
    if isinstance(error, SpecError):
        return list(error.problems)
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options is not None:
        group, _, name = error.missing_cfg_file.rpartition("/")
        return [f"{group}: unknown choice {name!r}{suggest(name, error.options)}"]
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        place = f"{mark.name}:{mark.line + 1}" if mark else "command line"
        return [f"{place}: not valid YAML: {error.problem or error.context}"]
    if isinstance(error, OSError) and not isinstance(error, HydraException):
        return [f"{error.filename or 'output'}: cannot be written ({error.strerror})"]
    if isinstance(error, MemoryError):
        return [f"memory: not enough ({error}); lower n_envs, episodes, or the scenario's horizon, replicas or rates"]
    lines = [line.strip() for line in f"{error}\n{error.__cause__ or ''}".splitlines()]
    kept = [line for line in lines if line and not line.startswith(_NOISE)]
    kept += ["set its keys one by one"] if any("merge DictConfig with ListConfig" in line for line in kept) else []
    culprit = f"{error.override!r}: " if isinstance(error, OverrideParseException) else ""
    return [f"command line: {culprit}{'; '.join(dict.fromkeys(kept))}"]
