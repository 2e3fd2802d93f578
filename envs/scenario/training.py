"""Training jobs beside the serving pools of a site: flexible load that earns by the board-hour and can be paused."""

from __future__ import annotations

from functools import cached_property

from tokenfleet.envs.catalog import CatalogSpec
from tokenfleet.envs.layers.facility import FacilitySpec, it_nameplate_w
from tokenfleet.envs.layers.gpu import GpuSpec, load_gpu
from tokenfleet.envs.spec import Name, NonNegativeFloat, PositiveFloat, PositiveFraction, PositiveInt


class TrainingSpec(CatalogSpec):
    """Equal jobs on boards of their own, fed from the site's grid connection past all rows.

    A job that is to pause writes a checkpoint first. A job that loses its power loses the work since its last
    checkpoint. Under the brake, or in a room that is too warm, a job's speed, and its draw above idle, fall in
    proportion to its clock.

    Attributes:
        gpu: its name in the catalogue.
        jobs: how many there are.
        boards_per_job: boards that work on one.
        usd_per_board_hour: earned for a board-hour of work that is not lost; by default the board's rent, or 0.
        power_fraction: share of its TDP that a board draws while it trains; 0.9 is an assumption: training stands near
            the TDP throughout, with dips at synchronisation (POLCA, arXiv:2308.12908).
        checkpoint_interval_s: work between two checkpoints [s]; 600 s is an assumption.
        checkpoint_s: how long a checkpoint holds up the work [s]; for a 7B model 6.3 s with PyTorch's asynchronous
            checkpoints, 148.8 s without (https://pytorch.org/blog/reducing-checkpointing-times).
        resume_s: from paused to working: processes, and the checkpoint read back [s]; 60 s is an assumption.
    """

    gpu: Name
    jobs: PositiveInt = 1
    boards_per_job: PositiveInt = 8
    usd_per_board_hour: NonNegativeFloat | None = None
    power_fraction: PositiveFraction = 0.9
    checkpoint_interval_s: PositiveFloat = 600.0
    checkpoint_s: NonNegativeFloat = 6.3
    resume_s: NonNegativeFloat = 60.0

    @cached_property
    def gpu_spec(self) -> GpuSpec:
        """The catalogue entry of the boards."""
        return load_gpu(self.gpu, self.search_paths)

    @property
    def boards(self) -> int:
        """Boards of all jobs."""
        return self.jobs * self.boards_per_job

    @property
    def usd_per_s(self) -> float:
        """Earnings of a job that works [USD/s]."""
        listed = self.gpu_spec.rental_usd_per_hour or 0.0
        rate = listed if self.usd_per_board_hour is None else self.usd_per_board_hour
        return self.boards_per_job * rate / 3600.0

    def busy_w(self, facility: FacilitySpec) -> float:
        """IT power of a job that works [W]."""
        board_w = max(self.power_fraction * self.gpu_spec.tdp_w, self.gpu_spec.idle_w)
        return it_nameplate_w(facility, [board_w] * self.boards_per_job)

    def idle_w(self, facility: FacilitySpec) -> float:
        """IT power of a job that is paused [W]."""
        return it_nameplate_w(facility, [self.gpu_spec.idle_w] * self.boards_per_job)
