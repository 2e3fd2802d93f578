"""Find a description by name: the shipped entries first, then the user's own folders.

An entry of the catalogue is a file `<folder>/<kind>/<name>.yaml` (a trace is a table of requests beside its YAML, a
series a year of hourly values, `rtt` a matrix of times between places). Adding a GPU, a model, a profile or a scenario
is adding such a file to a folder of one's own and naming that folder in `search_paths`; no code changes. This module
knows files, not their meaning: the specs live in `tokenfleet.envs.layers`, and keep the folders they were read with
(`CatalogSpec`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokenfleet.envs.catalog.hourly import HourlySeries, HourlySpec, read_hourly
from tokenfleet.envs.catalog.latency import RttMatrix, RttSpec, read_rtt
from tokenfleet.envs.catalog.source import (
    CatalogSpec,
    Recording,
    folders_in_use,
    folders_nearby,
    from_working_folder,
    is_file_path,
    reading,
    user_folders,
)
from tokenfleet.envs.files import PathLike, read_yaml
from tokenfleet.envs.spec import SpecError, shown, suggest
from tokenfleet.envs.traces import (
    TRACE_SUFFIXES,
    ClientTable,
    SessionTrace,
    Trace,
    read_clients,
    read_sessions,
    read_trace,
)

__all__ = [
    "KINDS",
    "SHIPPED",
    "CatalogSpec",
    "PathLike",
    "Recording",
    "catalog_names",
    "find",
    "folders_in_use",
    "from_working_folder",
    "load_clients",
    "load_entry",
    "load_rtt",
    "load_series",
    "load_sessions",
    "load_trace",
    "read_yaml",
    "reading",
    "user_folders",
]

SHIPPED = Path(__file__).parent
KINDS: dict[str, tuple[str, ...]] = {
    "accuracy": (".yaml",),
    "agent": (".yaml",),
    "clients": (".npz",),
    "demand": (".yaml",),
    "generator": (".yaml",),
    "gpu": (".yaml",),
    "interconnect": (".yaml",),
    "model": (".yaml",),
    "profile": (".yaml",),
    "rate": (".yaml",),
    "rtt": (".yaml",),
    "scenario": (".yaml",),
    "series": (".yaml",),
    "shift": (".yaml",),
    "slo": (".yaml",),
    "trace": TRACE_SUFFIXES,
}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def catalog_names(kind: str, search_paths: Sequence[PathLike] = ()) -> list[str]:
    """Every name of a kind, sorted.

    Args:
        kind: one of `KINDS`.
        search_paths: the user's folders; each holds `<kind>/<name>.yaml` files.

    Raises:
        SpecError: an unknown kind, or a folder that does not exist.
    """
    return sorted({name for folder in _folders(kind, search_paths) for name in _names_in(folder, kind)})


def find(kind: str, name: str, search_paths: Sequence[PathLike] = ()) -> Path:
    """The file of an entry.

    Args:
        kind: one of `KINDS`.
        name: the file's name without its suffix, for example `h100-sxm`.
        search_paths: the user's folders; each holds `<kind>/<name>.yaml` files.

    Raises:
        SpecError: the name is unknown (the message lists the known ones) or no name, or two files have it.
    """
    folders = _folders(kind, search_paths)
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise SpecError([f"{kind}: a name of letters, digits, '.', '_' and '-' is needed (got {shown(name)})"])
    found = [path for folder in folders for path in _candidates(folder, kind, name)]
    if len(found) > 1:
        places = " and ".join(str(path) for path in found)
        raise SpecError([f"{kind}: {name!r} is defined twice, in {places}; give yours a name of its own"])
    if not found:
        known = catalog_names(kind, search_paths)
        raise SpecError([f"{kind}: unknown name {name!r}{suggest(name, known)}{_way_out(kind, name, search_paths)}"])
    return found[0]


def _way_out(kind: str, name: str, search_paths: Sequence[PathLike]) -> str:
    """Which folder to name for an entry of one's own, which may lie near the file that is read."""
    for folder in folders_nearby():
        for path in _candidates(folder / kind, kind, name):
            return f"; {path} is found by catalog.search_paths=[{folder}] (Python: search_paths=[{str(folder)!r}])"
    own = f"<folder>/{kind}/{name}{KINDS[kind][0]}"
    return "" if search_paths else f"; one of your own, {own}, is found by catalog.search_paths=[<folder>]"


def load_entry(kind: str, name: str, search_paths: Sequence[PathLike] = ()) -> dict[str, Any]:
    """The plain data of a YAML entry, its `name` filled in from the file's name where the file does not give one.

    Raises:
        SpecError: see `find`; or the file cannot be read, or gives another name.
    """
    data = read_yaml(find(kind, name, search_paths))
    if data.setdefault("name", name) != name:
        raise SpecError([f"{kind}.{name}.name: must equal the file's name {name!r} (got {shown(data['name'])})"])
    return data


def shipped_text(kind: str, name: str) -> str:
    """The text of a shipped YAML entry, for who needs a line of it and has no time to parse the whole."""
    return (SHIPPED / kind / f"{name}.yaml").read_text(encoding="utf-8")


def load_trace(name_or_path: PathLike, search_paths: Sequence[PathLike] = ()) -> Trace:
    """A request trace, by catalogue name or from the user's own file.

    Args:
        name_or_path: a name such as `azure-chat-2023`, or a path (anything with a folder or a trace's suffix).
        search_paths: the user's folders; each may hold `trace/<name>.csv` and the like.

    Raises:
        SpecError: an unknown name, or a file that cannot be read; the message names the file and the line.

    >>> trace = load_trace("azure-chat-2023")
    >>> len(trace), int(trace.prompt_tokens[0]), int(trace.output_tokens[0])
    (19366, 374, 44)
    """
    return read_trace(_trace_path(name_or_path, search_paths))


def load_sessions(name_or_path: PathLike, search_paths: Sequence[PathLike] = ()) -> SessionTrace:
    """Recorded sessions, by catalogue name or from the user's own file; see `load_trace`.

    >>> sessions = load_sessions("coding-agents")
    >>> len(sessions), len(sessions.prompt_tokens)
    (483, 34276)
    """
    return read_sessions(_trace_path(name_or_path, search_paths))


def load_clients(name_or_path: PathLike, search_paths: Sequence[PathLike] = ()) -> ClientTable:
    """Recorded clients, by catalogue name or from the user's own file; see `load_trace`.

    >>> load_clients("servegen-m-large").rate_rps.shape
    (135, 1008)
    """
    return read_clients(_trace_path(name_or_path, search_paths, "clients"))


def _trace_path(name_or_path: PathLike, search_paths: Sequence[PathLike], kind: str = "trace") -> Path:
    is_path = isinstance(name_or_path, Path) or is_file_path(str(name_or_path))
    return Path(name_or_path).expanduser() if is_path else find(kind, str(name_or_path), search_paths)


def load_series(name: str, search_paths: Sequence[PathLike] = ()) -> HourlySeries:
    """A year of hourly values by its catalogue name.

    Args:
        name: such as `caiso-2023-price`.
        search_paths: the user's folders; each may hold `series/<name>.yaml` and the table that it names.

    Raises:
        SpecError: an unknown name, or a file that cannot be used; the message names the file.

    >>> series = load_series("caiso-2023-price")
    >>> round(float(series.columns["price_usd_per_mwh"].mean()), 2)
    61.52
    """
    path = find("series", name, search_paths)
    spec = HourlySpec.parse(load_entry("series", name, search_paths), where=f"series.{name}")
    return read_hourly(path.with_name(spec.file), spec)


def load_rtt(name: str, search_paths: Sequence[PathLike] = ()) -> RttMatrix:
    """A matrix of round-trip times by its catalogue name.

    Args:
        name: such as `skyplane-2022`.
        search_paths: the user's folders; each may hold `rtt/<name>.yaml` and the table that it names.

    Raises:
        SpecError: an unknown name, or a file that cannot be used; the message names the file.

    >>> matrix = load_rtt("skyplane-2022")
    >>> len(matrix.places), round(matrix.between("aws:us-east-1", "aws:us-west-2"), 4)
    (69, 0.0683)
    """
    path = find("rtt", name, search_paths)
    spec = RttSpec.parse(load_entry("rtt", name, search_paths), where=f"rtt.{name}")
    return read_rtt(path.with_name(spec.file))


def _folders(kind: str, search_paths: Sequence[PathLike]) -> list[Path]:
    if kind not in KINDS:
        raise SpecError([f"catalog: unknown kind {kind!r}{suggest(kind, KINDS)}"])
    unique = dict.fromkeys(path.resolve() for path in (SHIPPED, *user_folders(search_paths)))
    return [path / kind for path in unique]


def _names_in(folder: Path, kind: str) -> list[str]:
    if not folder.is_dir():
        return []
    return [file.name[: -len(suffix)] for suffix in KINDS[kind] for file in folder.glob(f"*{suffix}")]


def _candidates(folder: Path, kind: str, name: str) -> list[Path]:
    return [path for suffix in KINDS[kind] if (path := folder / f"{name}{suffix}").is_file()]
