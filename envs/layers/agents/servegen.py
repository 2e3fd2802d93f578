"""Many clients, each a renewal process of its own whose rate and burstiness change through the week."""

from __future__ import annotations

from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import PrivateAttr, model_validator
from typing_extensions import Self, override

from tokenfleet.envs.catalog import Recording, load_clients
from tokenfleet.envs.layers.agents.quantiles import QuantileSpec
from tokenfleet.envs.layers.agents.streams import Demand, Split, StreamSpec, named_by
from tokenfleet.envs.spec import PositiveFloat, TokenCount
from tokenfleet.envs.traces import ClientTable

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


class ServeGenStream(StreamSpec):
    """Clients of a recorded service, drawn anew.

    In each window of the record (10 min) a client's inter-arrival times are independent Gamma or Weibull with the
    recorded shape; a window begins in equilibrium, so that its expected count is the recorded one. An episode is a
    stretch of the record that begins at random, whatever its split: a course of rates holds no request. To reach
    `rate_rps` every client sends faster or slower by one factor and keeps its shape. Prompt and output lengths are
    drawn independently, from the client's own quantiles.

    Attributes:
        clients: a catalogue name (`catalog/clients`) or the path of an archive of clients.
        rate_rps: mean rate over the whole record [requests/s]; the record's own by default.
        time_compression: how many recorded seconds pass in one second of the episode; 144 puts a day into 10 min.
        max_tokens: longer prompts and outputs are cut.

    References:
        Y. Xiang et al., "ServeGen: workload characterization and generation of large language model serving in
        production", arXiv:2505.09999.
    """

    kind: Literal["servegen"] = "servegen"
    clients: Recording = "servegen-m-large"
    rate_rps: PositiveFloat | None = None
    time_compression: PositiveFloat = 1.0
    max_tokens: TokenCount = 32_768
    _start_s: float | None = PrivateAttr(default=None)  # where in the record every episode begins; drawn by default

    @model_validator(mode="after")
    def _clients_can_be_read(self) -> Self:
        with named_by("clients", "clients"):
            _ = self._table
        return self

    @property
    @override
    def mean_rate_rps(self) -> float:
        return self.rate_rps if self.rate_rps is not None else self._table.mean_rate_rps

    @property
    @override
    def mean_prompt_tokens(self) -> float:
        return self._mean_tokens(self._table.prompt_tokens)

    @property
    @override
    def mean_output_tokens(self) -> float:
        return self._mean_tokens(self._table.output_tokens)

    def check(self, horizon_s: float) -> None:
        """See `StreamSpec.check`."""
        if horizon_s * self.time_compression > self._table.span_s:
            raise ValueError(
                f"clients {self.clients!r} are recorded for too short a time: they span {self._table.span_s:.0f} s, "
                f"an episode {horizon_s * self.time_compression:.0f} s of it; lower time_compression or horizon_ticks"
            )

    def sample(self, rng: np.random.Generator, horizon_s: float, split: Split) -> Demand:
        """See `StreamSpec.sample`."""
        table = self._table
        window_s = float(table.window_s[0])
        start_s = self._drawn_start_s(rng, horizon_s) if self._start_s is None else self._start_s
        windows = np.arange(
            start_s // window_s, (start_s + horizon_s * self.time_compression) // window_s + 1, dtype=int
        )
        windows = windows[windows < table.rate_rps.shape[1]]
        client, place = np.nonzero(table.rate_rps[:, windows])
        window = windows[place]
        rate_rps = table.rate_rps[client, window].astype(np.float64) * self.mean_rate_rps / table.mean_rate_rps
        begins_s = (window * window_s - start_s) / self.time_compression
        cells, arrival_s = _renewals(
            rng,
            rate_rps,
            table.shape[client, window].astype(np.float64),
            table.weibull[client, window],
            np.full(len(client), window_s / self.time_compression),
        )
        arrival_s = arrival_s + begins_s[cells]
        inside = (arrival_s >= 0) & (arrival_s < horizon_s)
        sender = client[cells[inside]]
        return Demand(
            arrival_s[inside],
            self._tokens(rng, self._table.prompt_tokens, sender),
            self._tokens(rng, self._table.output_tokens, sender),
        )

    @override
    def going_on(self, known: np.random.Generator, begin_s: float, horizon_s: float, split: Split) -> ServeGenStream:
        later = self.model_copy()
        start_s = self._drawn_start_s(known, horizon_s) if self._start_s is None else self._start_s
        later._start_s = start_s + begin_s * self.time_compression
        return later

    def _drawn_start_s(self, rng: np.random.Generator, horizon_s: float) -> float:
        return float(rng.uniform(0.0, self._table.span_s - horizon_s * self.time_compression))

    @cached_property
    def _table(self) -> ClientTable:
        return load_clients(self.clients, self.search_paths)

    def _tokens(self, rng: np.random.Generator, quantiles: NDArray[np.float32], sender: IntArray) -> NDArray[np.int32]:
        """Token counts of requests by their sender, by linear interpolation in the normal score."""
        score = rng.standard_normal(len(sender))
        logs, knots = np.log(np.maximum(quantiles, 1.0)), self._knots
        right = np.clip(np.searchsorted(knots, score), 1, len(knots) - 1)
        share = np.clip((score - knots[right - 1]) / (knots[right] - knots[right - 1]), 0.0, 1.0)
        log = logs[sender, right - 1] * (1.0 - share) + logs[sender, right] * share
        return np.clip(np.rint(np.exp(log)), 1, self.max_tokens).astype(np.int32)

    @cached_property
    def _knots(self) -> FloatArray:
        return QuantileSpec(quantiles={float(p): 1.0 for p in self._table.probabilities}).knots[0]

    def _mean_tokens(self, quantiles: NDArray[np.float32]) -> float:
        """Mean over requests: of each client's distribution, weighted by its rate."""
        weight = self._table.rate_rps.sum(axis=1, dtype=np.float64)
        means = [
            QuantileSpec(
                quantiles=dict(zip(self._table.probabilities.tolist(), np.maximum(row, 1.0).tolist(), strict=True))
            ).mean
            for row in quantiles
        ]
        return float(np.average(np.minimum(means, self.max_tokens), weights=weight))


def _renewals(
    rng: np.random.Generator, rate_rps: FloatArray, shape: FloatArray, weibull: NDArray[np.bool_], length_s: FloatArray
) -> tuple[IntArray, FloatArray]:
    """Arrivals of M renewal processes in equilibrium over `[0, length_s)`.

    The first gap is the rest of one that is under way: uniform in a gap that is drawn in proportion to its length. All
    arrays are `[M]`.

    Returns:
        The process of each arrival, and its time from the process's start [s].
    """
    at_s = rng.random(len(rate_rps)) * _gaps(rng, shape, weibull, length_biased=True) / rate_rps
    cell = np.flatnonzero(at_s < length_s)
    found = [(cell, at_s[cell])]
    while len(cell):
        expected = np.maximum(rate_rps[cell] * (length_s[cell] - at_s[cell]), 1.0)
        count = np.ceil(expected + 2.0 * np.sqrt(expected)).astype(np.int64)
        owner = np.repeat(np.arange(len(cell)), count)
        gap_s = _gaps(rng, shape[cell[owner]], weibull[cell[owner]]) / rate_rps[cell[owner]]
        total_s = np.cumsum(gap_s)
        before_s = (total_s - gap_s)[np.cumsum(count) - count]
        arrival_s = total_s - before_s[owner] + at_s[cell[owner]]
        inside = arrival_s < length_s[cell[owner]]
        found.append((cell[owner[inside]], arrival_s[inside]))
        at_s[cell] = arrival_s[np.cumsum(count) - 1]
        cell = cell[at_s[cell] < length_s[cell]]
    cells, arrivals_s = (np.concatenate(columns) for columns in zip(*found, strict=True))
    return cells, arrivals_s


def _gaps(
    rng: np.random.Generator, shape: FloatArray, weibull: NDArray[np.bool_], length_biased: bool = False
) -> FloatArray:
    """Inter-arrival times of mean 1, or of length-biased draws of the same; `[M]`.

    A length-biased Gamma(k) is a Gamma(k + 1) of the same scale; a Weibull is a power of an exponential, and its
    length-biased one the same power of a Gamma(1 + 1 / k).
    """
    gap = np.empty(len(shape))
    gamma = ~weibull
    gap[gamma] = rng.standard_gamma(shape[gamma] + length_biased) / shape[gamma]
    k = shape[weibull]
    base = rng.standard_gamma(1.0 + 1.0 / k) if length_biased else rng.standard_exponential(len(k))
    gap[weibull] = base ** (1.0 / k) / _gamma_function(1.0 + 1.0 / k)
    return gap


def _gamma_function(x: FloatArray) -> FloatArray:
    from scipy.special import gamma  # costs 0.1 s to import; only this kind of stream pays it

    values: FloatArray = gamma(x)
    return values
