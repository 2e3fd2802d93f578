"""What every script may be told: scenario, environment, catalogue, seed; and the types of single values."""

from __future__ import annotations

from abc import abstractmethod
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import BeforeValidator, Field, model_validator
from typing_extensions import Self

from tokenfleet.envs.scenario import Scenario, ShiftSpec, shifted
from tokenfleet.envs.spec import Count, NonNegativeInt, PositiveInt, Spec, SpecError, whole

Engine = Literal["native", "reference"]
ConfigType = TypeVar("ConfigType", bound="EntryConfig")


def listed(value: Any) -> Any:
    """One value where a list may stand."""
    if value is None:
        return ()
    return value if isinstance(value, (list, tuple)) else (value,)


Seed = Annotated[NonNegativeInt, BeforeValidator(whole), Field(lt=2**31)]
Threads = Annotated[PositiveInt, Field(le=4096)]
Folder = Annotated[str, Field(min_length=1)]
Module = Annotated[str, Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$")]


class EnvConfig(Spec):
    """Which environment.

    Attributes:
        id: a Gymnasium id, `module:namespace/Name-v0`, or `module:Class`.
        kwargs: its constructor's keyword arguments.
        wrappers: Gymnasium wrappers around it, the innermost first; `tokenfleet.cli.wrappers` checks them.
    """

    id: str = Field(default="tokenfleet/Fleet-v0", min_length=1)
    kwargs: dict[str, Any] = Field(default_factory=dict)
    wrappers: Annotated[tuple[Any, ...], BeforeValidator(listed)] = ()


class CatalogConfig(Spec):
    """Where descriptions are found by name, beside the shipped ones.

    Attributes:
        search_paths: folders with `gpu/`, `model/`, `profile/`, `trace/` and `scenario/` of the user's own.
    """

    search_paths: Annotated[tuple[Folder, ...], BeforeValidator(listed)] = ()


class EntryConfig(Spec):
    """What all entry points take.

    Attributes:
        script: whose configuration it is.
        scenario: of the fleet; None for an environment that is not one.
        shift: what is different from the scenario on purpose; None for nothing.
        env: the environment.
        catalog: the user's own descriptions.
        seed: of everything that chance decides.
        n_envs: environments side by side.
        threads: of torch and of the engine.
        engine: which of the two simulators.
        strict_profiles: refuse pools that run on a roofline.
        resume: folder of an interrupted run to go on with.
        trust: modules whose code a checkpoint or a resumed run may name; what the command line names runs anyway.
    """

    script: ClassVar[str]

    scenario: Scenario | None = None
    shift: ShiftSpec | None = None
    env: EnvConfig = EnvConfig()
    catalog: CatalogConfig = CatalogConfig()
    seed: Seed = 0
    n_envs: Count = 64
    threads: Threads = 1
    engine: Engine = "native"
    strict_profiles: bool = False
    resume: Folder | None = None
    trust: Annotated[tuple[Module, ...], BeforeValidator(listed)] = ()

    @model_validator(mode="after")
    def _shift_fits(self) -> Self:
        if self.shift is not None and self.scenario is None:
            raise SpecError([f"shift: only a fleet's scenario can be shifted (got {self.shift.name})"])
        _ = self.shifted_scenario
        return self

    @cached_property
    def shifted_scenario(self) -> Scenario | None:
        """The scenario under the shift; None for an environment that is not a fleet."""
        return self.scenario if self.shift is None or self.scenario is None else shifted(self.scenario, self.shift)

    @property
    @abstractmethod
    def extent(self) -> str:
        """How long the whole run is, in words."""

    def check_new(self) -> None:
        """Refuse a new run that would come to nothing; one that is resumed has been checked.

        Raises:
            SpecError: with what would do.
        """

    def kept(self) -> dict[str, Any]:
        """The run as plain data, for its folder; `trust` is a permission of one start and no part of the run."""
        return self.model_dump(mode="json", exclude={"trust"})
