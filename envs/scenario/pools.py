"""Pools: replicas of one model on one kind of GPU at one site, layers 3 and 4 put together."""

from __future__ import annotations

from functools import cached_property
from typing import ClassVar, Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from tokenfleet.envs.catalog import CatalogSpec, reading
from tokenfleet.envs.layers.facility import RowSpec
from tokenfleet.envs.layers.gpu import GpuSpec, InterconnectSpec, load_gpu, load_interconnect
from tokenfleet.envs.layers.llm import (
    LargestBatch,
    ModelSpec,
    Parallelism,
    ProfileSpec,
    kv_capacity_tokens,
    load_model,
    load_profile,
)
from tokenfleet.envs.layers.llm.coefficients import Coefficients
from tokenfleet.envs.scenario.sleep import RESUME_BYTES_PER_S, RESUME_FIXED_S, ColdSpec, StandbySpec
from tokenfleet.envs.scenario.variants import VariantSpec
from tokenfleet.envs.spec import (
    GrowingSpec,
    Name,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    TokenCount,
)


class PoolSpec(GrowingSpec, CatalogSpec):
    """Replicas of one model on one GPU type at one site.

    Attributes:
        site: its name in the scenario.
        gpu, model: their names in the catalogue.
        replicas: number of replicas.
        row: the row of the site that the pool's racks stand in; by default the pool is fed from the site directly.
        tensor_parallel: GPUs that split every matrix; all of a replica unless it has data parallelism or stages.
        data_parallel: groups of `tensor_parallel` GPUs in a replica of a mixture of experts, each with all of attention
            and the KV cache of its own sequences.
        expert_parallel: GPUs that routed experts are shared out among, `tensor_parallel * data_parallel` of them; 1
            slices every expert over all GPUs.
        pipeline_parallel: stages of a replica, each `tensor_parallel * data_parallel` GPUs with a share of the layers;
            a batch is cut into as many parts, and each stage works on another one.
        interconnect: how the GPUs of a replica are wired, by its name in the catalogue; as the GPU's entry says by
            default. A replica of several GPUs that is wired otherwise runs on a roofline.
        async_scheduling: the server plans an iteration while the one before it runs (vLLM `async_scheduling`, on by
            default in its releases of 2026). Then a roofline counts no planning on the host; otherwise it counts that
            of vLLM's releases of 2025. A measured profile stays as it is.
        needs_profile: refuse to run without a profile of the pair in the catalogue; by default a roofline takes its
            place.
        max_batch: most sequences in a replica's batch (vLLM `max_num_seqs`).
        token_budget: most tokens in one iteration (vLLM `max_num_batched_tokens`); decoding sequences count one each,
            the rest goes to prefill chunks.
        memory_utilisation: share of GPU memory that weights, activations, CUDA graphs and KV cache may fill together
            (vLLM `gpu_memory_utilization`).
        clock_latency_s: time until a clock that was asked for is in force [s], in whole ticks rounded up. None by
            default: a driver on the server sets it within milliseconds; out of band, through the baseboard controller,
            it takes tens of seconds (POLCA, arXiv 2308.12908).
        kv_tokens: KV-cache capacity of a replica [tokens]; by default what memory leaves beside
            weights, activations and CUDA graphs.
        kv_policy: `reserve` keeps space for a request's whole answer from its admission on; `grow` gives it space token
            by token, and when that runs out the youngest sequence is preempted and computed again (vLLM).
        kv_watermark: share of the KV cache that an admission under `grow` leaves free while others run; 0.01 was the
            default of vLLM's first engine, its second one has the same option at 0.
        prefix_cache: keep contexts in KV memory that no running request needs, and compute a prompt only from the end
            of the conversation's or the group's cached beginning (vLLM `enable_prefix_caching`).
        warm_cache: begin an episode with the contexts that sessions under way have left in the cache, as many as fit;
            else with an empty cache.
        prefix_block_tokens: the cache keeps and finds whole blocks of so many tokens; 16 is vLLM's default.
        host_cache_bytes: host memory of a replica for prefixes that its KV cache has no space for [bytes].
        host_bandwidth_bytes_per_s: rate at which a replica reads prefixes back [bytes/s]; the default is an assumption:
            four fifths of the 63e9 that a PCIe 5.0 link of 16 lanes signals.
        hand_off_to: the pool that decodes after prefill here: when a prompt's first token is there, its KV cache goes
            to a replica of that pool (disaggregated serving: Splitwise, ISCA 2024, arXiv:2311.18677; DistServe, OSDI
            2024, arXiv:2401.09670). By default a pool decodes what it has prefilled.
        decode_only: take nothing but what other pools hand over.
        migrate_prefixes: fetch the cached beginning of a conversation from the replica that holds it, if a request
            comes here instead of returning there and fetching is quicker than computing.
        kv_path: which way KV cache goes within a site: over the `network` between servers, or over the `interconnect`
            in one server, where each board sends its part at the rate of its lines.
        kv_bandwidth_bytes_per_s: rate at which a replica sends and receives KV cache over the network within its site
            [bytes/s]; 50e9 is an assumption, one port of 400 Gbit/s. Between sites the network's `site_bytes_per_s`
            holds too.
        reserved_seats: class -> seats of each replica's batch that are kept for it. Other classes take a seat only
            while enough are left for the kept ones that are not taken. Llumnix (OSDI 2024, arXiv:2406.03243) keeps
            headroom for requests of high priority likewise.
        standby: lets replicas stand by; by default they are awake or asleep.
        cold: sleep is with the server switched off; by default it is suspended.
        variant: another model that replicas may load instead of their own; by default they serve their own alone.
    """

    site: Name
    gpu: Name
    model: Name
    row: Name | None = None
    tensor_parallel: PositiveInt = 1
    data_parallel: PositiveInt = 1
    expert_parallel: PositiveInt = 1
    pipeline_parallel: PositiveInt = 1
    interconnect: Name | None = None
    async_scheduling: bool = False
    needs_profile: bool = False
    replicas: PositiveInt = 1
    max_batch: PositiveInt = 256
    token_budget: TokenCount = 2048
    memory_utilisation: float = Field(default=0.9, gt=0, le=1)
    clock_latency_s: NonNegativeFloat = 0.0
    kv_tokens: PositiveInt | None = None
    kv_policy: Literal["reserve", "grow"] = "reserve"
    kv_watermark: float = Field(default=0.01, ge=0, lt=1)
    prefix_cache: bool = False
    warm_cache: bool = True
    prefix_block_tokens: TokenCount = 16
    host_cache_bytes: NonNegativeFloat = 0.0
    host_bandwidth_bytes_per_s: PositiveFloat = 50e9
    hand_off_to: Name | None = None
    decode_only: bool = False
    migrate_prefixes: bool = False
    kv_path: Literal["network", "interconnect"] = "network"
    kv_bandwidth_bytes_per_s: PositiveFloat = 50e9
    reserved_seats: dict[Name, PositiveInt] = Field(default_factory=dict)
    standby: StandbySpec | None = None
    cold: ColdSpec | None = None
    variant: VariantSpec | None = None

    later: ClassVar[tuple[str, ...]] = ("variant",)

    @model_validator(mode="after")
    def _every_decoding_sequence_fits_the_budget(self) -> Self:
        if self.max_batch > self.token_budget:
            raise ValueError(
                f"max_batch ({self.max_batch}) must not exceed token_budget ({self.token_budget}): "
                "every decoding sequence takes one token of each iteration"
            )
        return self

    @model_validator(mode="after")
    def _host_memory_belongs_to_a_prefix_cache(self) -> Self:
        if self.host_cache_bytes > 0 and not self.prefix_cache:
            raise ValueError(f"host_cache_bytes ({self.host_cache_bytes:g}) needs prefix_cache: true")
        return self

    @model_validator(mode="after")
    def _migrated_prefixes_belong_to_a_prefix_cache(self) -> Self:
        if self.migrate_prefixes and not self.prefix_cache:
            raise ValueError("migrate_prefixes needs prefix_cache: true")
        return self

    @model_validator(mode="after")
    def _who_hands_off_keeps_no_room_for_answers(self) -> Self:
        if self.hand_off_to is not None and not self.kv_grows:
            raise ValueError(
                f"hand_off_to ({self.hand_off_to!r}) needs kv_policy: grow; `reserve` would keep space for answers "
                "that are generated elsewhere"
            )
        if self.hand_off_to is not None and self.decode_only:
            raise ValueError(f"decode_only: a pool that hands off (to {self.hand_off_to!r}) must take requests")
        return self

    def is_behind(self, site: str, row: str, spec: RowSpec) -> bool:
        """Whether a row feeds the pool."""
        return self.site == site and (spec.whole_site or self.row == row)

    @property
    def gpus(self) -> int:
        """GPUs in the pool."""
        return self.parallelism.boards * self.replicas

    @property
    def parallelism(self) -> Parallelism:
        """How the GPUs of a replica share the model."""
        return Parallelism(self.tensor_parallel, self.data_parallel, self.expert_parallel, self.pipeline_parallel)

    @cached_property
    def gpu_spec(self) -> GpuSpec:
        """The catalogue entry of the pool's GPU."""
        return load_gpu(self.gpu, self.search_paths)

    @cached_property
    def interconnect_spec(self) -> InterconnectSpec:
        """The catalogue entry of what wires the pool's GPUs."""
        return load_interconnect(self.interconnect or self.gpu_spec.interconnect, self.search_paths)

    @cached_property
    def model_spec(self) -> ModelSpec:
        """The catalogue entry of the pool's model."""
        return load_model(self.model, self.search_paths)

    @cached_property
    def profile(self) -> ProfileSpec:
        """Measured iteration coefficients, or the roofline's where nobody measured."""
        return load_profile(
            self.model, self.gpu, self.parallelism, self.search_paths, self.interconnect, self.async_scheduling
        )

    @cached_property
    def coefficients(self) -> Coefficients:
        """What an iteration of one replica takes."""
        return Coefficients.of(self.gpu_spec, self.model_spec, self.profile)

    @cached_property
    def kv_capacity_tokens(self) -> int:
        """KV-cache capacity of one replica [tokens]."""
        if self.kv_tokens is not None:
            return self.kv_tokens
        return kv_capacity_tokens(
            self.gpu_spec,
            self.model_spec,
            self.parallelism,
            self.memory_utilisation,
            LargestBatch(self.token_budget, self.max_batch),
        )

    @cached_property
    def switched(self) -> PoolSpec:
        """The pool with its variant in the place of its own model; itself where it has none."""
        if self.variant is None:
            return self
        own = {name: getattr(self, name) for name in type(self).model_fields}
        with reading(self.search_paths):
            return PoolSpec(**{**own, "model": self.variant.model, "kv_tokens": None, "variant": None})

    @property
    def shortest_kv_tokens(self) -> int:
        """KV-cache capacity of a replica with its own model or the variant, the smaller of the two [tokens]."""
        return min(self.kv_capacity_tokens, self.switched.kv_capacity_tokens)

    @property
    def load_s(self) -> float:
        """Time to load the model on a running server [s]."""
        return self.model_spec.wake_s

    @property
    def wake_s(self) -> float:
        """From asleep to serving [s]."""
        return self.load_s + (0.0 if self.cold is None else self.cold.boot_s)

    @property
    def asleep_w(self) -> float:
        """Draw of a board that is asleep [W]."""
        return self.gpu_spec.asleep_w if self.cold is None else 0.0

    @property
    def resume_s(self) -> float:
        """From standing by to serving [s]; 0 where replicas cannot stand by."""
        if self.standby is None or self.standby.wake_s is not None:
            return 0.0 if self.standby is None else self.standby.wake_s or 0.0
        bytes_per_board = self.model_spec.weight_bytes / self.parallelism.boards
        return RESUME_FIXED_S + bytes_per_board / RESUME_BYTES_PER_S

    @property
    def standby_w(self) -> float:
        """Draw of a board that stands by [W]."""
        given = None if self.standby is None else self.standby.board_w
        return self.gpu_spec.asleep_w if given is None else given

    @property
    def kv_move_bytes_per_s(self) -> float:
        """Rate at which a replica sends and receives KV cache within its site [bytes/s]."""
        if self.kv_path == "interconnect":
            return self.parallelism.boards * self.interconnect_spec.send_bytes_per_s
        return self.kv_bandwidth_bytes_per_s

    @property
    def kv_grows(self) -> bool:
        """Whether a sequence takes space token by token."""
        return self.kv_policy == "grow"

    @property
    def watermark_tokens(self) -> int:
        """Tokens of KV cache that an admission leaves free while others run; 0 under `reserve`."""
        return int(self.kv_watermark * self.kv_capacity_tokens) if self.kv_grows else 0

    @property
    def host_cache_tokens(self) -> int:
        """What host memory holds of prefixes [tokens]."""
        return int(self.host_cache_bytes // self.model_spec.kv_bytes_per_token)

    @property
    def host_load_s(self) -> float:
        """Time to take one token back from host memory [s]."""
        return self.model_spec.kv_bytes_per_token / self.host_bandwidth_bytes_per_s
