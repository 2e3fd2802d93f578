"""What every stream of requests answers, and how the `kind` of a description becomes a class."""

from __future__ import annotations

import importlib
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, SerializeAsAny

from tokenfleet.envs.catalog import CatalogSpec
from tokenfleet.envs.layers.series import Split as Split
from tokenfleet.envs.spec import Name, PositiveFloat, SpecError, suggest

SPLIT_BOUNDS: dict[str, tuple[float, float]] = {"train": (0.0, 0.6), "validation": (0.6, 0.8), "test": (0.8, 1.0)}
"""Shares of a trace's time span that belong to each split; they never overlap."""


@dataclass(frozen=True, eq=False)
class Demand:
    """Requests of one stream in one episode, in any order, R of them.

    Attributes:
        arrival_s: `[R]` float64, in [0, horizon), or inf for a call that waits for others.
        prompt_tokens, output_tokens: `[R]` int32, at least 1.
        columns: further columns `[R]` of `RequestTable` by name; a column that is left out is that of an independent
            request.
        edges: `[E, 2]` int64, rows (call, call that waits for it).
    """

    arrival_s: NDArray[np.float64]
    prompt_tokens: NDArray[np.int32]
    output_tokens: NDArray[np.int32]
    columns: dict[str, NDArray[Any]] = field(default_factory=dict)
    edges: NDArray[np.int64] = field(default_factory=lambda: np.empty((0, 2), np.int64))

    def __len__(self) -> int:
        return len(self.arrival_s)


class StreamSpec(CatalogSpec):
    """A source of requests of one class; subclasses say when they arrive and how long they are.

    Attributes:
        kind: which of them it is, or `module:Class` of one's own.
        request_class: name of the class.
        region: where its clients are: the name of one of the scenario's regions, or the weight of each; by default as
            the scenario's regions are weighted.
    """

    kind: str
    request_class: Name
    region: Name | dict[Name, PositiveFloat] | None = None

    @property
    @abstractmethod
    def mean_rate_rps(self) -> float:
        """Requests per second in the long run."""

    @property
    @abstractmethod
    def mean_prompt_tokens(self) -> float:
        """Mean prompt length [tokens]."""

    @property
    @abstractmethod
    def mean_output_tokens(self) -> float:
        """Mean output length [tokens]."""

    @abstractmethod
    def sample(self, rng: np.random.Generator, horizon_s: float, split: Split) -> Demand:
        """Requests of one episode, all chance drawn from `rng`; different splits must not share requests."""

    def check(self, horizon_s: float) -> None:
        """Raise `ValueError` when the stream cannot fill an episode of `horizon_s`."""


STREAM_KINDS: dict[str, type[StreamSpec]] = {}
"""Kind -> class; the package fills in the kinds that it ships."""


@contextmanager
def named_by(key: str, kind: str) -> Iterator[None]:
    """Report an entry of the catalogue that cannot be read under the key that names it."""
    try:
        yield
    except SpecError as error:
        raise SpecError(f"{key}: {problem.removeprefix(f'{kind}: ')}" for problem in error.problems) from None


def register_stream(kind: str, stream: type[StreamSpec]) -> None:
    """Make `stream` available to scenarios as `kind`."""
    STREAM_KINDS[kind] = stream


def _build_stream(data: Any) -> Any:
    """Pick the class that `kind` names and validate the rest of the mapping with it."""
    if isinstance(data, StreamSpec) or not isinstance(data, dict):
        return data
    kind = str(data.get("kind", ""))
    stream = STREAM_KINDS.get(kind) or (_import_stream(kind) if ":" in kind else None)
    if stream is None:
        raise SpecError([f"kind: unknown stream kind {kind!r}{suggest(kind, STREAM_KINDS)}, or 'module:Class'"])
    return stream.parse(data)


def _import_stream(kind: str) -> type[StreamSpec]:
    module, _, name = kind.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, SyntaxError) as error:
        raise SpecError([f"kind: cannot import {kind!r} ({error}); write 'module:Class' of a StreamSpec"]) from None
    if not (isinstance(found, type) and issubclass(found, StreamSpec)):
        raise SpecError([f"kind: {kind!r} is not a StreamSpec"])
    return found


AnyStream = Annotated[SerializeAsAny[StreamSpec], BeforeValidator(_build_stream)]
