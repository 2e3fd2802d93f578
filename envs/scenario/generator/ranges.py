"""What fleets are drawn from, as a person writes it: an entry of the catalogue's kind `generator`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import Field, model_validator
from typing_extensions import Self

from tokenfleet.envs.catalog import PathLike, load_entry, read_yaml
from tokenfleet.envs.scenario.generator.parts import (
    BurstSpec,
    GridRangesSpec,
    KindSpec,
    Numbers,
    OfferSpec,
    RegimeRangesSpec,
    ServerSpec,
    Span,
    ToleranceSpec,
)
from tokenfleet.envs.spec import Name, NonNegativeInt, PositiveInt, Spec, UnitFraction, suggest
from tokenfleet.envs.splits import Split


class HeldOutSpec(Spec):
    """What only test fleets may have.

    Attributes:
        sites: numbers of sites.
        gpus, models: by name.
    """

    sites: tuple[PositiveInt, ...] = ()
    gpus: tuple[Name, ...] = ()
    models: tuple[Name, ...] = ()


class Ranges(Spec):
    """All that a fleet is drawn from.

    Attributes:
        name: catalogue name; fleets are named after it.
        description: one sentence for people.
        seed: of all draws.
        horizon_ticks: length of an episode; a tick is a second.
        sites, models_of_fleet, replicas: how many there are of each.
        kinds_of_model: how many request classes a model gets.
        second_pool: chance of a second kind of server beside the first.
        load: demand of a model as a share of what its pools could serve at full clocks in a steady state.
        list_price_factor: on the prices of a model.
        held_out: what only test fleets may have.
        models: on offer, by name in the catalogue.
        kinds: of request classes, by names that classes begin with.
        bursts, price_tolerance, grid, regime: what else is drawn.
    """

    name: Name
    description: str = ""
    seed: NonNegativeInt
    horizon_ticks: PositiveInt = 600
    sites: Numbers
    models_of_fleet: Numbers
    kinds_of_model: Numbers
    replicas: Numbers
    second_pool: UnitFraction = 0.0
    load: Span
    list_price_factor: Span
    held_out: HeldOutSpec = HeldOutSpec()
    models: dict[Name, OfferSpec] = Field(min_length=1)
    kinds: dict[Name, KindSpec] = Field(min_length=1)
    bursts: BurstSpec
    price_tolerance: ToleranceSpec
    grid: GridRangesSpec
    regime: RegimeRangesSpec

    @model_validator(mode="after")
    def _parts_fit_together(self) -> Self:
        held, on_offer = self.held_out, {server.gpu for offer in self.models.values() for server in offer.servers}
        if unknown := [name for name in held.models if name not in self.models]:
            raise ValueError(
                f"held_out.models: {unknown[0]!r} is not among the models{suggest(unknown[0], self.models)}"
            )
        if unknown := [name for name in held.gpus if name not in on_offer]:
            raise ValueError(f"held_out.gpus: no server has {unknown[0]!r}{suggest(unknown[0], on_offer)}")
        if not self.offers("train"):
            raise ValueError("held_out: leaves training without a model; hold out fewer boards or models")
        lots = {"models_of_fleet": len(self.offers("train")), "kinds_of_model": len(self.kinds)}
        for key, most in lots.items():
            if max(getattr(self, key)) > most:
                raise ValueError(f"{key}: at most {most} are on offer in training (got {max(getattr(self, key))})")
        return self

    def sites_of(self, split: Split) -> tuple[int, ...]:
        """Numbers of sites that fleets of a split have."""
        return (*self.sites, *self.held_out.sites) if split == "test" else self.sites

    def offers(self, split: Split) -> dict[str, tuple[ServerSpec, ...]]:
        """The servers on offer in a split by model."""
        held = HeldOutSpec() if split == "test" else self.held_out
        found = {
            name: tuple(server for server in offer.servers if server.gpu not in held.gpus)
            for name, offer in self.models.items()
            if name not in held.models
        }
        return {name: servers for name, servers in found.items() if servers}


def load_ranges(name: str | Path, search_paths: Sequence[PathLike] = ()) -> Ranges:
    """Ranges from a catalogue name or a YAML file.

    Raises:
        SpecError: one line per mistake, naming the key.
    """
    is_file = Path(name).suffix in {".yaml", ".yml"}
    data = read_yaml(Path(name)) if is_file else load_entry("generator", str(name), search_paths)
    return Ranges.parse(data, where="generator")
