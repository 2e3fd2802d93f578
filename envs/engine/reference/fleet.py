"""One fleet through time: what happens in a tick, and in which order.

A tick reads as the specification of both engines:

1. Replicas fail or are repaired; sites whose restart is due boot; replicas wake, drain or fall asleep as the controls
   ask.
2. Everything within the tick happens in order of time. An iteration ends and the next one starts. A held request is
   released. A client makes a call, and the call is admitted or refused; it goes to a pool by the shares, or back to the
   replica with its conversation. A request reaches its pool, together with its KV cache if any, and joins the replica
   there with the least work. An iteration that crosses the end of the tick keeps clock and power until it is done.
3. Clients react at once to requests that have completed, failed or expired: the calls that waited for a request follow,
   or the client tries again.
4. The meters are read; brake and breaker answer from the next tick on. Overdue requests are noted.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from copy import deepcopy

import numpy as np

from tokenfleet.envs.engine import RequestStatus
from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.engine.reference.activity import State
from tokenfleet.envs.engine.reference.admission import Admission
from tokenfleet.envs.engine.reference.agreements import Agreements
from tokenfleet.envs.engine.reference.billing import Billing
from tokenfleet.envs.engine.reference.clients import CALLS, Clients
from tokenfleet.envs.engine.reference.clocks import Clocks
from tokenfleet.envs.engine.reference.earliest import Earliest
from tokenfleet.envs.engine.reference.endings import Endings
from tokenfleet.envs.engine.reference.journeys import Journeys
from tokenfleet.envs.engine.reference.kv_moves import KvMoves
from tokenfleet.envs.engine.reference.overdue import Overdue
from tokenfleet.envs.engine.reference.pool_meter import write_energy
from tokenfleet.envs.engine.reference.power_delivery import PowerDelivery
from tokenfleet.envs.engine.reference.power_states import PowerStates
from tokenfleet.envs.engine.reference.prefix_cache import Calls
from tokenfleet.envs.engine.reference.replica import make_replicas
from tokenfleet.envs.engine.reference.request import Request
from tokenfleet.envs.engine.reference.router import Router
from tokenfleet.envs.engine.reference.view import write_classes, write_pool
from tokenfleet.envs.episode import Episode
from tokenfleet.envs.layers.llm.coefficients import Physics
from tokenfleet.envs.layers.scheduling import Controls
from tokenfleet.envs.rows import Record


class Fleet:
    """All sites, pools and replicas of one environment."""

    def __init__(self, arrays: FleetArrays, episode: Episode, view: Record, outcome: Record) -> None:
        """Begin with everything awake and idle; `view` and `outcome` are one-row records that it writes."""
        self.arrays = arrays
        self.episode = episode
        self.view = view
        self.outcome = outcome
        self.tick = 0
        self.past: tuple[Controls, ...] = ()
        self.next_request = 0
        self.clients = Clients(arrays, episode.requests)
        self.billing = Billing(arrays, episode.requests)
        self.overdue = Overdue(arrays, self.clients, self.billing, outcome)
        self.agreements = Agreements(arrays)
        self.endings = Endings(arrays, self.clients, self.billing, self.overdue, outcome)
        self.log = self.endings.log
        self.admission = Admission(arrays)
        self.power = PowerDelivery(arrays, episode)
        self.calls = Calls(episode.requests)
        self.pools = [make_replicas(arrays, p, self.calls) for p in range(arrays.num_pools)]
        self.switches = [PowerStates(arrays, p, pool) for p, pool in enumerate(self.pools)]
        self.router = Router(arrays, self.pools)
        self.replicas, self.pool_of = self.router.replicas, self.router.pool_of
        self.journeys = Journeys(arrays, self.router, self.clients, self.endings, KvMoves(arrays, outcome))
        self.clocks = Clocks(arrays, episode)
        self.failures = deque(zip(*episode.failures.columns(), strict=True))
        self.earliest = Earliest(self.replicas)
        self.running_tokens = [0] * arrays.num_pools
        self._load_contexts()
        outcome.rows[:] = 0.0
        self._write_view()

    def copy(self, view: Record, outcome: Record) -> Fleet:
        """A fleet in the same state as this one, in records of its own; what never changes is shared."""
        view.rows[:], outcome.rows[:] = self.view.rows, self.outcome.rows
        unchanging = (self.arrays, self.episode, self.episode.requests, self.calls, self.clocks.coefficients, self.past)
        shared = {id(part): part for part in unchanging}
        fleet: Fleet = deepcopy(self, {**shared, id(self.view): view, id(self.outcome): outcome})
        return fleet

    def _load_contexts(self) -> None:
        """What calls before the episode have left in prefix caches."""
        for index, holder in zip(*self.episode.contexts.columns(), strict=True):
            request = Request.of(self.episode.requests, index, 0.0)
            self.replicas[holder].cache.remember(request)
            self.router.home_replica[request.conversation_id] = holder
        for replica in self.replicas:
            replica.cache.shrink(replica.limits.kv_tokens)

    def step(self, controls: Controls) -> None:
        """Advance by one tick under controls of this fleet alone, none left out."""
        given = controls.given()
        now = {name: values[0] for name, values in given.items()}
        self.past = (*self.past, Controls(**{name: values.copy() for name, values in given.items()}))
        start_s = self.tick * self.arrays.tick_s
        end_s = (self.tick + 1) * self.arrays.tick_s
        self.outcome.rows[:] = 0.0
        self._break_and_repair(start_s)
        self._apply_power_states(start_s, now)
        self._apply_clocks(now["clock_fraction"])
        self.router.set_shares(now["route_share"], now["prefix_affinity"])
        self.admission.set_rates(now["admit_rate_rps"])
        self.billing.set_prices(now["token_price_factor"])
        self._run(start_s, end_s)
        for replica in self.replicas:
            replica.meter(end_s)
        self._read_meters(end_s, now["battery_power_w"], now["training_share"])
        self.overdue.look(end_s)
        self.agreements.account(self.tick, self.outcome)
        self.tick += 1
        self._write_view()

    # 1. power states and clocks

    def _break_and_repair(self, now_s: float) -> None:
        for switches in self.switches:
            switches.switch_off_repaired(now_s)
        while self.failures and self.failures[0][0] <= self.tick:
            _, index, repaired_s = self.failures.popleft()
            self._stop(index, now_s, State.FAILED)
            self.replicas[index].ready_s = repaired_s

    def _apply_power_states(self, now_s: float, now: Mapping[str, np.ndarray]) -> None:
        for p, switches in enumerate(self.switches):
            if self.power.is_dark(p, now_s):
                continue
            names = ("awake_fraction", "standby_fraction", "variant_fraction")
            awake, standby, variant = (float(now[name][p]) for name in names)
            count = switches.follow(awake, standby, variant, now_s)
            if switches.has_variant:
                self.outcome["switches"][0, self.arrays.variant[p]] = count

    def _apply_clocks(self, clock_fraction: np.ndarray) -> None:
        for p in range(self.arrays.num_pools):
            asked = min(max(float(clock_fraction[p]), float(self.arrays.clock_floor_fraction[p])), 1.0)
            place = int(self.arrays.unsteady[p])
            factor = 1.0 if place < 0 else float(self.episode.clock_sensitivity_factor[self.tick, place])
            self.clocks.set(p, self.power.clock_in_force(p, asked), factor)

    # 2. demand

    def _run(self, start_s: float, end_s: float) -> None:
        """Everything from `start_s` to just before `end_s`, in order of time; at a tie, in the order of the cases."""
        for request in self.admission.drop_expired(start_s):
            self.endings.fail(request, start_s, RequestStatus.EXPIRED)
        released = self.admission.release(start_s)
        while True:
            release_s = released[0].time_s if released else math.inf
            step_s, arrival_s = self.clients.next_s(), self._next_arrival_s()
            boundary_s, ending = self.earliest.boundary()
            next_s = min(boundary_s, release_s, step_s, arrival_s)
            if next_s >= end_s:
                return
            if boundary_s == next_s:
                self.replicas[ending].pass_boundary(self._physics_of(ending))
                self._hear(ending)
            elif release_s == next_s:
                self._dispatch(released.popleft().request, release_s)
            elif step_s == next_s:
                self._take_step()
            else:
                self.next_request += 1
                self._call(self.next_request - 1, arrival_s)

    def _next_arrival_s(self) -> float:
        arrivals = self.episode.requests.arrival_s
        return float(arrivals[self.next_request]) if self.next_request < len(arrivals) else math.inf

    def _take_step(self) -> None:
        now_s, index, p = self.clients.take_step()
        if p != CALLS:
            self._enter(self.journeys.end(index), p, now_s)
        elif not self.clients.has_given_up(index):
            self._call(index, now_s)
        elif self.clients.failed_attempts[index]:
            request = Request.of(self.episode.requests, index, now_s)
            self.endings.lose(request, now_s, self.clients.last_failure[index])

    def _call(self, index: int, now_s: float) -> None:
        """A client makes a call, or tries it again."""
        request = Request.of(self.episode.requests, index, now_s)
        k = request.class_id
        if self.clients.ask(index, now_s):
            self.overdue.watch(request)
            self.outcome["arrived"][0, k] += 1
            self.outcome["prompt_tokens_asked"][0, k] += request.prompt_tokens
            self.outcome["output_tokens_asked"][0, k] += request.output_tokens
        if not self._quote(request):
            self.endings.fail(request, now_s, RequestStatus.DECLINED)
        elif self.arrays.deferrable[k]:
            self.admission.held[k].append(request)
        elif self.admission.admit(k, now_s):
            self._dispatch(request, now_s)
        else:
            self.endings.fail(request, now_s, RequestStatus.REFUSED)

    def _quote(self, request: Request) -> bool:
        """Tell a client the price of its call; an overdue one counts at its new price."""
        was_overdue = self.overdue.remove(request.index)
        accepted = self.billing.quote(request)
        if was_overdue:
            self.overdue.add(request.index)
        return accepted

    def _dispatch(self, request: Request, now_s: float) -> None:
        """Choose a pool and send the request there."""
        p = self.journeys.send(request, now_s)
        if p is not None:
            self._enter(request, p, now_s)

    def _enter(self, request: Request, p: int, now_s: float) -> None:
        """A request reaches its pool; none of whose replicas may be awake any more."""
        chosen = self.router.choose_replica(request, p)
        if chosen is None:
            self.endings.fail(request, now_s, RequestStatus.REFUSED)
            return
        self.log.replica[request.index] = chosen
        self.replicas[chosen].take(request, now_s, self._physics_of(chosen))
        self._hear(chosen)

    def _physics_of(self, index: int) -> Physics:
        return self.clocks.physics(self.pool_of[index], self.replicas[index].on_variant)

    # 3. what came of it

    def _hear(self, index: int) -> None:
        """Act on what a replica has done, and note when it will have done more."""
        replica, p = self.replicas[index], self.pool_of[index]
        self.earliest.note(index)
        events = replica.take_events()
        for name, count in events.counts.items():
            self.outcome[name][0, p] += count
        for request in events.first_tokens:
            self.endings.first_token(request)
        for request, now_s in events.handed_off:
            self.journeys.hand_off(request, p, now_s)
        for request, now_s in events.completed:
            self.endings.complete(request, p, replica.limits, now_s + request.network_s)
        for request, now_s in events.expired:
            self.endings.fail(request, now_s, RequestStatus.EXPIRED)

    # 4. meters, brake, breaker

    def _read_meters(self, end_s: float, battery_power_w: np.ndarray, training_share: np.ndarray) -> None:
        for p, pool in enumerate(self.pools):
            factor = float(self.episode.host_power_factor[self.arrays.site[p]])
            write_energy(self.outcome, self.arrays, p, pool, factor)
        for p in self.power.read_meters(self.tick, battery_power_w, training_share, self.outcome):
            self._go_dark(p, end_s)
        for p, pool in enumerate(self.pools):
            running = sum(replica.running_tokens for replica in pool)
            self.outcome["running_tokens_change"][0, p] = running - self.running_tokens[p]
            self.running_tokens[p] = running

    def _go_dark(self, p: int, now_s: float) -> None:
        for index in range(self.router.first_replica[p], self.router.first_replica[p + 1]):
            if self.replicas[index].state is not State.FAILED:
                self._stop(index, now_s, State.DARK)

    def _stop(self, index: int, now_s: float, state: State) -> None:
        """A replica loses its power and with it every request."""
        replica = self.replicas[index]
        self.outcome["dropped_tokens"][0, self.pool_of[index]] += replica.running_tokens
        for request in replica.drop_everything():
            self.endings.fail(request, now_s, RequestStatus.REFUSED)
        replica.state = state

    # what the policy sees

    def _write_view(self) -> None:
        view, a = self.view, self.arrays
        for p, pool in enumerate(self.pools):
            write_pool(view, a, p, pool)
            view["clock_fraction"][0, p] = self.clocks.fraction[p]
        view["pool_power_w"][:] = self.outcome["it_energy_j"] / a.tick_s
        view["generated_tokens"][:] = self.outcome["generated_tokens"]
        write_classes(view, a, self.outcome, self.clients, self.admission, self.billing)
        self.agreements.write_view(view)
        exogenous = self.episode.exogenous[self.tick]
        view.rows[0, view.layout.width - len(exogenous) :] = exogenous
        site_cap_w, row_cap_w = view["cap_w"][0].tolist(), view["row_cap_w"][0].tolist()
        self.power.write_view(self.tick * a.tick_s, site_cap_w, row_cap_w, self.outcome, view)
