"""The way of requests to their replicas: through the network, with the KV cache that comes along."""

from __future__ import annotations

from tokenfleet.envs.engine import RequestStatus
from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.engine.reference.clients import Clients
from tokenfleet.envs.engine.reference.endings import Endings
from tokenfleet.envs.engine.reference.kv_moves import KvMoves
from tokenfleet.envs.engine.reference.request import Request
from tokenfleet.envs.engine.reference.router import Router


class Journeys:
    """Sends requests to pools, and keeps those that are under way."""

    def __init__(
        self, arrays: FleetArrays, router: Router, clients: Clients, endings: Endings, kv_moves: KvMoves
    ) -> None:
        """Begin with nobody under way."""
        self.arrays = arrays
        self.router = router
        self.clients = clients
        self.endings = endings
        self.kv_moves = kv_moves
        self.travelling: dict[int, Request] = {}

    def send(self, request: Request, now_s: float) -> int | None:
        """Choose a pool and send the request there; the pool, if the request is there at once."""
        p = self.router.choose_pool(request)
        if p is None:
            self.endings.fail(request, now_s, RequestStatus.REFUSED)
            return None
        request.network_s = self._network_s(request.index, p)
        sent_s = request.network_s + request.prompt_tokens * self._upload_token_s(request.index)
        way_s = max(sent_s, self._fetch_prefix(request, p))
        if way_s > 0.0:
            self._travel(request, p, now_s + way_s)
            return None
        return p

    def hand_off(self, request: Request, p: int, now_s: float) -> None:
        """Pool `p` has prefilled a request that another pool decodes: its KV cache goes there."""
        q = int(self.arrays.hand_off_to[p])
        request.preferred_replica = -1
        request.network_s = self._network_s(request.index, q)
        self._travel(request, q, now_s + self.kv_moves.send(p, q, request.prompt_tokens))

    def end(self, index: int) -> Request:
        """A request that was under way has arrived."""
        return self.travelling.pop(index)

    def _travel(self, request: Request, p: int, arrival_s: float) -> None:
        self.travelling[request.index] = request
        self.clients.travel(request.index, p, arrival_s)

    def _fetch_prefix(self, request: Request, p: int) -> float:
        """Fetch the prefix of a conversation from the replica that holds it, if that pays; the time it takes [s]."""
        holder = self.router.holder(request)
        if holder < 0 or request.preferred_replica >= 0 or not self.arrays.migrates_prefixes[p]:
            return 0.0
        tokens = self.router.replicas[holder].cache.find(request).tokens
        if not self.kv_moves.beats_computing(self.router.pool_of[holder], p, tokens):
            return 0.0
        request.migrated_tokens = tokens
        return self.kv_moves.send(self.router.pool_of[holder], p, tokens)

    def _network_s(self, index: int, p: int) -> float:
        return float(self.arrays.network_s[self.clients.table.region_id[index], self.arrays.site[p]])

    def _upload_token_s(self, index: int) -> float:
        return float(self.arrays.upload_token_s[self.clients.table.region_id[index]])
