"""Layer 4, parallelism: how the boards of a replica share a model.

Tensor parallelism splits every matrix over some boards. Data parallelism of attention puts several such groups beside
each other: each holds all of attention, all shared experts and the KV cache of its own sequences. Routed experts are
either sliced over all boards, or shared out among them, each expert whole on one board (expert parallelism). A pipeline
has several such sets of boards as its stages, and gives each stage a share of the layers.
"""

from __future__ import annotations

from typing import NamedTuple

from tokenfleet.envs.spec import SpecError


class Parallelism(NamedTuple):
    """How the boards of a replica share a model.

    Attributes:
        tensor: boards that split every matrix of attention and of what is not routed.
        data: groups of such boards, each with sequences of its own.
        expert: boards that routed experts are shared out among, all of a stage or one; at 1 every expert is sliced.
        pipeline: stages.
    """

    tensor: int = 1
    data: int = 1
    expert: int = 1
    pipeline: int = 1

    @classmethod
    def of(cls, given: Parallelism | int) -> Parallelism:
        """Itself, or tensor parallelism alone over so many boards.

        >>> Parallelism.of(8)
        Parallelism(tensor=8, data=1, expert=1, pipeline=1)
        """
        return given if isinstance(given, Parallelism) else cls(tensor=given)

    @property
    def boards(self) -> int:
        """Boards of a replica.

        >>> Parallelism(tensor=2, data=4, expert=8).boards
        8
        """
        return self.tensor * self.data * self.pipeline

    @property
    def stage(self) -> Parallelism:
        """How the boards of one stage share its layers."""
        return self._replace(pipeline=1)

    @property
    def label(self) -> str:
        """As the names of profiles have it.

        >>> Parallelism(tensor=4).label, Parallelism(data=8, expert=8).label
        ('tp4', 'tp1_dp8_ep8')
        """
        degrees = (("tp", self.tensor), ("dp", self.data), ("ep", self.expert), ("pp", self.pipeline))
        return "_".join(f"{key}{value}" for key, value in degrees if value > 1 or key == "tp")

    def check(self, model: str, attention_heads: int, experts: int, layers: int) -> None:
        """Refuse degrees that do not suit a model.

        Raises:
            SpecError: the first degree that is wrong.
        """
        problem = self._problem(model, attention_heads, experts, layers)
        if problem:
            raise SpecError([problem])

    def _problem(self, model: str, attention_heads: int, experts: int, layers: int) -> str:
        if self.tensor < 1 or attention_heads % self.tensor:
            return f"tensor_parallel: must divide {model}'s {attention_heads} heads (got {self.tensor})"
        if self.data > 1 and experts == 1:
            return f"data_parallel: {model} is dense; write replicas: {self.data} instead (got {self.data})"
        if self.expert > 1 and experts == 1:
            return f"expert_parallel: {model} is dense; leave it out (got {self.expert})"
        if self.expert not in (1, self.stage.boards):
            whole = f"1 or tensor_parallel * data_parallel, {self.stage.boards}"
            return f"expert_parallel: must be {whole} (got {self.expert})"
        if self.expert > experts:
            return f"expert_parallel: {model} has {experts} experts a layer (got {self.expert})"
        if not 1 <= self.pipeline <= layers:
            return f"pipeline_parallel: {model} has {layers} layers (got {self.pipeline})"
        return ""
