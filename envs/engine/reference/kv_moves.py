"""KV cache that moves between replicas: from prefill to decode, and with conversations that go elsewhere.

A move takes the way between the two sites and the time of its bytes on the line. Simplified: moves do not slow each
other down, and what has been handed off leaves its sender at once.
"""

from __future__ import annotations

from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.layers.llm.iteration import prefill_pairs
from tokenfleet.envs.rows import Record


class KvMoves:
    """How long moves between pools take; counts the bytes that leave a site."""

    def __init__(self, arrays: FleetArrays, outcome: Record) -> None:
        """`outcome` is the one-row record that the fleet writes."""
        self.arrays = arrays
        self.outcome = outcome

    def time_s(self, sender: int, receiver: int, tokens: int) -> float:
        """Until `tokens` of context have come from a replica of one pool to one of another [s]."""
        a = self.arrays
        return float(a.kv_latency_s[sender, receiver]) + tokens * float(a.kv_token_s[sender, receiver])

    def beats_computing(self, sender: int, receiver: int, tokens: int) -> bool:
        """Whether the receiver, at full clock and with nothing else to do, would take longer to compute them."""
        a, pairs = self.arrays, prefill_pairs(tokens)
        compute_s = tokens * float(a.prompt_token_s[receiver]) + pairs * float(a.prefill_attention_s[receiver])
        return self.time_s(sender, receiver, tokens) < compute_s

    def send(self, sender: int, receiver: int, tokens: int) -> float:
        """Send `tokens` of context; returns how long it takes [s]."""
        site = self.arrays.site
        if site[sender] != site[receiver]:
            self.outcome["kv_sent_bytes"][0, site[sender]] += tokens * float(self.arrays.kv_bytes_per_token[sender])
        return self.time_s(sender, receiver, tokens)
