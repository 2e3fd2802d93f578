"""What the entry scripts share: composing, checking before anything is written, and plain messages for mistakes.

A user's mistakes end with one line each and exit status 2, never with a traceback. Setting `HYDRA_FULL_ERROR=1` shows
the traceback after all.
"""

from __future__ import annotations

import os
import select
import sys
import traceback
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn, TypeVar, cast

import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from tokenfleet.cli.bounds import check_files_first, check_interpolations
from tokenfleet.cli.environments import env_keys
from tokenfleet.cli.job_folders import make_folder, remember_missing, take_back
from tokenfleet.cli.messages import is_mistake, messages_of
from tokenfleet.cli.resolvers import register_resolvers
from tokenfleet.cli.runs import check_new_folder, resumed_config
from tokenfleet.cli.sweeps import jobs_of
from tokenfleet.cli.words import hydras_words
from tokenfleet.configs.entry import CatalogConfig, ConfigType, EntryConfig
from tokenfleet.configs.parsing import parse_config
from tokenfleet.configs.schema import EvaluateConfig, TrainConfig, TuneConfig
from tokenfleet.envs.catalog import from_working_folder
from tokenfleet.envs.commands import USER_MISTAKE
from tokenfleet.envs.layers.ledger import LedgerError
from tokenfleet.envs.spec import SpecError
from tokenfleet.envs.user_code import UserCodeError

INTERRUPTED = 130
UNREAD = 141
"""Exit status of a script whose standard output nobody reads any more: that of SIGPIPE in a shell."""
CONFIG_TYPES: dict[str, type[EntryConfig]] = {"train": TrainConfig, "evaluate": EvaluateConfig, "tune": TuneConfig}
Result = TypeVar("Result")
_shows_traceback: list[bool] = []
_checked: list[tuple[dict[str, Any], EntryConfig]] = []
"""Compositions and their parsed forms: Hydra hands the same configuration to the callback and the job."""


def job(composed: DictConfig, work: Callable[[ConfigType, Path], Result], config_type: type[ConfigType]) -> Result:
    """Do the work of one configuration in its folder.

    Args:
        composed: what Hydra gives the decorated function.
        work: takes the checked configuration and the folder.
        config_type: the script's, one of `CONFIG_TYPES`.

    A ledger that does not balance ends the program with its message and exit status 1; what was written stays.
    """
    folder = Path(HydraConfig.get().runtime.output_dir)
    config: EntryConfig | None = None
    try:
        config = _check(config_type, composed)
        _check_folder(config, composed, folder)
        return work(config, folder)
    except (SpecError, OmegaConfBaseException, MemoryError) as error:
        # Not raised, for Hydra would print a line of its own first.
        take_back(folder)
        messages = messages_of(error)
        _exit(env_keys(messages, config.env.kwargs) if config and isinstance(error, UserCodeError) else messages, error)
    except LedgerError as error:
        sys.exit(str(error))
    except BaseException:
        take_back(folder)
        raise


def run(main: Callable[[], Any], config_type: type[EntryConfig]) -> None:
    """Call a function decorated with `hydra.main` and turn the user's mistakes into messages and exit status 2.

    Args:
        main: the decorated function.
        config_type: the script's, one of `CONFIG_TYPES`.
    """
    if "--version" in sys.argv[1:]:  # Hydra would print its own
        print(f"tokenfleet {version('tokenfleet')}")
        return
    _shows_traceback.clear()
    _checked.clear()
    if os.environ.get("HYDRA_FULL_ERROR") == "1":
        _shows_traceback.append(True)
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra itself would print a traceback and exit with 1
    register_resolvers()
    check_files_first()
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # the user's own `module:Class`, wherever this script is installed
    try:
        with hydras_words(config_type):
            main()
        sys.stdout.flush()
    except BrokenPipeError:
        if not _reader_is_gone():  # the pipe of a worker has broken
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains when it ends
        sys.exit(UNREAD)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except (SpecError, HydraException, OmegaConfBaseException, yaml.MarkedYAMLError, OSError) as error:
        take_back()
        if _shows_traceback or not is_mistake(error):
            raise
        _exit(messages_of(error))


class CheckFirst(Callback):
    """Checks the configuration before Hydra makes the folder of the run, so that a mistake leaves nothing behind."""

    def __init__(self, entry_point: str) -> None:
        self.config_type = CONFIG_TYPES[entry_point]

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """See Hydra's `Callback`; raising would only warn, hence the exit."""
        HydraConfig.instance().set_config(config)
        composed = _without_hydra(config)
        try:
            _check_growth(composed)  # before anything asks for a value, such as the folder's name
            folder = Path(str(config.hydra.run.dir))
            remember_missing(folder)
            checked_config = _check(self.config_type, composed)
            _check_folder(checked_config, composed, folder)
            make_folder(folder)
        except (SpecError, OmegaConfBaseException) as error:
            _exit(messages_of(error), error)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """See Hydra's `Callback`; a mistake in any job is found before the first job begins."""
        remember_missing(Path(str(config.hydra.sweep.dir)))
        problems: list[str] = []
        try:
            for composed in jobs_of(config):
                problems += self._problems_of_job(composed)
        except (HydraException, OmegaConfBaseException) as error:
            problems += messages_of(error)
        if problems:
            _exit(list(dict.fromkeys(problems)))
        HydraConfig.instance().set_config(config)

    def _problems_of_job(self, config: DictConfig) -> list[str]:
        HydraConfig.instance().set_config(config)
        try:
            _check(self.config_type, _without_hydra(config))
        except (SpecError, OmegaConfBaseException) as error:
            return messages_of(error)
        return []


def _without_hydra(config: DictConfig) -> DictConfig:
    return OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])


def _reader_is_gone() -> bool:
    """Whether standard output is a pipe that has been closed, as by `| head`."""
    output = select.poll()
    output.register(sys.stdout.fileno(), 0)
    return any(event & select.POLLERR for _, event in output.poll(0))


def _check_folder(config: EntryConfig, composed: DictConfig, folder: Path) -> None:
    """Make sure that a run overwrites no other one and goes on in its own folder."""
    resumed = composed.get("resume")
    if resumed is None:
        check_new_folder(type(config), folder)
    elif folder.absolute() != Path(str(resumed)).absolute():
        hint = "leave out hydra.run.dir and -m"
        raise SpecError([f"resume: {resumed} goes on in its own folder, not in {folder}; {hint}"])


def _check(config_type: type[ConfigType], composed: DictConfig) -> ConfigType:
    _check_growth(composed)
    data = OmegaConf.to_container(composed, resolve=True)
    assert isinstance(data, dict)
    for known, config in _checked:
        if known == data and isinstance(config, config_type):
            return config
    config = _parsed(config_type, {str(key): value for key, value in data.items()})
    _checked.append((cast("dict[str, Any]", OmegaConf.to_container(composed, resolve=True)), config))
    return config


def _parsed(config_type: type[ConfigType], plain: dict[str, Any]) -> ConfigType:
    _add_config_dir(plain)
    overrides = list(HydraConfig.get().overrides.task)
    _anchor_overrides(plain, overrides)
    folder = _scenario_folder()
    if plain.get("resume"):
        return resumed_config(config_type, Path(str(plain["resume"])), plain, overrides, folder)
    config = parse_config(config_type, plain, folder)
    config.check_new()
    return config


def _add_config_dir(plain: dict[str, Any]) -> None:
    """`--config-dir` also holds the user's GPUs, models and traces."""
    given = CatalogConfig.parse(plain.get("catalog", {}), "catalog").search_paths
    paths = dict.fromkeys(str(Path(path).expanduser().absolute()) for path in [*given, *_config_dirs()])
    plain["catalog"] = {"search_paths": list(paths)}


def _check_growth(composed: DictConfig) -> None:
    check_interpolations(cast(dict[str, Any], OmegaConf.to_container(composed, resolve=False)))


def _anchor_overrides(plain: dict[str, Any], overrides: Sequence[str]) -> None:
    """Let relative recordings of the command line begin at the working folder; those of a file begin at the file."""
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        *parents, last = override.key_or_group.split(".")
        place: Any = plain
        for parent in parents:
            place = place.get(parent) if isinstance(place, dict) else None
        if parents and parents[0] == "scenario" and isinstance(place, dict) and last in place:
            place[last] = from_working_folder(place[last])


def _scenario_folder() -> Path | None:
    """The folder of the user's scenario file that was chosen; None for a shipped one."""
    name = HydraConfig.get().runtime.choices.get("scenario")
    folders = [Path(folder) / "scenario" for folder in _config_dirs()]
    return next((folder for folder in folders if (folder / f"{name}.yaml").is_file()), None)


def _config_dirs() -> list[str]:
    sources = HydraConfig.get().runtime.config_sources
    return [source.path for source in sources if source.provider == "command-line"]


def _exit(messages: list[str], error: BaseException | None = None) -> NoReturn:
    if _shows_traceback and error is not None:
        traceback.print_exception(error)
    print("\n".join(messages), file=sys.stderr)
    sys.exit(USER_MISTAKE)
