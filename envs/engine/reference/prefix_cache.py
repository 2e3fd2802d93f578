"""The prefix cache of a replica: what is left of computed contexts.

An *entry* is the context of one conversation without the beginning that its whole group shares. Such a beginning is an
entry too. A running request refers to its group's entry, whose memory counts once however many requests refer to it.
The request takes over the entry of its conversation. When the request gives up its space, completed or preempted, its
computed tokens are its conversation's entry again. Memory that no running request needs keeps entries. When a request
needs this memory, the least recently used entry to which no request refers loses blocks from its end, as vLLM frees
them. A group's entry is used whenever one of its conversations is, so the entry outlives them. It can be found as soon
as the first request that computes it has joined, for later requests run later. A request without a conversation leaves
its context too: no other request can find it, yet it takes memory until its turn comes.

A replica may have host memory besides. Blocks that the GPUs give up go there, and the least recently used entry there
loses its end in turn. A request that finds tokens there takes them back, and its first iteration takes longer.

Simplified: copies to the host cost nothing (assumption: they run beside the iterations), and tokens that a conversation
does not take over when it goes on are forgotten at once, not in their turn.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import NamedTuple

from tokenfleet.envs.engine.reference.request import Request
from tokenfleet.envs.traces import RequestTable

Key = tuple[bool, int]
NOBODY = -1


class Calls:
    """The order of each conversation's calls, and the tokens that they have in common."""

    def __init__(self, table: RequestTable) -> None:
        """Link each row to the row before it of the same conversation."""
        self.reusable_tokens = table.reusable_tokens.tolist()
        self.previous = []
        last: dict[int, int] = {}
        for row, conversation in enumerate(table.conversation_id.tolist()):
            self.previous.append(last.get(conversation, NOBODY) if conversation >= 0 else NOBODY)
            last[conversation] = row

    def common_tokens(self, row: int, earlier: int) -> float:
        """Leading tokens of call `row` that equal the context of call `earlier`, over every call between them."""
        common = float("inf")
        while row != earlier:
            if row == NOBODY:
                return 0
            common = min(common, self.reusable_tokens[row])
            row = self.previous[row]
        return common


@dataclass
class CachedTokens:
    """Tokens in one memory, in whole blocks.

    Attributes:
        row: the request that computed them.
        base: tokens of the group's beginning that stand before them.
        tokens: how many they are.
        users: running requests that refer to them.
    """

    row: int
    base: int
    tokens: int
    users: int = 0


class Tier:
    """Entries in one memory, in order of use, the least recent first."""

    def __init__(self, block_tokens: int) -> None:
        """Begin empty."""
        self.block_tokens = block_tokens
        self.entries: OrderedDict[Key, CachedTokens] = OrderedDict()

    @property
    def tokens(self) -> int:
        """Memory of all entries."""
        return sum(entry.tokens for entry in self.entries.values())

    def tokens_of(self, key: Key) -> int:
        """Memory of one entry; 0 without it."""
        entry = self.entries.get(key)
        return entry.tokens if entry else 0

    def forget(self, key: Key) -> None:
        """Remove an entry, if there is one."""
        self.entries.pop(key, None)

    def shrink(self, available_tokens: int) -> list[tuple[Key, CachedTokens]]:
        """Free blocks from the ends of entries until all fit; returns what was freed."""
        excess = self.tokens - available_tokens
        freed = []
        for key in [key for key, entry in self.entries.items() if not entry.users] if excess > 0 else []:
            if excess <= 0:
                break
            entry = self.entries[key]
            tokens = min(-(-excess // self.block_tokens) * self.block_tokens, entry.tokens)
            freed.append((key, replace(entry, tokens=tokens)))
            entry.tokens -= tokens
            excess -= tokens
            if not entry.tokens:
                self.forget(key)
        return freed


class Found(NamedTuple):
    """Leading tokens of a request that need not be computed.

    Attributes:
        tokens: how many they are.
        host_tokens: of them, what the host has to give back.
        migrated_tokens: of them, what is not here but has been sent along from another replica.
    """

    tokens: int
    host_tokens: int = 0
    migrated_tokens: int = 0


class PrefixCache:
    """The entries on a replica's GPUs and in its host memory."""

    def __init__(self, block_tokens: int, host_tokens: int, calls: Calls) -> None:
        """Begin empty; blocks of 0 tokens mean that nothing is ever kept."""
        self.block_tokens = block_tokens
        self.host_tokens = host_tokens
        self.calls = calls
        self.clear()

    def clear(self) -> None:
        """Lose everything."""
        self.gpu = Tier(self.block_tokens)
        self.host = Tier(self.block_tokens)

    @property
    def tokens(self) -> int:
        """Memory of all entries on the GPUs."""
        return self.gpu.tokens

    @property
    def pinned_tokens(self) -> int:
        """Memory of the entries that running requests refer to."""
        return sum(entry.tokens for entry in self.gpu.entries.values() if entry.users)

    def find(self, request: Request) -> Found:
        """What is cached of a request's context, from its first token on."""
        if not self.block_tokens:
            return Found(0)
        key, own = _group(request), _own(request)
        near = self.gpu.tokens_of(key)
        common = near + self.host.tokens_of(key)
        entry = self.gpu.entries.get(own) or self.host.entries.get(own)
        mine, own_near = 0.0, common
        if entry and entry.base <= common:
            own_near = max(common, entry.base + self.gpu.tokens_of(own))
            mine = entry.base + self.gpu.tokens_of(own) + self.host.tokens_of(own)
            mine = min(mine, self.calls.common_tokens(request.index, entry.row))
        found = max(min(common, request.group_tokens), int(mine))
        hit = self._whole(min(found, request.context_tokens - 1))
        sent = min(request.migrated_tokens, request.context_tokens - 1)
        if sent > hit:
            return Found(sent, migrated_tokens=sent - hit)
        return Found(hit, max(min(hit, common) - near, 0) + max(hit - own_near, 0))

    def join(self, request: Request) -> Found:
        """A request begins to run: it takes what is cached of its context."""
        found = self.find(request)
        self._forget(_own(request))
        request.hit_tokens = found.tokens
        request.migrated_tokens = 0
        request.shared_tokens = self.shared_tokens(request)
        if request.shared_tokens:
            group = self.gpu.entries.setdefault(_group(request), CachedTokens(request.index, 0, 0))
            group.tokens = max(group.tokens if group.users else 0, request.shared_tokens)
            group.users += 1
            self.gpu.entries.move_to_end(_group(request))
            self.host.forget(_group(request))
        return found

    def leave(self, request: Request, computed_tokens: int) -> None:
        """A request gives up its space; so much of its context has been computed, and stays."""
        if not self.block_tokens:
            return
        whole, base = self._whole(computed_tokens), request.shared_tokens
        if whole > base:
            self._forget(_own(request))
            self.gpu.entries[_own(request)] = CachedTokens(request.index, base, whole - base)
        if base:
            self._leave_group(request, whole)
        request.hit_tokens = request.shared_tokens = 0

    def remember(self, request: Request) -> None:
        """Another call has left what the request can reuse of its conversation's context."""
        self.join(request)
        self.leave(request, request.reusable_tokens)

    def shrink(self, available_tokens: int) -> None:
        """Free memory of the GPUs until all entries fit; what is freed goes to the host."""
        for key, freed in self.gpu.shrink(available_tokens):
            freed.tokens += self.host.tokens_of(key)
            self.host.forget(key)
            self.host.entries[key] = freed
            self.host.shrink(self.host_tokens)

    def shared_tokens(self, request: Request) -> int:
        """Tokens of a running request that stand in its group's entry."""
        return self._whole(request.group_tokens) if self.block_tokens and request.group_id >= 0 else 0

    def pinned_with(self, request: Request) -> int:
        """Memory of the entries that running requests would refer to if `request` ran too."""
        group = self.gpu.entries.get(_group(request))
        pinned = group.tokens if group and group.users else 0
        return self.pinned_tokens + max(self.shared_tokens(request) - pinned, 0)

    def _leave_group(self, request: Request, computed_tokens: int) -> None:
        """One user less; if it was the only one, blocks that it should have computed and has not go."""
        group = self.gpu.entries[_group(request)]
        group.users -= 1
        self.gpu.entries.move_to_end(_group(request))
        if not group.users and computed_tokens < request.shared_tokens:
            group.tokens = computed_tokens
        if not group.tokens:
            self.gpu.forget(_group(request))

    def _forget(self, key: Key) -> None:
        self.gpu.forget(key)
        self.host.forget(key)

    def _whole(self, tokens: int) -> int:
        return tokens - tokens % self.block_tokens


def _own(request: Request) -> Key:
    return False, request.conversation_id if request.conversation_id >= 0 else -2 - request.index


def _group(request: Request) -> Key:
    return True, request.group_id
