"""Limits between the grid connection and the pools: rows of racks, and what feeds all of them."""

from __future__ import annotations

from pydantic import model_validator
from typing_extensions import Self

from tokenfleet.envs.layers.power import CapSpec, unenforced


class RowSpec(CapSpec):
    """A row of racks behind one power distribution unit, with a cap, a meter, a brake and a breaker of its own.

    A row carries IT power (boards and servers); cooling is fed past it. Its nameplate is the IT power of the pools
    behind it with every GPU at its TDP and every server on. A pool says where it stands with `row`.

    Attributes:
        whole_site: the row feeds every pool of the site, whatever row that stands in: a hall's UPS or transformer.
    """

    whole_site: bool = False

    @model_validator(mode="after")
    def _brakes_hold_every_event(self) -> Self:
        if free := unenforced(self):
            raise ValueError(
                f"demand_response.{free[0]}.enforced: must be true in a row, where nobody pays for a call (got false)"
            )
        return self
