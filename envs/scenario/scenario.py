"""A scenario: the one validated description of a fleet and its demand, layers composed and cross-checked."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator
from typing_extensions import Self

from tokenfleet.envs.catalog import CatalogSpec
from tokenfleet.envs.layers.agents import AgreementSpec, AnyStream, PriceRangeSpec, RequestClassSpec
from tokenfleet.envs.layers.distribution import NetworkSpec, RegionSpec, location_problems
from tokenfleet.envs.layers.facility import RoomSpec, RowSpec, it_nameplate_w, nameplate_w
from tokenfleet.envs.layers.gpu.failures import FailureSpec
from tokenfleet.envs.layers.power import BatterySpec, ProgrammeSpec, RegulationSpec, TariffSpec
from tokenfleet.envs.layers.power.series import CalendarSpec, ForecastSpec, RealTimePriceSpec, SolarSpec
from tokenfleet.envs.scenario.checks import (
    calendar_problems,
    class_problems,
    forecast_problems,
    hand_off_problems,
    horizon_problems,
    pool_problems,
    seat_problems,
    variant_problems,
    workload_problems,
)
from tokenfleet.envs.scenario.pools import PoolSpec
from tokenfleet.envs.scenario.regimes import RegimeSpec, regime_problems, regime_product, unsteady_pools
from tokenfleet.envs.scenario.sites import SiteSpec
from tokenfleet.envs.scenario.training import TrainingSpec
from tokenfleet.envs.scenario.uncertainty import UncertaintySpec
from tokenfleet.envs.scenario.variants import VariantSpec
from tokenfleet.envs.spec import MAX_SHORT, Name, NonNegativeFloat, PositiveFloat, PositiveInt, SpecError

Derived = TypeVar("Derived")


class MeanDemand(NamedTuple):
    """What a stream asks for on average: rate [requests/s], and tokens of a mean request."""

    rate_rps: float
    prompt_tokens: float
    output_tokens: float


class Scenario(CatalogSpec):
    """A fleet and its demand: sites, pools, request classes, and the streams that load them.

    Attributes:
        name: catalogue name.
        description: one sentence for people.
        tick_s: time between two decisions [s]; also the shortest averaging time of a meter.
        horizon_ticks: length of an episode; with `tick_s`, at most `MAX_HORIZON_S`.
        announced_lead_s: how far ahead an announced cap is shown to the policy [s].
        sites, pools, classes, workload: the parts, each by its name; parts refer to each other by these names.
        uncertainty: what is drawn anew for every episode.
        regimes: what changes within an episode and is not shown, by name.
        calendar: how the episode runs through the year of its recorded series.
        forecast_lead_s: how far ahead price, carbon intensity, outdoor temperature and solar power are forecast to the
            policy [s of the episode]; 0 is now. No lead by default: constants need no forecast.
        forecast: how wrong forecasts are.
        failures: how often servers break; never by default.
        regions: where clients are; without any, every client stands beside every site and no message takes time.
        network: distances, bandwidths and prices of traffic.
    """

    name: Name
    description: str = ""
    tick_s: PositiveFloat = 1.0
    horizon_ticks: PositiveInt = 600
    announced_lead_s: tuple[PositiveFloat, ...] = (10.0, 30.0, 60.0)
    sites: dict[Name, SiteSpec] = Field(min_length=1)
    pools: dict[Name, PoolSpec] = Field(min_length=1)
    classes: dict[Name, RequestClassSpec] = Field(min_length=1, max_length=MAX_SHORT)
    workload: dict[Name, AnyStream] = Field(min_length=1)
    uncertainty: UncertaintySpec = UncertaintySpec()
    regimes: dict[Name, RegimeSpec] = Field(default_factory=dict)
    calendar: CalendarSpec = CalendarSpec()
    forecast_lead_s: tuple[NonNegativeFloat, ...] = ()
    forecast: ForecastSpec = ForecastSpec()
    failures: FailureSpec | None = None
    regions: dict[Name, RegionSpec] = Field(default_factory=dict)
    network: NetworkSpec = NetworkSpec()

    @model_validator(mode="after")
    def _parts_fit_together(self) -> Self:
        problems = [
            *horizon_problems(self.horizon_ticks, self.tick_s),
            *pool_problems(self.pools, self.sites),
            *hand_off_problems(self.pools),
            *variant_problems(self.pools),
            *seat_problems(self.pools, {name: cls.model for name, cls in self.classes.items()}),
            *class_problems(self.classes, self.pools),
            *workload_problems(self.workload, self.classes, self.region_names, self.horizon_s),
            *calendar_problems(self.calendar, self.sites, self.calendar_window_s),
            *forecast_problems(self.forecast, self.forecast_lead_s, self.sites),
            *regime_problems(self.regimes, self.workload, self.classes, self.sites, self.pools, self.horizon_s),
            *location_problems(self.network, self.regions, {name: site.location for name, site in self.sites.items()}),
        ]
        if problems:
            raise SpecError(problems)
        return self

    def derived(self, build: Callable[[Scenario], Derived]) -> Derived:
        """What `build` makes of this scenario: made once, and the same object for all who ask, so do not change it."""
        if build not in self._derived:
            self._derived[build] = build(self)
        return cast(Derived, self._derived[build])

    @property
    def horizon_s(self) -> float:
        """Length of an episode [s]."""
        return self.horizon_ticks * self.tick_s

    @property
    def calendar_window_s(self) -> float:
        """What an episode needs of its split's weeks: its length and as far beyond as forecasts look [s]."""
        return self.horizon_s + max(self.forecast_lead_s, default=0.0)

    @property
    def region_names(self) -> tuple[str, ...]:
        """The regions by their `RequestTable.region_id`; `everywhere` where none is named."""
        return tuple(self.regions) or ("everywhere",)

    @property
    def region_weights(self) -> dict[str, float]:
        """How many clients each of `region_names` has, relatively."""
        return {name: region.weight for name, region in self.regions.items()} or {"everywhere": 1.0}

    @property
    def route_mask(self) -> NDArray[np.bool_]:
        """Whether a pool serves the class's model and takes requests from clients, `[K, P]`."""
        open_pools = [None if pool.decode_only else pool.model for pool in self.pools.values()]
        return np.array([[model == cls.model for model in open_pools] for cls in self.classes.values()])

    @property
    def reserved_seats(self) -> NDArray[np.int64]:
        """Seats of a replica's batch that each pool keeps for each class, `[P, K]`."""
        pools = self.pools.values()
        return np.array([[pool.reserved_seats.get(name, 0) for name in self.classes] for pool in pools], np.int64)

    def ranks_classes(self, name: str) -> bool:
        """Whether the order of a pool's queues depends on the classes of requests."""
        pool = self.pools[name]
        priorities = {cls.priority for cls in self.classes.values() if cls.model == pool.model}
        return bool(pool.reserved_seats) or len(priorities) > 1

    def nameplate_w(self, site: str) -> float:
        """A site's facility power with everything at its rating [W]."""
        return self._nameplate_w[site]

    def contract_w(self, site: str) -> float:
        """A site's cap outside its events [W]."""
        return self.sites[site].grid.contract_w(self.nameplate_w(site))

    def it_nameplate_w(self, site: str) -> float:
        """A site's IT power with everything at its rating [W]."""
        return it_nameplate_w(self.sites[site].facility, self._tdp_w[site])

    @property
    def rooms(self) -> dict[str, RoomSpec]:
        """The rooms that are modelled, by their sites."""
        return {name: site.facility.room for name, site in self.sites.items() if site.facility.room is not None}

    @property
    def training_sites(self) -> dict[str, TrainingSpec]:
        """The training jobs, by their sites."""
        return {name: site.training for name, site in self.sites.items() if site.training is not None}

    @property
    def standby_pools(self) -> dict[str, PoolSpec]:
        """The pools whose replicas can stand by."""
        return {name: pool for name, pool in self.pools.items() if pool.standby is not None}

    @property
    def variants(self) -> dict[str, VariantSpec]:
        """Variants that replicas may serve instead of their own model, by pool."""
        return {name: pool.variant for name, pool in self.pools.items() if pool.variant is not None}

    @property
    def unsteady_pools(self) -> dict[str, PoolSpec]:
        """The pools whose clock sensitivity changes within an episode."""
        names = unsteady_pools(self.regimes)
        return {name: pool for name, pool in self.pools.items() if name in names}

    @property
    def batteries(self) -> dict[str, BatterySpec]:
        """The batteries, by their sites."""
        return {name: site.battery for name, site in self.sites.items() if site.battery is not None}

    @property
    def charging_tariffs(self) -> dict[str, TariffSpec]:
        """The tariffs that charge for more than energy, by their sites."""
        tariffs = {name: site.grid.tariff for name, site in self.sites.items()}
        return {name: tariff for name, tariff in tariffs.items() if tariff is not None and tariff.has_charges}

    @property
    def programmes(self) -> dict[str, ProgrammeSpec]:
        """The demand-response programmes, by their sites."""
        return {name: site.grid.programme for name, site in self.sites.items() if site.grid.programme is not None}

    @property
    def regulators(self) -> dict[str, RegulationSpec]:
        """What is offered for frequency regulation, by sites."""
        return {name: site.grid.regulation for name, site in self.sites.items() if site.grid.regulation is not None}

    @property
    def agreements(self) -> dict[str, AgreementSpec]:
        """The service agreements, by their classes."""
        return {name: cls.agreement for name, cls in self.classes.items() if cls.agreement is not None}

    @property
    def spread_sites(self) -> dict[str, RealTimePriceSpec]:
        """The real-time prices whose spread is forecast, by their sites."""
        prices = {name: site.grid.real_time_price for name, site in self.sites.items()}
        return {name: price for name, price in prices.items() if price is not None and self.forecast.price_spread}

    @property
    def forecast_classes(self) -> tuple[str, ...]:
        """The classes whose demand is forecast: all or none."""
        return () if self.forecast.demand is None else tuple(self.classes)

    @property
    def priced_classes(self) -> dict[str, PriceRangeSpec]:
        """How far the token price may be moved, by the classes whose price may."""
        ranges = {name: cls.token_price_factor for name, cls in self.classes.items()}
        return {name: factor for name, factor in ranges.items() if not factor.is_fixed}

    @property
    def solar_sites(self) -> dict[str, SolarSpec]:
        """The solar panels, by their sites."""
        return {name: site.solar for name, site in self.sites.items() if site.solar is not None}

    @cached_property
    def rows(self) -> dict[tuple[str, str], RowSpec]:
        """Every row by its site and its name, in the order of the sites."""
        return {(site, row): spec for site, s in self.sites.items() for row, spec in s.facility.rows.items()}

    def row_nameplate_w(self, site: str, row: str) -> float:
        """The IT power of the pools behind a row with everything at its rating [W]."""
        tdp_w = [pool.gpu_spec.tdp_w for pool in self._pools_behind(site, row) for _ in range(pool.gpus)]
        return it_nameplate_w(self.sites[site].facility, tdp_w)

    def row_cap_w(self, site: str, row: str) -> float:
        """The cap of a row outside its events [W]."""
        return self.rows[site, row].contract_w(self.row_nameplate_w(site, row))

    def _pools_behind(self, site: str, row: str) -> list[PoolSpec]:
        return [pool for pool in self.pools.values() if pool.is_behind(site, row, self.rows[site, row])]

    def streams_of(self, request_class: str) -> list[str]:
        """Names of the streams that ask for a class."""
        return [name for name, stream in self.workload.items() if stream.request_class == request_class]

    def mean_demand(self, name: str) -> MeanDemand:
        """What a stream asks for in the long run, through all regimes."""
        stream, keys = self.workload[name], ("prompt_factor", "output_factor")
        rate = regime_product(self.regimes, name, "rate_factor")
        prompt, output = (regime_product(self.regimes, name, "rate_factor", key) / rate for key in keys)
        return MeanDemand(
            stream.mean_rate_rps * rate, stream.mean_prompt_tokens * prompt, stream.mean_output_tokens * output
        )

    def mean_rate_rps(self, request_class: str) -> float:
        """Requests per second that a class sees in the long run."""
        return sum(self.mean_demand(name).rate_rps for name in self.streams_of(request_class))

    @property
    def reference_revenue_usd_per_s(self) -> float:
        """Revenue if every request were served within its SLO at list prices, without caching [USD/s].

        Rewards are stated as a share of it by default.
        """
        revenue = 0.0
        for name, stream in self.workload.items():
            cls, mean = self.classes[stream.request_class], self.mean_demand(name)
            prompt = mean.prompt_tokens * cls.usd_per_million_input_tokens
            output = mean.output_tokens * cls.usd_per_million_output_tokens
            revenue += mean.rate_rps * (prompt + output) / 1e6
        return revenue

    @cached_property
    def _derived(self) -> dict[Callable[[Scenario], Any], Any]:
        return {}

    @cached_property
    def _tdp_w(self) -> dict[str, list[float]]:
        tdp_w: dict[str, list[float]] = {site: [] for site in self.sites}
        for pool in self.pools.values():
            tdp_w[pool.site] += [pool.gpu_spec.tdp_w] * pool.gpus
        for site, training in self.training_sites.items():
            tdp_w[site] += [training.gpu_spec.tdp_w] * training.boards
        return tdp_w

    @cached_property
    def _nameplate_w(self) -> dict[str, float]:
        return {site: nameplate_w(spec.facility, self._tdp_w[site]) for site, spec in self.sites.items()}
