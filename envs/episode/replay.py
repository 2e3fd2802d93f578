"""The controls of fleets that stand at different ticks, taken again from the start of their episodes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tokenfleet.envs.layers.scheduling import Controls


def replayed(tapes: Sequence[Mapping[str, Any]]) -> Iterator[tuple[Controls, list[int]]]:
    """Controls of every fleet for tick after tick, and which fleets wait; all of them finish together.

    Args:
        tapes: past controls `[T, ...]` of each fleet by name, as `Controls.given` gives them; empty for a fleet
            without.
    """
    controls = [_controls(tape) for tape in tapes]
    lengths = [0 if tape is None else tape.num_envs for tape in controls]
    longest = controls[int(np.argmax(lengths))]
    for tick in range(max(lengths)):
        assert longest is not None
        waits = [max(lengths) - length for length in lengths]
        rows = [
            longest[tick] if tape is None or tick < wait else tape[tick - wait]
            for tape, wait in zip(controls, waits, strict=True)
        ]
        yield Controls.stack(rows), [index for index, wait in enumerate(waits) if tick < wait]


def _controls(tape: Mapping[str, Any]) -> Controls | None:
    return Controls(**{name: np.asarray(values, np.float64) for name, values in tape.items()}) if tape else None
