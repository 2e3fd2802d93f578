"""What every stream of requests answers, and how the `kind` of a description becomes a class."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, SerializeAsAny

from tokenfleet.envs.catalog import CatalogSpec, reading
from tokenfleet.envs.spec import Name, PositiveFloat, SpecError, shown, suggest
from tokenfleet.envs.splits import Split as Split
from tokenfleet.envs.user_code import Guard, check_numbers, import_object, is_ours


@dataclass(frozen=True, eq=False)
class Demand:
    """Requests of one stream in one episode, in any order, R of them.

    Attributes:
        arrival_s: `[R]` float64, in [0, horizon), or inf for a call that waits for others.
        prompt_tokens, output_tokens: `[R]` int32, at least 1.
        columns: further columns `[R]` of `RequestTable` by name; a column left out is that of an independent request.
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
    """A source of requests of one class; its kind decides when requests arrive and how long they are.

    Attributes:
        kind: one of `STREAM_KINDS`, or a user's own class as `module:Class`.
        request_class: name of the class.
        region: where its clients are: one of the scenario's regions, or regions with weights; by default all of the
            scenario's regions with their own weights.
    """

    kind: str
    request_class: Name
    region: Name | dict[Name, PositiveFloat] | None = None

    rate_keys: ClassVar[tuple[str, ...]] = ("rate_rps",)
    """Keys that set the load: multiplying all of them by a factor multiplies the load by it."""

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

    def under_load(self, factor: float) -> dict[str, Any]:
        """The keys, with their values, that make this stream carry `factor` times its load."""
        given = {key: getattr(self, key) for key in self.rate_keys}
        return {key: factor * (self.mean_rate_rps if value is None else value) for key, value in given.items()}

    def busier(self, factor: float) -> StreamSpec:
        """This stream under `factor` times its load."""
        with reading(self.search_paths):
            return type(self).parse({**self.model_dump(mode="json"), **self.under_load(factor)})

    @property
    def has_sessions(self) -> bool:
        """Whether its requests are calls of sessions or conversations, which build on each other."""
        return False

    @abstractmethod
    def sample(self, rng: np.random.Generator, horizon_s: float, split: Split) -> Demand:
        """Requests of one episode, all chance drawn from `rng`; different splits must not share requests."""

    def going_on(self, known: np.random.Generator, begin_s: float, horizon_s: float, split: Split) -> StreamSpec:
        """The stream as it goes on `begin_s` into an episode: at the same hour, with nothing else known of it.

        Its `sample` gives the requests of the rest, by times from `begin_s` on. A stream without hours is itself.

        Args:
            known: the generator in its state before it drew the episode, so that it draws the same hour again.
            begin_s: how much of the episode is over [s].
            horizon_s: length of the whole episode [s].
            split: which requests the episode was drawn from.
        """
        return self

    def check(self, horizon_s: float) -> None:
        """Raise `ValueError` when the stream cannot fill an episode of `horizon_s`."""


MEANS = ("mean_rate_rps", "mean_prompt_tokens", "mean_output_tokens")
STREAM_KINDS: dict[str, type[StreamSpec]] = {}
"""Kind -> class; the package fills in the kinds that it ships."""


@contextmanager
def named_by(key: str, kind: str) -> Iterator[None]:
    """Report an unreadable entry of the catalogue under the key that names it."""
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
    if is_ours(stream):
        return stream.parse(data)
    with Guard(f"kind={kind}", leaves_messages=True):
        return stream.parse(data)


def check_stream(stream: StreamSpec, horizon_s: float) -> None:
    """Make sure that a stream knows its means and can fill an episode of `horizon_s`.

    Raises:
        ValueError: it cannot, and says why.
        UserCodeError: the stream is a user's, and fails.
    """
    guard = _guard(stream)
    if guard is not None:
        with guard:
            means = {name: getattr(stream, name) for name in MEANS}
        for name, value in means.items():
            if not isinstance(value, (int, float, np.number)) or not 0.0 <= float(value) < math.inf:
                raise guard.refuse(f"{name} must be a finite number, 0 or more (got {shown(value)})")
    with guard or nullcontext():
        stream.check(horizon_s)


def draw_demand(name: str, stream: StreamSpec, rng: np.random.Generator, horizon_s: float, split: Split) -> Demand:
    """The requests of one episode.

    Args:
        name: of the stream in the scenario, for messages.
        stream: the stream.
        rng: all chance comes from it.
        horizon_s: length of the episode [s].
        split: which requests to draw from.

    Raises:
        SpecError: the stream has no requests of the split.
        UserCodeError: the stream is a user's, and fails or gives no such requests.
    """
    guard = _guard(stream, f"scenario.workload.{name}.")
    if guard is None:
        return stream.sample(rng, horizon_s, split)
    with guard:
        demand = stream.sample(rng, horizon_s, split)
    if not isinstance(demand, Demand):
        raise guard.refuse(f"sample must give a Demand (got {type(demand).__name__})")
    check_numbers(guard, "arrival_s [R]", demand.arrival_s, np.shape(demand.arrival_s)[:1] or (0,), np.float64)
    for column in ("prompt_tokens", "output_tokens"):
        check_numbers(guard, f"{column} [R]", getattr(demand, column), demand.arrival_s.shape, np.int32)
        if (getattr(demand, column) < 1).any():
            raise guard.refuse(f"{column} must be at least 1 (got {int(getattr(demand, column).min())})")
    own_s = demand.arrival_s[demand.arrival_s < np.inf]
    if ((own_s < 0.0) | (own_s >= horizon_s)).any():
        outside_s = float(own_s[(own_s < 0.0) | (own_s >= horizon_s)][0])
        raise guard.refuse(f"arrival_s must lie in [0, {horizon_s:g}), or be inf (got {outside_s:g})")
    return demand


def _guard(stream: StreamSpec, where: str = "") -> Guard | None:
    """For calls of a user's stream, None for one of ours; a `ValueError` of its `check` is a message already."""
    return None if is_ours(stream) else Guard(f"{where}kind={stream.kind}", leaves_messages=not where)


def _import_stream(kind: str) -> type[StreamSpec]:
    try:
        found = import_object(kind)
    except SpecError as error:
        raise SpecError(f"kind: {problem} of a StreamSpec" for problem in error.problems) from error.__cause__
    if not (isinstance(found, type) and issubclass(found, StreamSpec)):
        raise SpecError([f"kind: {kind!r} is not a StreamSpec"])
    return found


AnyStream = Annotated[SerializeAsAny[StreamSpec], BeforeValidator(_build_stream)]
