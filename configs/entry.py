"""What the two entry scripts share: composing, checking before anything is written, and plain messages for mistakes.

A user's mistakes end with one line each and exit code 2, never with a traceback. Setting `HYDRA_FULL_ERROR=1` shows the
traceback after all.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeVar, cast

from hydra.core.hydra_config import HydraConfig
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException, OverrideParseException
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from tokenfleet.configs.help import keys_help
from tokenfleet.configs.runs import check_new_folder, resumed_config
from tokenfleet.configs.schema import ConfigType, EntryConfig, EvaluateConfig, TrainConfig, parse_config
from tokenfleet.envs.catalog import catalog_names
from tokenfleet.envs.spec import SpecError, suggest

USER_MISTAKE = 2
INTERRUPTED = 130
CONFIGS = Path(__file__).parent
CONFIG_TYPES: dict[str, type[EntryConfig]] = {"train": TrainConfig, "evaluate": EvaluateConfig}
Result = TypeVar("Result")
_made_folders: list[Path] = []
_UNWRITABLE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.ENOTDIR, errno.EEXIST, errno.EDQUOT}
_DOTTED = re.compile(r"^(?!hydra\.)[A-Za-z_][\w-]*(\.[\w-]+)+=")
_NOISE = ("See https", "object_type", "full_key", "To append to your config")
_UNKNOWN = re.compile(r"Could not override '([\w.-]+)'")


def job(composed: DictConfig, work: Callable[[ConfigType, Path], Result], config_type: type[ConfigType]) -> Result:
    """Do the work of one configuration in its folder.

    Args:
        composed: what Hydra gives the decorated function.
        work: takes the checked configuration and the folder.
        config_type: `TrainConfig` or `EvaluateConfig`.
    """
    try:
        return work(_check(config_type, composed), Path(HydraConfig.get().runtime.output_dir))
    except (SpecError, OmegaConfBaseException) as error:
        # Not raised, for Hydra would print a line of its own first.
        _remove_empty_folders()
        _exit(_messages(error))


def run(main: Callable[[], Any]) -> None:
    """Call a function decorated with `hydra.main` and turn the user's mistakes into messages and exit code 2.

    A dotted key needs no `+` where the YAML does not hold it, as in `env.kwargs.x=1`: the schema decides what exists.
    """
    show_traceback = os.environ.get("HYDRA_FULL_ERROR") == "1"
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra itself would print a traceback and exit with 1
    _register_resolvers()
    sys.argv[1:] = [f"++{argument}" if _DOTTED.match(argument) else argument for argument in sys.argv[1:]]
    try:
        _run(main)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except (SpecError, HydraException, OmegaConfBaseException, OSError) as error:
        if show_traceback or not _is_mistake(error):
            raise
        _exit(_messages(error))


class CheckFirst(Callback):
    """Checks the configuration before Hydra makes the folder of the run, so that a mistake leaves nothing behind."""

    def __init__(self, entry_point: str) -> None:
        self.config_type = CONFIG_TYPES[entry_point]

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """See Hydra's `Callback`; raising would only warn, hence the exit."""
        HydraConfig.instance().set_config(config)
        composed = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
        try:
            checked_config = _check(self.config_type, composed)
            folder = Path(str(config.hydra.run.dir))
            if isinstance(checked_config, TrainConfig) and composed.get("resume") is None:
                check_new_folder(folder)
            _make_folder(folder)
        except (SpecError, OmegaConfBaseException) as error:
            _exit(_messages(error))


def _check(config_type: type[ConfigType], composed: DictConfig) -> ConfigType:
    data = OmegaConf.to_container(composed, resolve=True)
    assert isinstance(data, dict)
    plain: dict[str, Any] = {str(key): value for key, value in data.items()}
    _add_config_dir(plain)
    if config_type is TrainConfig and plain.get("resume") is not None:
        overrides = list(HydraConfig.get().overrides.task)
        return cast(ConfigType, resumed_config(Path(str(plain["resume"])), plain, overrides))
    return parse_config(config_type, plain)


def _add_config_dir(plain: dict[str, Any]) -> None:
    """`--config-dir` also holds the user's GPUs, models and traces."""
    sources = HydraConfig.get().runtime.config_sources
    folders = [source.path for source in sources if source.provider == "command-line"]
    catalog = plain.get("catalog")
    if isinstance(catalog, Mapping):
        given = catalog.get("search_paths") or []
        listed = [given] if isinstance(given, str) else list(given)
        paths = dict.fromkeys(str(Path(path).expanduser().absolute()) for path in [*listed, *folders])
        plain["catalog"] = {**catalog, "search_paths": list(paths)}


def _run(main: Callable[[], Any]) -> None:
    """Run; a top-level key that no YAML holds is let through, so that the schema reports it with all other mistakes."""
    let_through: set[str] = set()
    while True:
        try:
            main()
            return
        except ConfigCompositionException as error:
            unknown = _UNKNOWN.search(str(error))
            if not unknown or unknown[1] in let_through:
                raise
            let_through.add(unknown[1])
            sys.argv[1:] = [f"++{word}" if word.startswith(f"{unknown[1]}=") else word for word in sys.argv[1:]]


def _make_folder(folder: Path) -> None:
    _made_folders[:] = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SpecError([f"hydra.run.dir: cannot make {folder} ({error.strerror}); choose another folder"]) from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise SpecError([f"hydra.run.dir: cannot write to {folder}; choose another folder"])


def _remove_empty_folders() -> None:
    """Take back what was made for a run that could not begin: its empty log and folders."""
    if not _made_folders:
        return
    for file in _made_folders[0].glob("*.log"):
        if file.stat().st_size == 0:
            file.unlink()
    with contextlib.suppress(OSError):  # a folder that is not empty stays
        for folder in _made_folders:
            folder.rmdir()


def _is_mistake(error: Exception) -> bool:
    """Whether the user can mend it: anything but an input or output error of unknown cause."""
    return not isinstance(error, OSError) or isinstance(error, HydraException) or error.errno in _UNWRITABLE


def _messages(error: Exception) -> list[str]:
    if isinstance(error, SpecError):
        return list(error.problems)
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options is not None:
        group, _, name = error.missing_cfg_file.rpartition("/")
        return [f"{group}: unknown choice {name!r}{suggest(name, error.options)}"]
    if isinstance(error, OSError):
        return [f"{error.filename or 'output'}: cannot be written ({error.strerror})"]
    lines = [line.strip() for line in f"{error}\n{error.__cause__ or ''}".splitlines()]
    kept = [line for line in lines if line and not line.startswith(_NOISE)]
    culprit = f"{error.override!r}: " if isinstance(error, OverrideParseException) else ""
    return [f"command line: {culprit}{'; '.join(dict.fromkeys(kept))}"]


def _exit(messages: list[str]) -> NoReturn:
    print("\n".join(messages), file=sys.stderr)
    sys.exit(USER_MISTAKE)


def _register_resolvers() -> None:
    OmegaConf.register_new_resolver("run_folder", _run_folder, replace=True)
    OmegaConf.register_new_resolver("options", _options, replace=True)
    OmegaConf.register_new_resolver("keys_of", lambda name: keys_help(CONFIGS / f"{name}.yaml"), replace=True)


def _options(group: str) -> str:
    shipped = (
        catalog_names("scenario") if group == "scenario" else sorted(f.stem for f in (CONFIGS / group).glob("*.yaml"))
    )
    return ", ".join(shipped)


def _run_folder(kind: str, *, _root_: DictConfig) -> str:
    """The folder of a run: the resumed one, or a new one that says world, algorithm, seed and time."""
    if OmegaConf.select(_root_, "resume") is not None:
        return str(_root_.resume)
    env_id = str(OmegaConf.select(_root_, "env.id"))
    scenario = OmegaConf.select(_root_, "scenario.name")
    world = scenario if env_id.startswith("tokenfleet/") and scenario else re.sub(r"[^\w.-]+", "-", env_id)
    algorithm, seed = OmegaConf.select(_root_, "algo.name"), OmegaConf.select(_root_, "seed")
    label = "-".join(str(part) for part in (world, algorithm) if part) + (f"-seed{seed}" if algorithm else "")
    return f"runs/{kind}/{label}/{OmegaConf.create({'now': '${now:%Y-%m-%d_%H-%M-%S}'}).now}"
