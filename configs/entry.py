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
import textwrap
import traceback
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn, TypeVar, cast

import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException, OverrideParseException
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from tokenfleet.configs.bounds import check_files_first, check_interpolations
from tokenfleet.configs.environments import env_keys
from tokenfleet.configs.help import keys_help
from tokenfleet.configs.runs import check_new_folder, resumed_config
from tokenfleet.configs.schema import CatalogConfig, ConfigType, EntryConfig, EvaluateConfig, TrainConfig, parse_config
from tokenfleet.envs.catalog import catalog_names, from_working_folder
from tokenfleet.envs.layers.ledger import LedgerError
from tokenfleet.envs.spec import SpecError, suggest
from tokenfleet.envs.user_code import UserCodeError

USER_MISTAKE = 2
INTERRUPTED = 130
HELP_WIDTH, OPTIONS_INDENT = 118, 13
SWEEP_FILE = "multirun.yaml"
TIME = "%Y-%m-%d_%H-%M-%S"
CONFIGS = Path(__file__).parent
CONFIG_TYPES: dict[str, type[EntryConfig]] = {"train": TrainConfig, "evaluate": EvaluateConfig}
Result = TypeVar("Result")
_made_folders: list[Path] = []
_shows_traceback: list[bool] = []
_UNWRITABLE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.ENOTDIR, errno.EEXIST, errno.EDQUOT}
_DOTTED = re.compile(r"^(?!hydra\.)[A-Za-z_][\w-]*(\.[\w-]+)+=")
_NOISE = ("See https", "object_type", "full_key", "To append to your config")
_UNKNOWN = re.compile(r"Could not override '(?!hydra\.)([\w.-]+)'")
_OWN_ALGORITHM = re.compile(r"algo=(?P<path>[A-Za-z_][\w.]*:\w+)")
_NO_NAME = re.compile(r"(scenario|algo|env|tracking)=(|null|true|false|[-+.\d]+|[^{,]*/.*)", re.IGNORECASE)


def job(composed: DictConfig, work: Callable[[ConfigType, Path], Result], config_type: type[ConfigType]) -> Result:
    """Do the work of one configuration in its folder.

    Args:
        composed: what Hydra gives the decorated function.
        work: takes the checked configuration and the folder.
        config_type: `TrainConfig` or `EvaluateConfig`.

    A ledger that does not balance ends the program with its message and exit code 1; what was written stays.
    """
    folder = Path(HydraConfig.get().runtime.output_dir)
    config: EntryConfig | None = None
    try:
        config = _check(config_type, composed)
        _check_folder(config, composed, folder)
        return work(config, folder)
    except (SpecError, OmegaConfBaseException, MemoryError) as error:
        # Not raised, for Hydra would print a line of its own first.
        _take_back(folder)
        messages = _messages(error)
        _exit(env_keys(messages, config.env.kwargs) if config and isinstance(error, UserCodeError) else messages, error)
    except LedgerError as error:
        sys.exit(str(error))
    except BaseException:
        _take_back(folder)
        raise


def run(main: Callable[[], Any]) -> None:
    """Call a function decorated with `hydra.main` and turn the user's mistakes into messages and exit code 2.

    A dotted key needs no `+` where the YAML does not hold it, as in `env.kwargs.x=1`: the schema decides what exists.
    `algo=module:Class` chooses the file `custom` and fills it in.
    """
    if "--version" in sys.argv[1:]:  # Hydra would print its own
        print(f"tokenfleet {version('tokenfleet')}")
        return
    _shows_traceback.clear()
    if os.environ.get("HYDRA_FULL_ERROR") == "1":
        _shows_traceback.append(True)
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra itself would print a traceback and exit with 1
    _register_resolvers()
    check_files_first()
    sys.argv[1:] = [word for argument in sys.argv[1:] for word in _algorithm_words(argument)]
    sys.argv[1:] = [f"++{argument}" if _DOTTED.match(argument) else argument for argument in sys.argv[1:]]
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # the user's own `module:Class`, wherever this script is installed
    try:
        _check_choices(sys.argv[1:])
        _run(main)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except (SpecError, HydraException, OmegaConfBaseException, yaml.MarkedYAMLError, OSError) as error:
        _take_back()
        if _shows_traceback or not _is_mistake(error):
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
            _check_growth(composed)  # before anything asks for a value, such as the folder's name
            folder = Path(str(config.hydra.run.dir))
            _remember_missing(folder)
            checked_config = _check(self.config_type, composed)
            _check_folder(checked_config, composed, folder)
            _make_folder(folder)
        except (SpecError, OmegaConfBaseException) as error:
            _exit(_messages(error), error)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """See Hydra's `Callback`; Hydra makes the folder of the sweep before it looks at the first job."""
        _remember_missing(Path(str(config.hydra.sweep.dir)))


def _algorithm_words(word: str) -> list[str]:
    """`algo=module:Class` as Hydra takes it: a file to choose, and a value in it."""
    own = _OWN_ALGORITHM.fullmatch(word)
    return [word] if own is None else ["algo=custom", f"algo.model={own['path']}"]


def _check_choices(words: Sequence[str]) -> None:
    """Refuse `scenario=null` and the like, of which Hydra does not say which word it means, and paths."""
    refused = [match.groups() for match in map(_NO_NAME.fullmatch, words) if match]
    if refused:
        own = "for your own FOLDER/{0}/NAME.yaml write --config-dir FOLDER {0}=NAME"
        raise SpecError(
            [f"{key}: {name!r} is no name (choose from {_options(key)}; {own.format(key)})" for key, name in refused]
        )


def _check_folder(config: EntryConfig, composed: DictConfig, folder: Path) -> None:
    """Make sure that a run overwrites no other one and goes on where it began."""
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
    plain: dict[str, Any] = {str(key): value for key, value in data.items()}
    _add_config_dir(plain)
    overrides = list(HydraConfig.get().overrides.task)
    _anchor_overrides(plain, overrides)
    folder = _scenario_folder()
    if plain.get("resume"):
        return resumed_config(config_type, Path(str(plain["resume"])), plain, overrides, folder)
    return parse_config(config_type, plain, folder)


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
            _take_back()
            sys.argv[1:] = [f"++{word}" if word.startswith(f"{unknown[1]}=") else word for word in sys.argv[1:]]


def _remember_missing(folder: Path) -> None:
    folder = folder.absolute()
    _made_folders[:] = [path for path in (folder, *folder.parents) if not path.exists()]


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SpecError([f"hydra.run.dir: cannot make {folder} ({error.strerror}); choose another folder"]) from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise SpecError([f"hydra.run.dir: cannot write to {folder}; choose another folder"])


def _take_back(job_folder: Path | None = None) -> None:
    """Remove what was made for a job that could not begin: its log, empty folders, and a sweep without jobs."""
    with contextlib.suppress(OSError):  # a folder that is not empty stays
        if job_folder is not None:
            _remove_logs(job_folder)
            if _is_sweep():
                job_folder.rmdir()
        for folder in _made_folders:
            if [path.name for path in folder.iterdir()] == [SWEEP_FILE]:
                (folder / SWEEP_FILE).unlink()
            folder.rmdir()


def _remove_logs(folder: Path) -> None:
    """Remove logs that say nothing, and those of a new folder that holds nothing else."""
    files = list(folder.iterdir())
    is_bare = (folder in _made_folders or _is_sweep()) and all(file.suffix == ".log" for file in files)
    for file in files:
        if file.suffix == ".log" and (is_bare or file.stat().st_size == 0):
            file.unlink()


def _is_sweep() -> bool:
    """Whether Hydra has made the folder of the job, and not this program."""
    return HydraConfig.get().mode is RunMode.MULTIRUN


def _is_mistake(error: Exception) -> bool:
    """Whether the user can mend it: anything but an input or output error of unknown cause."""
    return not isinstance(error, OSError) or isinstance(error, HydraException) or error.errno in _UNWRITABLE


def _messages(error: Exception) -> list[str]:
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
    culprit = f"{error.override!r}: " if isinstance(error, OverrideParseException) else ""
    return [f"command line: {culprit}{'; '.join(dict.fromkeys(kept))}"]


def _exit(messages: list[str], error: BaseException | None = None) -> NoReturn:
    if _shows_traceback and error is not None:
        traceback.print_exception(error)
    print("\n".join(messages), file=sys.stderr)
    sys.exit(USER_MISTAKE)


def _register_resolvers() -> None:
    # The time is that of the start: asked for later, CheckFirst and Hydra could make folders of different seconds.
    OmegaConf.register_new_resolver("run_folder", partial(_run_folder, f"{datetime.now():{TIME}}"), replace=True)
    OmegaConf.register_new_resolver("options", _wrapped_options, replace=True)
    OmegaConf.register_new_resolver("keys_of", _keys_of, replace=True)


def _keys_of(name: str, *, _root_: DictConfig) -> str:
    """Help on the keys of an entry script, or of the file that was chosen of a group.

    A recipe of the user's own has the keys of the algorithm that it names.
    """
    if name in CONFIG_TYPES:
        return keys_help(CONFIGS / f"{name}.yaml")
    files = (CONFIGS / name / f"{choice}.yaml" for choice in (_chosen(_root_, name), _selected(_root_, f"{name}.name")))
    return next((keys_help(file, name) for file in files if file.is_file()), "")


def _chosen(composed: DictConfig, group: str) -> Any:
    """The file of a group that was chosen."""
    return _selected(composed, f"hydra.runtime.choices.{group}")


def _options(group: str) -> str:
    shipped = (
        catalog_names("scenario") if group == "scenario" else sorted(f.stem for f in (CONFIGS / group).glob("*.yaml"))
    )
    return ", ".join(shipped)


def _wrapped_options(group: str) -> str:
    """The options as `--help` shows them, in lines that stand below each other."""
    return f"\n{' ' * OPTIONS_INDENT}".join(textwrap.wrap(_options(group), HELP_WIDTH - OPTIONS_INDENT))


def _run_folder(started: str, kind: str, *, _root_: DictConfig) -> str:
    """The folder of a run: the resumed one, or a new one that says world, algorithm, seed and time."""
    if OmegaConf.select(_root_, "resume") is not None:
        return str(_root_.resume)
    env_id, scenario = str(_selected(_root_, "env.id")), _selected(_root_, "scenario.name")
    world = scenario if env_id.startswith("tokenfleet/") and scenario else re.sub(r"[^\w.-]+", "-", env_id)
    algorithm, seed = _selected(_root_, "algo.name"), _selected(_root_, "seed")
    label = "-".join(str(part) for part in (world, algorithm) if part) + (f"-seed{seed}" if algorithm else "")
    return f"runs/{kind}/{label}/{started}"


def _selected(composed: DictConfig, key: str) -> Any:
    """A value of a configuration that nobody has checked yet; None where the key's parent is no mapping."""
    with contextlib.suppress(OmegaConfBaseException):
        return OmegaConf.select(composed, key)
    return None
