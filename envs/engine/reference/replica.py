"""One replica, iteration by iteration: continuous batching with chunked prefill, as vLLM does it.

At every iteration boundary: finished sequences leave, then the next batch is formed. Each decoding sequence takes one
token of the budget. The rest goes to prompts in order of arrival, and the last of these may be cut into a chunk. A
request joins when the queue (`queue.Queue`) has a seat for it and the KV cache has space. Clock and batch are fixed
while an iteration runs, and so is its power.

Space for a request is its whole prompt and answer, so that every request in the batch can finish; or, where KV grows,
its prompt alone and a watermark beside it. A sequence then takes one token of space with every token of its answer. If
the next iteration does not fit, the youngest sequence is preempted. The sequence gives up its space and goes to the
head of the queue; its prompt and its answer so far are computed again before it goes on. vLLM's scheduler does the
same, but takes space chunk by chunk instead of for a whole prompt at once.

A replica that hands off lets go of a request when its first token is there. A replica that takes over a request with
its context decodes the request as soon as there is a seat and space.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence

from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.engine.reference.activity import BoardEnergy, Events, Iteration, State
from tokenfleet.envs.engine.reference.limits import Limits
from tokenfleet.envs.engine.reference.prefix_cache import Calls, PrefixCache
from tokenfleet.envs.engine.reference.queue import Queue
from tokenfleet.envs.engine.reference.request import Request
from tokenfleet.envs.engine.reference.stopwatch import Stopwatch
from tokenfleet.envs.engine.ties import exceeds
from tokenfleet.envs.layers.llm.coefficients import Physics
from tokenfleet.envs.layers.llm.iteration import Batch, iteration_effort, prefill_pairs, window_pairs


class Replica:
    """A model instance with its queue, its batch and its electricity meter (boards only)."""

    def __init__(self, models: Sequence[Limits], idle_w: float, resting_w: Mapping[State, float], calls: Calls) -> None:
        """Begin awake and idle at time 0, with the first of the models; the other one, if any, is the variant."""
        self.models = models
        self.idle_w = idle_w
        self.resting_w = resting_w
        self.calls = calls
        self.load(variant=False)
        self.state = State.AWAKE
        self.ready_s = 0.0
        self.waiting = Queue(self.limits)
        self.prefilling: deque[Request] = deque()
        self.decoding: list[Request] = []
        self.iteration: Iteration | None = None
        self.metered_s = 0.0
        self.energy = BoardEnergy()
        self.events = Events()

    def load(self, variant: bool) -> None:
        """Hold another model, the variant or the own one, of which nothing is cached."""
        self.limits = self.models[variant]
        self.cache = PrefixCache(self.limits.prefix_block_tokens, self.limits.host_cache_tokens, self.calls)

    @property
    def on_variant(self) -> bool:
        """Whether it has the variant loaded, or would load it."""
        return self.limits.is_variant

    @property
    def is_idle(self) -> bool:
        """Nothing is running (an idle replica never has a queue)."""
        return self.iteration is None

    @property
    def requests(self) -> list[Request]:
        """Everything queued or running."""
        return [*self.waiting, *self.prefilling, *self.decoding]

    @property
    def unprefilled_tokens(self) -> int:
        """Tokens to compute for the requests whose prefill has not ended, chunks that are done included.

        What a cache saves is taken off once a request joins.
        """
        return sum(request.tokens_to_compute for request in (*self.waiting, *self.prefilling))

    @property
    def kv_used(self) -> int:
        """KV cache that running requests hold or have reserved, without what they share with others."""
        running = (*self.prefilling, *self.decoding)
        return sum(self._space_tokens(request) - request.shared_tokens for request in running)

    @property
    def running_tokens(self) -> int:
        """Tokens of context that running requests have: computed, found in the prefix cache, or generated."""
        prefilling = sum(request.prefilled_tokens for request in self.prefilling)
        return prefilling + sum(request.context_tokens for request in self.decoding)

    def take(self, request: Request, now_s: float, physics: Physics) -> None:
        """Queue a request; an idle replica starts at once."""
        self.waiting.add(request)
        if self.is_idle:
            self.meter(now_s)
            self._start_iteration(Stopwatch(now_s), physics)

    @property
    def next_boundary_s(self) -> float:
        """When the running iteration ends; inf without one."""
        return math.inf if self.iteration is None else self.iteration.end_s

    def pass_boundary(self, physics: Physics) -> None:
        """The running iteration ends and the next one starts."""
        assert self.iteration is not None
        end_s = self.iteration.end_s
        self.meter(end_s)
        self._finish_iteration(self.iteration)
        self._start_iteration(self.iteration.end, physics)

    def meter(self, until_s: float) -> None:
        """Add the energy of the boards up to `until_s`."""
        passed_s, self.metered_s = until_s - self.metered_s, until_s
        if self.iteration is not None:
            self.energy.busy_j += self.iteration.meter(until_s)
        elif self.state in self.resting_w:
            self.energy.asleep_j += self.resting_w[self.state] * passed_s
        elif self.state not in (State.DARK, State.FAILED):
            self.energy.idle_j += self.idle_w * passed_s

    def drop_everything(self) -> list[Request]:
        """Lose power: forget all requests and return them, decoding ones in the order of their rows."""
        self.decoding.sort(key=lambda request: request.index)
        lost = self.requests
        self.waiting.clear()
        self.prefilling.clear()
        self.decoding.clear()
        self.cache.clear()
        self.iteration = None
        return lost

    def take_energy(self) -> BoardEnergy:
        """What the boards have drawn since the last call."""
        energy, self.energy = self.energy, BoardEnergy()
        return energy

    def take_events(self) -> Events:
        """What has happened since the last call."""
        events, self.events = self.events, Events()
        return events

    def _finish_iteration(self, iteration: Iteration) -> None:
        for request in iteration.decoding:
            self._emit_token(request)
        finished = [request for request in iteration.decoding if request.generated_tokens == request.output_tokens]
        for request in sorted(finished, key=lambda request: request.index):
            self._complete(request, iteration.end_s)
        self.decoding = [request for request in self.decoding if request.generated_tokens < request.output_tokens]
        for request, chunk in iteration.chunks:
            request.prefilled_tokens += chunk
            self.events.counts["prefilled_tokens"] += chunk
            if request.prefilled_tokens == request.context_tokens:
                self.prefilling.remove(request)
                if request.generated_tokens == 0:
                    request.first_token_s = iteration.end_s
                    request.billed_hit_tokens = request.hit_tokens
                    self.events.first_tokens.append(request)
                self._emit_token(request)
                if request.generated_tokens == request.output_tokens:
                    self._complete(request, iteration.end_s)
                elif self.limits.hands_off:
                    self._hand_off(request, iteration.end_s)
                else:
                    self.decoding.append(request)

    def _emit_token(self, request: Request) -> None:
        request.generated_tokens += 1
        self.events.counts["generated_tokens"] += 1

    def _complete(self, request: Request, now_s: float) -> None:
        self.cache.leave(request, request.kv_tokens)
        self.events.completed.append((request, now_s))

    def _hand_off(self, request: Request, now_s: float) -> None:
        self.cache.leave(request, request.prompt_tokens)
        request.is_computed = True
        self.events.counts["handed_off_tokens"] += request.context_tokens
        self.events.handed_off.append((request, now_s))

    def _start_iteration(self, now: Stopwatch, physics: Physics) -> None:
        while self.kv_used + self.cache.pinned_tokens > self.limits.kv_tokens:
            self._preempt_youngest()
        self.cache.shrink(self.limits.kv_tokens - self.kv_used)
        chunks, host_tokens = self._prefill_chunks(now.now_s)
        if not self.decoding and not chunks:
            self.iteration = None
            return
        effort = iteration_effort(physics, self._batch(chunks))
        load_s = host_tokens * self.limits.host_load_s
        length_s, energy_j = effort.time_s + load_s, effort.energy_j + self.idle_w * load_s
        self.iteration = Iteration(now, now.after(length_s), length_s, energy_j, list(self.decoding), chunks)

    def _batch(self, chunks: list[tuple[Request, int]]) -> Batch[float]:
        """The work of an iteration with these chunks and a token of every decoding request."""
        context: float = sum(request.context_tokens for request in self.decoding)
        pairs: float = sum(prefill_pairs(chunk, request.prefilled_tokens) for request, chunk in chunks)
        window, ratio = self.limits.window_tokens, self.limits.window_ratio
        if window > 0:
            context += ratio * sum(min(request.context_tokens, window) for request in self.decoding)
            pairs += ratio * sum(float(window_pairs(window, c, r.prefilled_tokens)) for r, c in chunks)
        return Batch(len(self.decoding), context, sum(chunk for _, chunk in chunks), pairs)

    def _preempt_youngest(self) -> None:
        """A prompt in prefill is younger than all that decode."""
        running = self.running_tokens
        if self.prefilling:
            request = self.prefilling.pop()
            computed_tokens = request.prefilled_tokens
        else:
            request = self.decoding.pop()
            computed_tokens = request.context_tokens - 1  # all but the token that it generated last
        self.events.counts["preempted_tokens"] += running - self.running_tokens
        self.cache.leave(request, computed_tokens)
        request.prefilled_tokens = 0
        self.waiting.put_back(request)
        self.events.counts["preemptions"] += 1

    def _prefill_chunks(self, now_s: float) -> tuple[list[tuple[Request, int]], int]:
        """Hand out the budget that decoding leaves: started prompts first, then the queue.

        Returns:
            The chunks, and the tokens that the host's memory gives back to joining requests.
        """
        budget, host_tokens = self.limits.token_budget - len(self.decoding), 0
        chunks: list[tuple[Request, int]] = []
        for request in self.prefilling:
            chunk = min(budget, request.context_tokens - request.prefilled_tokens)
            if chunk > 0:
                chunks.append((request, chunk))
                budget -= chunk
        while budget > 0 and (joining := self._next_to_join()) is not None:
            request = joining
            self.waiting.remove(request)
            if request.is_computed:
                self._take_over(request)
                budget -= 1
                continue
            patience_s = float(self.limits.patience_s[request.class_id])
            if request.generated_tokens == 0 and exceeds(now_s - request.arrival_s, patience_s):
                self.events.expired.append((request, now_s))
                continue
            found = self.cache.join(request)
            request.prefilled_tokens = found.tokens
            host_tokens += found.host_tokens
            self.events.counts["prefix_hit_tokens"] += found.tokens
            self.events.counts["host_hit_tokens"] += found.host_tokens
            self.events.counts["migrated_tokens"] += found.migrated_tokens
            self.prefilling.append(request)
            self.cache.shrink(self.limits.kv_tokens - self.kv_used)
            chunk = min(budget, request.context_tokens - request.prefilled_tokens)
            chunks.append((request, chunk))
            budget -= chunk
        return chunks, host_tokens

    def _take_over(self, request: Request) -> None:
        """A request whose context has come along decodes from the next iteration on; its memory is as any other's."""
        self.cache.join(request)
        request.is_computed = False
        self.events.counts["taken_over_tokens"] += request.context_tokens
        self.decoding.append(request)
        self.cache.shrink(self.limits.kv_tokens - self.kv_used)

    def _next_to_join(self) -> Request | None:
        """The first in the queue for which there is a seat, if the KV cache has space for it."""
        request = self.waiting.first_with_seat([request.class_id for request in (*self.decoding, *self.prefilling)])
        return request if request is not None and self._fits(request) else None

    def _fits(self, request: Request) -> bool:
        watermark = self.limits.watermark_tokens if self.decoding or self.prefilling else 0
        own = self._space_tokens(request) - self.cache.shared_tokens(request)
        needed = self.kv_used + own + self.cache.pinned_with(request) + watermark
        return needed <= self.limits.kv_tokens

    def _space_tokens(self, request: Request) -> int:
        return request.context_tokens if self.limits.kv_grows else request.kv_tokens


def make_replicas(a: FleetArrays, p: int, calls: Calls) -> list[Replica]:
    """The replicas of pool `p`."""
    models = [Limits.of(a, p, is_variant) for is_variant in (False, True)[: 1 + (a.variant[p] >= 0)]]
    resting_w = {State.ASLEEP: float(a.asleep_w[p]), State.STANDBY: float(a.standby_w[p])}
    return [Replica(models, float(a.idle_w[p]), resting_w, calls) for _ in range(a.replicas[p])]
