"""The prefix cache of a replica: what it still holds of contexts that it has computed.

An *entry* is the context of one conversation, without the beginning that its whole group shares, or that beginning. A
running request refers to its group's entry, whose memory counts once however many refer to it, and takes over its
conversation's. When it completes, its whole context becomes its conversation's entry. Memory that no running request
needs keeps entries; when it is needed, the least recently used entry that nobody refers to loses blocks from its end,
as vLLM frees them. A group's entry is used whenever one of its conversations is, so it outlives them.

Simplified: a group's beginning is found from the first completion on, not from its first prefill; a preempted request
keeps nothing; a request without conversation and group leaves nothing, though its blocks would take part in the order.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenfleet.envs.engine.reference.replica import Request

Key = tuple[bool, int]


@dataclass
class Entry:
    """Cached tokens, in whole blocks.

    Attributes:
        base: tokens of the group's beginning that stand before them.
        tokens: how many they are.
        users: running requests that refer to them.
    """

    base: int
    tokens: int
    users: int = 0


class PrefixCache:
    """Entries in order of use, the least recent first."""

    def __init__(self, block_tokens: int) -> None:
        """Begin empty; blocks of 0 tokens mean that nothing is ever kept."""
        self.block_tokens = block_tokens
        self.entries: OrderedDict[Key, Entry] = OrderedDict()

    @property
    def tokens(self) -> int:
        """Memory of all entries."""
        return sum(entry.tokens for entry in self.entries.values())

    @property
    def pinned_tokens(self) -> int:
        """Memory of the entries that running requests refer to."""
        return sum(entry.tokens for entry in self.entries.values() if entry.users)

    def find(self, request: Request) -> tuple[int, int]:
        """Leading prompt tokens that need not be computed, and how many of them stand in memory shared with others."""
        if not self.block_tokens:
            return 0, 0
        group, own = self.entries.get(_group(request)), self.entries.get(_conversation(request))
        common = group.tokens if group else 0
        mine = own.base + own.tokens if own and own.base <= common else 0
        found = max(min(common, request.group_tokens), min(mine, request.reusable_tokens))
        hit = self._whole(min(found, request.prompt_tokens - 1))
        return hit, common if common <= hit else 0

    def join(self, request: Request) -> None:
        """A request begins to run: it takes what is cached of its prompt."""
        request.hit_tokens, request.shared_tokens = self.find(request)
        self.entries.pop(_conversation(request), None)
        group = self.entries.get(_group(request))
        if group:
            group.users += request.shared_tokens > 0
            self.entries.move_to_end(_group(request))

    def leave(self, request: Request) -> None:
        """A request gives up its memory."""
        if request.shared_tokens:
            self.entries[_group(request)].users -= 1
        request.hit_tokens = request.shared_tokens = 0

    def keep(self, request: Request) -> None:
        """A request has completed: its context stays."""
        self.leave(request)
        if not self.block_tokens:
            return
        whole, base = self._whole(request.kv_tokens), 0
        if request.group_id >= 0:
            base = min(self._whole(request.group_tokens), whole)
            group = self.entries.setdefault(_group(request), Entry(0, 0))
            group.tokens = max(group.tokens, base)
        if request.conversation_id >= 0 and whole > base:
            self.entries.pop(_conversation(request), None)
            self.entries[_conversation(request)] = Entry(base, whole - base)
        if request.group_id >= 0:
            self.entries.move_to_end(_group(request))

    def shrink(self, available_tokens: int) -> None:
        """Free blocks until all entries fit."""
        excess = self.tokens - available_tokens
        for key in [key for key, entry in self.entries.items() if not entry.users] if excess > 0 else []:
            if excess <= 0:
                return
            freed = min(-(-excess // self.block_tokens) * self.block_tokens, self.entries[key].tokens)
            self.entries[key].tokens -= freed
            excess -= freed
            if not self.entries[key].tokens:
                del self.entries[key]

    def clear(self) -> None:
        """Lose everything."""
        self.entries.clear()

    def pinned_with(self, request: Request, shared_tokens: int) -> int:
        """Memory that running requests would refer to if `request` ran too."""
        group = self.entries.get(_group(request))
        return self.pinned_tokens + (group.tokens if group and shared_tokens and not group.users else 0)

    def _whole(self, tokens: int) -> int:
        return tokens - tokens % self.block_tokens


def _conversation(request: Request) -> Key:
    return False, request.conversation_id


def _group(request: Request) -> Key:
    return True, request.group_id
