"""What the names in a description mean: the user's folders for names, and the folder where relative paths begin.

A description (a scenario, a stream of it, a pool) names entries of the catalogue, and looks them up again later,
perhaps in another process. So a description keeps the folders with which it was read. Nothing is global, two
environments with different folders live side by side, and a pickled description finds its entries where it arrives.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, PrivateAttr

from tokenfleet.envs.files import PathLike
from tokenfleet.envs.spec import Spec, SpecError, shown
from tokenfleet.envs.traces import TRACE_SUFFIXES

Folders = tuple[Path, ...]

_folders: ContextVar[Folders] = ContextVar("folders", default=())
_base: ContextVar[Path | None] = ContextVar("base", default=None)


@contextmanager
def reading(search_paths: Sequence[PathLike], base: PathLike | None = None) -> Iterator[None]:
    """While descriptions are read: where their names and relative paths lead.

    Args:
        search_paths: the user's folders; every description read meanwhile keeps them.
        base: the folder of the file that is read; the working folder for what stands in no file.

    Raises:
        SpecError: a folder that does not exist.
    """
    tokens = _folders.set(user_folders(search_paths)), _base.set(None if base is None else Path(base).absolute())
    try:
        yield
    finally:
        _folders.reset(tokens[0])
        _base.reset(tokens[1])


def folders_in_use() -> Folders:
    """The folders of the description that is being read."""
    return _folders.get()


def folders_nearby() -> Folders:
    """The folder of the file that is being read, and the one around it; relative to the working folder if inside."""
    base, here = _base.get(), Path.cwd()
    around = () if base is None else (base, base.parent)
    return tuple(folder.relative_to(here) if folder.is_relative_to(here) else folder for folder in around)


def user_folders(search_paths: Sequence[PathLike]) -> Folders:
    """The user's folders, absolute, each once.

    Raises:
        SpecError: it is no list, or a folder does not exist.
    """
    if not isinstance(search_paths, (list, tuple)) or not all(isinstance(path, (str, Path)) for path in search_paths):
        raise SpecError([f"catalog.search_paths: must be a list of folders (got {shown(search_paths)})"])
    folders = [Path(path).expanduser() for path in search_paths]
    missing = [f"catalog.search_paths: no such folder {str(path)!r}" for path in folders if not path.is_dir()]
    if missing:
        raise SpecError(missing)
    return tuple(dict.fromkeys(path.absolute() for path in folders))


class CatalogSpec(Spec):
    """A description that names entries of the catalogue and keeps the user's folders for them."""

    _search_paths: Folders = PrivateAttr(default_factory=folders_in_use)

    @property
    def search_paths(self) -> Folders:
        """The user's folders, for `load_entry`, `load_trace` and the like."""
        return self._search_paths


def is_file_path(text: str) -> bool:
    """Whether a text names a file rather than an entry: it has a folder or a recording's suffix.

    >>> is_file_path("azure-chat-2023"), is_file_path("mine.csv"), is_file_path("data/mine")
    (False, True, True)
    """
    return "/" in text or "\\" in text or text.endswith(TRACE_SUFFIXES)


def from_working_folder(value: Any) -> Any:
    """Plain data whose relative recordings, at any depth, begin at the working folder: those of a command line."""
    if isinstance(value, Mapping):
        return {key: from_working_folder(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [from_working_folder(item) for item in value]
    if isinstance(value, str) and value.endswith(TRACE_SUFFIXES):
        return str(Path(value).expanduser().absolute())
    return value


def _anchored(text: str) -> str:
    return str((_base.get() or Path()).absolute() / Path(text).expanduser()) if is_file_path(text) else text


Recording = Annotated[str, AfterValidator(_anchored)]
"""A recording: a name of the catalogue, or the path of a file, relative to the file that names it."""
