"""NVIDIA Dynamo's KV router."""

from __future__ import annotations

from tokenfleet.envs.rows import Record
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.spec import NonNegativeFloat, PositiveFloat
from tokenfleet.policies.heuristics.parts import Float64Array
from tokenfleet.policies.heuristics.virtual import PoolLoad, VirtualRequests


class DynamoKvRouter(VirtualRequests):
    """To the worker with the fewest blocks to compute and to hold: prefill left, plus context held.

    ai-dynamo/dynamo, `lib/kv-router/src/scheduling/selector.rs` [code]: `logit = prefill_scale max(0, blocks of
    prefill - cached blocks) + blocks being decoded`, the smallest wins. A pool's mean replica stands for a worker.
    Which request is cached where is not observed here; the affinity `even`, one token of queue for each cached token,
    stands for the credit of cached blocks. The source's weight of active requests and its decay of overlap are 0 by
    default [code], and left out.

    Args:
        scenario: of the fleet.
        prefill_scale: 1.0 [code].
        decode_scale: of the blocks being decoded; 1 [code].
        block_tokens: tokens of a block (ours); it cancels out.
    """

    def __init__(
        self,
        scenario: Scenario,
        prefill_scale: NonNegativeFloat = 1.0,
        decode_scale: NonNegativeFloat = 1.0,
        block_tokens: PositiveFloat = 16.0,
    ) -> None:
        super().__init__(scenario)
        self._prefill, self._decode, self._block = prefill_scale, decode_scale, block_tokens

    def cost(self, view: Record, load: PoolLoad) -> Float64Array:
        """Blocks."""
        prefill = load.prompt_tokens[:, None, :] / load.awake[:, None, :] + self.prompt_tokens[:, None]
        decode = (load.context_tokens / load.awake)[:, None, :]
        blocks: Float64Array = (self._prefill * prefill + self._decode * decode) / self._block
        return blocks
