"""Mistakes in how the parts of a scenario fit together, one line each, each line behind its key."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from tokenfleet.envs.catalog import catalog_names
from tokenfleet.envs.layers.agents import AnyStream, RequestClassSpec, check_stream, region_problems
from tokenfleet.envs.layers.llm import kv_capacity_tokens, profile_name
from tokenfleet.envs.layers.power.series import CalendarSpec, ForecastSpec
from tokenfleet.envs.layers.power.series.calendar import window_problems
from tokenfleet.envs.scenario.pools import PoolSpec
from tokenfleet.envs.scenario.sites import SiteSpec
from tokenfleet.envs.spec import SpecError, suggest
from tokenfleet.envs.user_code import UserCodeError

MAX_HORIZON_S = 1e7
"""Longest episode [s], 116 days: up to there the two engines agree on every time within 1e-8 s. A double of 1e8 s holds
no more than that itself."""


def horizon_problems(ticks: int, tick_s: float) -> list[str]:
    """One line if the episode is too long."""
    horizon_s = ticks * tick_s
    if horizon_s <= MAX_HORIZON_S:
        return []
    return [
        f"horizon_ticks: an episode may last {MAX_HORIZON_S:g} s, {ticks} ticks of {tick_s:g} s are {horizon_s:g} s; "
        "lower horizon_ticks or tick_s"
    ]


def pool_problems(pools: Mapping[str, PoolSpec], sites: Mapping[str, SiteSpec]) -> list[str]:
    """Mistakes in the places of pools, and in their parts."""
    problems = []
    for name, pool in pools.items():
        if pool.site not in sites:
            problems.append(f"pools.{name}.site: unknown site {pool.site!r}{suggest(pool.site, sites)}")
        elif pool.row is not None and pool.row not in sites[pool.site].facility.rows_of_racks:
            rows = suggest(pool.row, sites[pool.site].facility.rows_of_racks)
            problems.append(f"pools.{name}.row: site {pool.site!r} has no row {pool.row!r}{rows}")
        if found := catalog_problem(pool):
            problems.append(f"pools.{name}.{found}")
    empty = [site for site in sites if all(pool.site != site for pool in pools.values())]
    used = sorted({pool.site for pool in pools.values()})
    hint = f"; pools stand at {', '.join(used)}; add a pool or remove the site"
    problems += [f"sites.{site}: no pool stands at this site{hint}" for site in empty]
    problems += [
        f"sites.{site}.facility.rows.{row}: no pool stands in this row; name it as `row` of one or remove it"
        for site, spec in sites.items()
        for row, row_spec in spec.facility.rows.items()
        if not any(pool.is_behind(site, row, row_spec) for pool in pools.values())
    ]
    return problems


def class_problems(classes: Mapping[str, RequestClassSpec], pools: Mapping[str, PoolSpec]) -> list[str]:
    """Classes whose model no pool serves."""
    served = {pool.model for pool in pools.values() if not pool.decode_only}
    return [
        f"classes.{name}.model: no pool serves {cls.model!r}{suggest(cls.model, served)}"
        for name, cls in classes.items()
        if cls.model not in served
    ]


def workload_problems(
    workload: Mapping[str, AnyStream],
    classes: Mapping[str, RequestClassSpec],
    regions: tuple[str, ...],
    horizon_s: float,
) -> list[str]:
    """Mistakes in the streams of the workload.

    Raises:
        UserCodeError: the code of a user's stream has failed.
    """
    problems = []
    for name, stream in workload.items():
        if stream.request_class not in classes:
            unknown = f"unknown class {stream.request_class!r}{suggest(stream.request_class, classes)}"
            problems.append(f"workload.{name}.request_class: {unknown}")
        problems += [f"workload.{name}.{problem}" for problem in region_problems(stream, regions)]
        try:
            check_stream(stream, horizon_s)
        except UserCodeError as error:
            raise UserCodeError(f"workload.{name}.{problem}" for problem in error.problems) from error.__cause__
        except ValueError as error:
            problems.append(f"workload.{name}: {error}")
    return problems


def calendar_problems(calendar: CalendarSpec, sites: Mapping[str, SiteSpec], window_s: float) -> list[str]:
    """Mistakes in when an episode lies in the year, where any of its signals varies."""
    return window_problems(calendar, window_s) if any(site.varies for site in sites.values()) else []


def forecast_problems(forecast: ForecastSpec, leads_s: Sequence[float], sites: Mapping[str, SiteSpec]) -> list[str]:
    """Forecasts of events where there are no events, or for no time."""
    if forecast.events is None:
        return []
    problems = []
    if not leads_s:
        problems.append(
            "forecast.events: events are forecast for the leads of forecast_lead_s, which is empty; give it leads [s]"
        )
    limits = [limit for site in sites.values() for limit in (site.grid, *site.facility.rows.values())]
    if not any(limit.events for limit in limits):
        problems.append(
            "forecast.events: no site or row has an event; give one demand_response or emergencies, or leave it out"
        )
    return problems


def hand_off_problems(pools: Mapping[str, PoolSpec]) -> list[str]:
    """Mistakes in the hand-offs between pools, one line each."""
    problems = []
    for name, pool in pools.items():
        key, target = f"pools.{name}.hand_off_to", pools.get(pool.hand_off_to or name)
        if target is None:
            problems.append(f"{key}: unknown pool {pool.hand_off_to!r}{suggest(str(pool.hand_off_to), pools)}")
        elif pool.hand_off_to == name:
            problems.append(f"{key}: a pool cannot hand over to itself; leave it out")
        elif target.model != pool.model:
            problems.append(
                f"{key}: {pool.hand_off_to!r} serves {target.model!r}, not {pool.model!r}; KV cache differs"
            )
        elif pool.hand_off_to is not None and target.hand_off_to is not None:
            problems.append(f"{key}: {pool.hand_off_to!r} hands over itself; the pool that is named must decode")
    receivers = {pool.hand_off_to for pool in pools.values()}
    problems += [
        f"pools.{name}.decode_only: no pool names {name!r} as its hand_off_to, so nothing would ever come here"
        for name, pool in pools.items()
        if pool.decode_only and name not in receivers
    ]
    return problems


def variant_problems(pools: Mapping[str, PoolSpec]) -> list[str]:
    """Mistakes in the variants of pools, one line each; one model cannot use the KV cache of another."""
    problems = []
    receivers = {pool.hand_off_to for pool in pools.values()}
    for name, pool in pools.items():
        if pool.variant is None:
            continue
        key = f"pools.{name}.variant"
        if pool.variant.model == pool.model:
            problems.append(f"{key}.model: {pool.model!r} is what the pool serves already; name another model")
        elif found := catalog_problem(pool.switched):
            problems.append(f"{key}: {found}")
        if pool.hand_off_to is not None or name in receivers:
            problems.append(f"{key}: a pool that prefills or decodes for another must keep its model; leave it out")
        fetching = [other for other, one in pools.items() if one.model == pool.model and one.migrate_prefixes]
        problems += [f"{key}: pools.{other}.migrate_prefixes would fetch KV of another model" for other in fetching]
    return problems


def seat_problems(pools: Mapping[str, PoolSpec], models: Mapping[str, str]) -> list[str]:
    """Mistakes in the seats that pools keep, one line each; `models` are the classes' models, by class."""
    problems = []
    for name, pool in pools.items():
        served = [cls for cls, model in models.items() if model == pool.model]
        problems += [
            f"pools.{name}.reserved_seats.{cls}: no class of that name asks for {pool.model!r}{suggest(cls, served)}"
            for cls in pool.reserved_seats
            if cls not in served
        ]
        kept = sum(pool.reserved_seats.values())
        if kept >= pool.max_batch:
            problems.append(
                f"pools.{name}.reserved_seats: at least one of max_batch ({pool.max_batch}) seats must be left for all "
                f"(got {kept}); keep fewer"
            )
    return problems


def catalog_problem(pool: PoolSpec) -> str:
    """What is wrong with a pool's GPU, its model, or how they fit together, behind the pool's key; empty if nothing."""
    return (
        _check_part("gpu", lambda: pool.gpu_spec)
        or _check_part("interconnect", lambda: pool.interconnect_spec)
        or _check_part("model", lambda: pool.model_spec)
        or _check_memory(pool)
        or _check_profile(pool)
    )


def _check_part(key: str, load: Callable[[], object]) -> str:
    try:
        load()
    except SpecError as error:
        return _keyed(key, error)
    return ""


def _check_memory(pool: PoolSpec) -> str:
    try:
        model = pool.model_spec
        pool.parallelism.check(model.name, model.attention_heads, model.experts, model.layers)
    except SpecError as error:
        return str(error)
    try:
        available = kv_capacity_tokens(pool.gpu_spec, pool.model_spec, pool.parallelism, pool.memory_utilisation)
        _ = pool.kv_capacity_tokens, pool.profile
    except SpecError as error:
        return _keyed("tensor_parallel", error)
    if pool.kv_tokens is not None and pool.kv_tokens > available:
        return f"kv_tokens: {pool.kv_tokens} tokens do not fit; at most {available} do beside the weights"
    return ""


def _check_profile(pool: PoolSpec) -> str:
    name, known = profile_name(pool.model, pool.gpu, pool.parallelism), catalog_names("profile", pool.search_paths)
    if not pool.needs_profile or pool.profile.origin != "roofline":
        return ""
    if name in known:
        return f"needs_profile: {name!r} is of GPUs wired by {pool.gpu_spec.interconnect}, not {pool.interconnect}"
    way_out = "add its file to a folder of catalog.search_paths, or write needs_profile: false to run on a roofline"
    return f"needs_profile: the catalogue has no profile {name!r}{suggest(name, known)}; {way_out}"


def _keyed(key: str, error: SpecError) -> str:
    """The message of an error behind the pool's key, which is not repeated."""
    return f"{key}: {str(error).removeprefix(f'{key}: ')}"
