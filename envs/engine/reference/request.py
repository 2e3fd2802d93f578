"""One request in flight, and what has become of it so far."""

from __future__ import annotations

from dataclasses import dataclass

from tokenfleet.envs.traces import RequestTable


@dataclass
class Request:
    """One attempt of a client."""

    index: int
    class_id: int
    arrival_s: float  # when this attempt was made
    prompt_tokens: int
    output_tokens: int
    conversation_id: int = -1
    reusable_tokens: int = 0
    group_id: int = -1
    group_tokens: int = 0
    network_s: float = 0.0  # one way between client and site
    preferred_replica: int = -1  # where its conversation is, if it returns there
    migrated_tokens: int = 0  # of its context, that another replica has sent along
    is_computed: bool = False  # its context has come from a pool that prefills
    hit_tokens: int = 0  # of its context, found in the prefix cache when it joined
    billed_hit_tokens: int = 0  # the same when its first token came, which is what its client pays for
    shared_tokens: int = 0  # of its context, in memory that others refer to as well
    prefilled_tokens: int = 0
    generated_tokens: int = 0
    first_token_s: float = float("nan")

    @classmethod
    def of(cls, table: RequestTable, index: int, now_s: float) -> Request:
        """A new attempt at row `index` of the table."""
        return cls(
            index,
            int(table.class_id[index]),
            now_s,
            int(table.prompt_tokens[index]),
            int(table.output_tokens[index]),
            conversation_id=int(table.conversation_id[index]),
            reusable_tokens=int(table.reusable_tokens[index]),
            group_id=int(table.group_id[index]),
            group_tokens=int(table.group_tokens[index]),
        )

    @property
    def kv_tokens(self) -> int:
        """KV cache that its whole prompt and answer take."""
        return self.prompt_tokens + self.output_tokens

    @property
    def context_tokens(self) -> int:
        """Tokens that prefill has to compute, or that the next decode step attends to."""
        return self.prompt_tokens + self.generated_tokens

    @property
    def tokens_to_compute(self) -> int:
        """Tokens of its context that no cache held, computed or not; 0 if its context came along."""
        return 0 if self.is_computed else self.context_tokens - self.hit_tokens
