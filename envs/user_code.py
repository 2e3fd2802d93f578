"""Code that a user brings and that fails: the message names the part, the user's own line, and what to do about it.

A reward, an observation, an action, a stream or a policy is called from deep inside of a run. Every such call stands
under a `Guard`, which knows the user's name of the part; parts of our own go unguarded, for their failures are ours.
"""

from __future__ import annotations

import importlib
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from tokenfleet.envs.spec import SpecError, shown, suggest

_OURS = Path(__file__).resolve().parents[1]
_PACKAGES, _SCRIPTS = ("envs", "policies", "evaluation", "configs", "cli"), ("train.py", "tune.py", "evaluate.py")
_PLACES = tuple(str(_OURS / name) for name in (*_PACKAGES, *_SCRIPTS))
_LIBRARIES = ("site-packages", "dist-packages")
_COMPILED = (".pyx", ".pxd", ".pxi")
"""Endings of Cython's sources, whose frames do not say where a library lies."""
_STANDARD = str(Path(traceback.__file__).resolve().parent)


NOT_FOUND = "start in the folder that holds it, or put that folder on PYTHONPATH"
"""What to do about a module that cannot be found."""


class UserCodeError(SpecError):
    """A part that a user brought has failed, or its answer cannot be used."""


class Guard:
    """Calls of one part of a user's: `with guard: part(...)`.

    Args:
        part: what messages call it, as it is given: `reward=my_module:MyReward`.
        leaves_messages: let a `ValueError` of the part pass: it is a message already.

    A failure inside becomes a `UserCodeError` with the original as its cause. A `SpecError` that the part raises itself
    only gets the part's name.
    """

    def __init__(self, part: str, leaves_messages: bool = False) -> None:
        self.part = part
        self._leaves = (UserCodeError, MemoryError, *((ValueError,) if leaves_messages else ()))

    def __enter__(self) -> Guard:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not isinstance(error, Exception) or isinstance(error, self._leaves):
            return
        if isinstance(error, SpecError):
            raise UserCodeError(f"{self.part}: {problem}" for problem in error.problems) from error
        raise UserCodeError([f"{self.part}: {failure(error)}{_way_out(error)}"]) from error

    def refuse(self, problem: str) -> UserCodeError:
        """The error of an answer that cannot be used, to be raised."""
        return UserCodeError([f"{self.part}: {problem}"])


def failure(error: BaseException) -> str:
    """A failure in one line: place in the user's code, kind and message."""
    text = " ".join(str(error.args[0] if isinstance(error, KeyError) and error.args else error).split())
    return f"{user_place(error)}: {type(error).__name__}{f': {text}' if text else ''}"


def _way_out(error: BaseException) -> str:
    """What to do about a failure in a line of the user's own; a library's line is not for them to mend."""
    frames = traceback.extract_tb(error.__traceback__)
    mine = isinstance(error, SyntaxError) or any(not _is_foreign(frame.filename) for frame in frames)
    return "; mend that line" if mine else ""


def user_place(error: BaseException) -> str:
    """File and line of the last frame in a user's own file; the innermost of all where there is none.

    >>> try:
    ...     exec(compile("1 / 0", "mine.py", "exec"))
    ... except ZeroDivisionError as error:
    ...     user_place(error)
    'mine.py:1'
    """
    frames = traceback.extract_tb(error.__traceback__)
    if isinstance(error, SyntaxError) and error.filename:
        return f"{_short(error.filename)}:{error.lineno}"
    mine = [frame for frame in frames if not _is_foreign(frame.filename)]
    last = (mine or frames)[-1] if frames else None
    return f"{_short(last.filename)}:{last.lineno}" if last else "no line"


def import_object(path: str) -> Any:
    """The object that `module:name` names.

    >>> import_object("tokenfleet.envs.user_code:import_object").__name__
    'import_object'

    Raises:
        SpecError: there is no such module or name, or the module fails.
    """
    module, _, name = path.partition(":")
    try:
        found = importlib.import_module(module)
    except (ImportError, AttributeError, ValueError) as error:
        raise SpecError([f"cannot import {path!r} ({error}); {NOT_FOUND}; write 'module:Class'"]) from error
    except Exception as error:  # whatever a user's module does when it is imported
        raise SpecError(
            [f"cannot import {path!r} ({failure(error)}); mend that line, or write 'module:Class'"]
        ) from error
    try:
        return getattr(found, name)
    except AttributeError as error:
        own = [key for key, value in vars(found).items() if getattr(value, "__module__", None) == module]
        raise SpecError([f"cannot import {path!r} ({error}){suggest(name, own)}; write 'module:Class'"]) from error


def check_numbers(guard: Guard, what: str, values: Any, shape: tuple[int, ...], dtype: Any = None) -> None:
    """Make sure that a part's answer is an array of so many numbers, none of them NaN.

    Args:
        guard: of the part.
        what: what messages call the answer, with its axes: `observations [N, D]`.
        values: the answer.
        shape: that it must have.
        dtype: that it must have; any numbers by default.

    Raises:
        UserCodeError: the answer is something else.
    """
    if not isinstance(values, np.ndarray):
        raise guard.refuse(f"{what} must be a numpy array (got {shown(values)}); wrap it in numpy.asarray")
    if dtype is not None and values.dtype != dtype:
        wanted = np.dtype(dtype).name
        raise guard.refuse(f"{what} must be {wanted} (got {values.dtype}); end with .astype(numpy.{wanted})")
    if values.dtype.kind not in "biuf":
        raise guard.refuse(f"{what} must be numbers (got an array of {values.dtype})")
    if values.shape != shape:
        raise guard.refuse(f"{what} must have shape {list(shape)} (got {list(values.shape)})")
    if values.dtype.kind == "f" and np.isnan(np.add.reduce(values, axis=None)) and np.isnan(values).any():
        raise guard.refuse(f"{what} hold NaN in entries {np.argwhere(np.isnan(values))[:3].tolist()}")


def named(part: str, value: Any) -> str:
    """What messages call a part: `reward=my_module:MyReward` as it was typed, or the name of the class that was given.

    >>> named("reward", "my_module:MyReward"), named("reward", dict)
    ('reward=my_module:MyReward', 'reward=builtins:dict')
    """
    if isinstance(value, Mapping):
        value = value.get("name", value)
    if isinstance(value, str):
        return f"{part}={value}"
    kind = value if hasattr(value, "__qualname__") else type(value)
    return f"{part}={kind.__module__}:{kind.__qualname__}"


def is_ours(part: Any) -> bool:
    """Whether a class, function or object comes from this package."""
    kind = part if hasattr(part, "__qualname__") else type(part)
    return str(getattr(kind, "__module__", "")).startswith("tokenfleet.")


def _is_foreign(filename: str) -> bool:
    """Whether a file is this package's, a library's or Python's."""
    path = str(Path(filename).resolve()) if not filename.startswith("<") else filename
    is_library = path.endswith(_COMPILED) or any(name in path for name in _LIBRARIES)
    return is_library or path.startswith((*_PLACES, _STANDARD, "<frozen"))


def _short(filename: str) -> str:
    """A path from the working folder where it lies in it."""
    path = Path(filename)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else filename
