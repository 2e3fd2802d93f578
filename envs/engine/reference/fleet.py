"""One fleet through time: dispatch, sleep, brake and breaker around the replicas of `replica.py`.

A tick reads as the specification of both engines:

1. Replicas fail or are repaired; sites whose restart is due boot; replicas wake, drain or fall asleep as the controls
   ask.
2. Everything that happens within the tick happens in order of time: an iteration ends and the next one starts; a held
   request is released; a client makes a call, which is admitted or refused and given a pool by the shares, or returns
   to the replica that holds its conversation; a request reaches its pool, with the KV cache that comes along, and
   joins the replica there that has the least work. An iteration that crosses the end of the tick keeps clock and power
   until it is done.
3. What has completed, failed or expired is answered by its client at once: the calls that waited for it follow, or it
   is tried again.
4. The meters are read; brake and breaker answer from the next tick on.
"""

from __future__ import annotations

import heapq
import math
from collections import deque

import numpy as np

from tokenfleet.envs.engine import RequestLog, RequestStatus
from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.engine.reference.billing import Billing
from tokenfleet.envs.engine.reference.clients import CALLS, Clients
from tokenfleet.envs.engine.reference.kv_moves import KvMoves
from tokenfleet.envs.engine.reference.power_delivery import PowerDelivery
from tokenfleet.envs.engine.reference.prefix_cache import Calls
from tokenfleet.envs.engine.reference.replica import Limits, Physics, Replica, Request, State
from tokenfleet.envs.episode import Episode
from tokenfleet.envs.fields import Record
from tokenfleet.envs.layers.scheduling import Controls


def byte_energy_scale(core_fraction: float, voltage: float) -> float:
    """Energy of a byte over its value at full voltage."""
    return 1.0 - core_fraction * (1.0 - voltage * voltage)


LOST_AS = {RequestStatus.DECLINED: "declined"}
"""Where the tokens and the value of a request without an answer are counted, if not under `lost`."""


def clock_scaling(memory_fraction: float, clock_fraction: float) -> float:
    """How much longer work takes at a lower clock: `m + (1 - m) / F`."""
    return memory_fraction + (1.0 - memory_fraction) / clock_fraction


class Fleet:
    """All sites, pools and replicas of one environment."""

    def __init__(self, arrays: FleetArrays, episode: Episode, view: Record, outcome: Record) -> None:
        """Begin with everything awake and idle; `view` and `outcome` are one-row records that it writes."""
        self.arrays = arrays
        self.episode = episode
        self.view = view
        self.outcome = outcome
        self.tick = 0
        self.next_request = 0
        self.clients = Clients(arrays, episode.requests)
        self.billing = Billing(arrays, episode.requests)
        self.calls = Calls(episode.requests)
        self.kv_moves = KvMoves(arrays, outcome)
        self.travelling: dict[int, Request] = {}
        self.failures = deque(zip(*episode.failures.columns(), strict=True))
        self.pools = [self._make_pool(p) for p in range(arrays.num_pools)]
        self.everyone = [replica for pool in self.pools for replica in pool]
        self.pool_of = [p for p, pool in enumerate(self.pools) for _ in pool]
        self.first_replica = np.cumsum([0, *arrays.replicas]).tolist()
        self.boundaries: list[tuple[float, int]] = []
        self.home_replica: dict[int, int] = {}
        self.running_tokens = [0] * arrays.num_pools
        self.power = PowerDelivery(arrays, episode)
        self.clock_fraction = [1.0] * arrays.num_pools
        self.physics = [self._physics_at(p, 1.0) for p in range(arrays.num_pools)]
        self.held: list[deque[Request]] = [deque() for _ in range(arrays.num_classes)]
        self.admission_credit = [1.0] * arrays.num_classes
        self.credited_s = [0.0] * arrays.num_classes
        self.route_credit = np.zeros((arrays.num_classes, arrays.num_pools))
        self.log = RequestLog(
            status=np.zeros(len(episode.requests), np.int8),
            replica=np.full(len(episode.requests), -1, np.int32),
            asked_s=self.clients.asked_s,
            first_token_s=np.full(len(episode.requests), np.nan),
            finished_s=np.full(len(episode.requests), np.nan),
        )
        outcome.rows[:] = 0.0
        self._write_view()

    def step(self, controls: Controls, row: int) -> None:
        """Advance by one tick under row `row` of the controls."""
        start_s = self.tick * self.arrays.tick_s
        end_s = (self.tick + 1) * self.arrays.tick_s
        self.outcome.rows[:] = 0.0
        self._break_and_repair(start_s)
        self._apply_power_states(start_s, controls.awake_fraction[row])
        self._apply_clocks(controls.clock_fraction[row])
        self.share = self._available_share(controls.route_share[row])
        self.admit_rate_rps = controls.admit_rate_rps[row]
        self.affinity = None if controls.prefix_affinity is None else controls.prefix_affinity[row]
        self.billing.set_prices(None if controls.token_price_factor is None else controls.token_price_factor[row])
        self._run(start_s, end_s)
        for pool in self.pools:
            for replica in pool:
                replica.meter(end_s)
        self._read_meters(end_s, None if controls.battery_power_w is None else controls.battery_power_w[row])
        self.tick += 1
        self._write_view()

    # 1. power states and clocks

    def _break_and_repair(self, now_s: float) -> None:
        """Failures of this tick; what is repaired is switched off and may be woken."""
        for replica in self.everyone:
            if replica.state is State.FAILED and replica.ready_s <= now_s:
                replica.state = State.ASLEEP
        while self.failures and self.failures[0][0] <= self.tick:
            _, index, repaired_s = self.failures.popleft()
            self._stop(index, now_s, State.FAILED)
            self.everyone[index].ready_s = repaired_s

    def _apply_power_states(self, now_s: float, awake_fraction: np.ndarray) -> None:
        for p, pool in enumerate(self.pools):
            if self.power.is_dark(p, now_s):
                continue
            for replica in pool:
                if replica.state is State.DARK:
                    self._wake(replica, p, now_s)
            self._follow_target(pool, p, now_s, math.ceil(awake_fraction[p] * len(pool) - 1e-9))
            for replica in pool:
                if replica.state is State.WAKING and replica.ready_s <= now_s:
                    replica.state = State.AWAKE
                if replica.state is State.DRAINING and replica.is_idle:
                    replica.state = State.ASLEEP
                    replica.cache.clear()

    def _follow_target(self, pool: list[Replica], p: int, now_s: float, target: int) -> None:
        """Bring the number of replicas that are awake or waking to `target`, the cheapest change first."""
        up = sum(replica.state in (State.AWAKE, State.WAKING) for replica in pool)
        for state in (State.DRAINING, State.ASLEEP):
            for replica in pool:
                if up < target and replica.state is state:
                    if state is State.DRAINING:
                        replica.state = State.AWAKE
                    else:
                        self._wake(replica, p, now_s)
                    up += 1
        for state, resting in ((State.WAKING, State.ASLEEP), (State.AWAKE, State.DRAINING)):
            for replica in reversed(pool):
                if up > target and replica.state is state:
                    replica.state = resting
                    up -= 1

    def _wake(self, replica: Replica, p: int, now_s: float) -> None:
        replica.state = State.WAKING
        replica.ready_s = now_s + self.arrays.wake_s[p]

    def _apply_clocks(self, clock_fraction: np.ndarray) -> None:
        for p in range(self.arrays.num_pools):
            asked = min(max(float(clock_fraction[p]), float(self.arrays.clock_floor_fraction[p])), 1.0)
            clock = self.power.clock_in_force(p, asked)
            if clock != self.clock_fraction[p]:
                self.clock_fraction[p] = clock
                self.physics[p] = self._physics_at(p, clock)

    def _physics_at(self, p: int, clock: float) -> Physics:
        a = self.arrays
        decode = clock_scaling(float(self.episode.decode_memory_fraction[p]), clock)
        prefill = clock_scaling(float(a.prefill_memory_fraction[p]), clock)
        voltage = max(clock, float(a.voltage_floor_fraction[p]))
        byte_scale = byte_energy_scale(float(a.core_byte_fraction[p]), voltage)
        context_scale = byte_energy_scale(float(a.core_context_fraction[p]), voltage)
        busy_w = float(a.static_w[p]) + float(a.floor_w[p]) * clock * (voltage * voltage)
        limit_w, slope = float(a.limit_w[p]), float(a.shoulder_slope[p])
        return Physics(
            host_s=float(a.host_s[p]),
            token_s=tuple((a.token_s[p] * (prefill + (decode - prefill) * a.token_memory_share[p])).tolist()),
            decode_s=float(a.decode_s[p]) * decode,
            context_s=float(a.context_s[p]) * decode,
            prefill_attention_s=float(a.prefill_attention_s[p]) * prefill,
            busy_w=busy_w,
            work_j=tuple((a.work_j[p] * byte_scale).tolist()),
            context_j=float(a.context_j[p]) * context_scale,
            token_j=float(a.token_j[p]) * (voltage * voltage),
            attention_j=float(a.attention_j[p]) * (voltage * voltage),
            shoulder_w=busy_w + float(a.knee_fraction[p]) * (1.0 - slope) * (limit_w - busy_w),
            shoulder_slope=slope,
            limit_w=limit_w,
        )

    # 2. demand

    def _available_share(self, route_share: np.ndarray) -> np.ndarray:
        """Shares `[K, P]` over the pools that can take requests now; a row of zeros where none can."""
        awake = np.array([any(replica.state is State.AWAKE for replica in pool) for pool in self.pools])
        share = np.where(self.arrays.route_mask & awake, route_share, 0.0)
        total = np.zeros(len(share))
        for p in range(share.shape[1]):
            total += share[:, p]
        return share / np.where(total > 0.0, total, 1.0)[:, None]

    def _run(self, start_s: float, end_s: float) -> None:
        """Everything from `start_s` to just before `end_s`, in order of time; at a tie, in the order of the cases."""
        released = deque(self._release(start_s, self.admit_rate_rps))
        while True:
            release_s = released[0][0] if released else math.inf
            step_s, arrival_s = self.clients.next_s(), self._next_arrival_s()
            boundary_s, ending = self._next_boundary()
            next_s = min(boundary_s, release_s, step_s, arrival_s)
            if next_s >= end_s:
                return
            if boundary_s == next_s:
                p = self.pool_of[ending]
                self.everyone[ending].pass_boundary(self.physics[p])
                self._answer(p, ending)
            elif release_s == next_s:
                self._dispatch(released.popleft()[1], release_s)
            elif step_s == next_s:
                self._take_step()
            else:
                self.next_request += 1
                self._call(self.next_request - 1, arrival_s)

    def _next_boundary(self) -> tuple[float, int]:
        """When the first running iteration ends, and in which replica; inf and -1 where none runs."""
        while self.boundaries:
            boundary_s, index = self.boundaries[0]
            if self.everyone[index].next_boundary_s == boundary_s:
                return boundary_s, index
            heapq.heappop(self.boundaries)  # the replica has passed it, or lost its power
        return math.inf, -1

    def _next_arrival_s(self) -> float:
        arrivals = self.episode.requests.arrival_s
        return float(arrivals[self.next_request]) if self.next_request < len(arrivals) else math.inf

    def _take_step(self) -> None:
        now_s, index, p = self.clients.take_step()
        if p != CALLS:
            self._enter(self.travelling.pop(index), p, now_s)
        elif not self.clients.has_given_up(index):
            self._call(index, now_s)
        elif self.clients.failed_attempts[index]:
            self._lose(self._request(index, now_s), now_s, self.clients.last_failure[index])

    def _call(self, index: int, now_s: float) -> None:
        """A client makes a call, or tries it again."""
        request = self._request(index, now_s)
        k = request.class_id
        if self.clients.ask(index, now_s):
            self.outcome["arrived"][0, k] += 1
            self.outcome["prompt_tokens_asked"][0, k] += request.prompt_tokens
            self.outcome["output_tokens_asked"][0, k] += request.output_tokens
        if not self.billing.quote(request):
            self._fail(request, now_s, RequestStatus.DECLINED)
        elif self.arrays.deferrable[k]:
            self.held[k].append(request)
        elif self._admit(k, now_s, float(self.admit_rate_rps[k])):
            self._dispatch(request, now_s)
        else:
            self._fail(request, now_s, RequestStatus.REFUSED)

    def _request(self, index: int, now_s: float) -> Request:
        table = self.episode.requests
        prompt_tokens, output_tokens = int(table.prompt_tokens[index]), int(table.output_tokens[index])
        return Request(
            index,
            int(table.class_id[index]),
            now_s,
            prompt_tokens,
            output_tokens,
            conversation_id=int(table.conversation_id[index]),
            reusable_tokens=int(table.reusable_tokens[index]),
            group_id=int(table.group_id[index]),
            group_tokens=int(table.group_tokens[index]),
        )

    def _admit(self, k: int, now_s: float, rate_rps: float) -> bool:
        """Token bucket one second deep (at least one request)."""
        if rate_rps == math.inf:
            return True
        depth = max(1.0, rate_rps)
        credit = min(depth, self.admission_credit[k] + rate_rps * (now_s - self.credited_s[k]))
        self.credited_s[k] = now_s
        admitted = credit >= 1.0
        self.admission_credit[k] = credit - 1.0 if admitted else credit
        return admitted

    def _release(self, start_s: float, rate_rps: np.ndarray) -> list[tuple[float, Request]]:
        """Held requests that leave in this tick, evenly spaced over it, oldest first."""
        tick_s = self.arrays.tick_s
        released = []
        for k, held in enumerate(self.held):
            while held and start_s - held[0].arrival_s > self.arrays.patience_s[k]:
                self._fail(held.popleft(), start_s, RequestStatus.EXPIRED)
            count = self._release_count(k, float(rate_rps[k]))
            released += [(start_s + (i + 0.5) * (tick_s / count), held.popleft()) for i in range(count)]
        return sorted(released, key=lambda item: item[0])

    def _release_count(self, k: int, rate_rps: float) -> int:
        """How many held requests the rate lets go; the unused part of a request carries over."""
        if not self.arrays.deferrable[k]:
            return 0
        waiting = len(self.held[k])
        if rate_rps == math.inf:
            return waiting
        credit = self.admission_credit[k] + rate_rps * self.arrays.tick_s
        count = min(waiting, math.floor(credit))
        self.admission_credit[k] = min(credit - count, 1.0)
        return count

    def _dispatch(self, request: Request, now_s: float) -> None:
        """Choose a pool and send the request there."""
        k = request.class_id
        p = self._choose_pool(k, self.share[k])
        home = -1 if p is None else self._home(request, p)
        if home >= 0 and p is not None:
            self.route_credit[k, p] += 1.0
            p = self.pool_of[home]
            self.route_credit[k, p] -= 1.0
        if p is None or request.kv_tokens > self.arrays.context_limit_tokens[p]:
            self._fail(request, now_s, RequestStatus.REFUSED)
            return
        request.preferred_replica = home
        request.network_s = self._network_s(request.index, p)
        way_s = max(request.network_s, self._fetch_prefix(request, p) if home < 0 else 0.0)
        if way_s > 0.0:
            self._travel(request, p, now_s + way_s)
        else:
            self._enter(request, p, now_s)

    def _travel(self, request: Request, p: int, arrival_s: float) -> None:
        self.travelling[request.index] = request
        self.clients.travel(request.index, p, arrival_s)

    def _fetch_prefix(self, request: Request, p: int) -> float:
        """Send for what another replica holds of the request's conversation, if that pays; how long it takes [s]."""
        holder = self.home_replica.get(request.conversation_id, -1)
        q = self.pool_of[holder]
        if holder < 0 or not self.arrays.migrates_prefixes[p] or not self.arrays.route_mask[request.class_id, q]:
            return 0.0
        tokens = self.everyone[holder].cache.find(request).tokens
        if not self.kv_moves.beats_computing(q, p, tokens):
            return 0.0
        request.migrated_tokens = tokens
        return self.kv_moves.send(q, p, tokens)

    def _hand_off(self, request: Request, p: int, now_s: float) -> None:
        """Pool `p` has prefilled a request that another pool decodes: its KV cache goes there."""
        q = int(self.arrays.hand_off_to[p])
        request.preferred_replica = -1
        request.network_s = self._network_s(request.index, q)
        self._travel(request, q, now_s + self.kv_moves.send(p, q, request.prompt_tokens))

    def _network_s(self, index: int, p: int) -> float:
        return float(self.arrays.network_s[self.episode.requests.region_id[index], self.arrays.site[p]])

    def _enter(self, request: Request, p: int, now_s: float) -> None:
        """A request reaches its pool; none of whose replicas may be awake any more."""
        awake = [r for r, replica in enumerate(self.pools[p]) if replica.state is State.AWAKE]
        if not awake:
            self._fail(request, now_s, RequestStatus.REFUSED)
            return
        preferred = request.preferred_replica - self.first_replica[p]
        chosen = preferred if preferred in awake else self._least_loaded(p, awake)
        self.log.replica[request.index] = self.first_replica[p] + chosen
        if request.conversation_id >= 0 and not request.is_computed:
            self.home_replica[request.conversation_id] = self.first_replica[p] + chosen
        self.pools[p][chosen].take(request, now_s, self.physics[p])
        self._answer(p, self.first_replica[p] + chosen)

    def _least_loaded(self, p: int, awake: list[int]) -> int:
        return min(awake, key=lambda r: self._work_tokens(self.pools[p][r]))

    def _home(self, request: Request, p: int) -> int:
        """The replica that last served the request's conversation, if it should return there rather than go to `p`."""
        k, home = request.class_id, self.home_replica.get(request.conversation_id, -1)
        q = self.pool_of[home]
        if home < 0 or self.share[k, q] <= 0.0 or self.everyone[home].state is not State.AWAKE:
            return -1
        cached = self.everyone[home].cache.find(request).tokens
        affinity = 1.0 if self.affinity is None else float(self.affinity[k])
        if cached == 0 or request.kv_tokens > self.arrays.context_limit_tokens[q]:
            return -1
        awake = [r for r, replica in enumerate(self.pools[p]) if replica.state is State.AWAKE]
        least = self._work_tokens(self.pools[p][self._least_loaded(p, awake)])
        return home if self._work_tokens(self.everyone[home]) <= least + affinity * cached else -1

    def _choose_pool(self, k: int, share: np.ndarray) -> int | None:
        """Smooth weighted round robin: exact shares in the long run, no two bursts to the same pool."""
        open_pools = [p for p in range(len(share)) if share[p] > 0.0]
        if not open_pools:
            return None
        self.route_credit[k] += share
        chosen = max(open_pools, key=lambda p: self.route_credit[k, p])
        self.route_credit[k, chosen] -= 1.0
        return chosen

    def _work_tokens(self, replica: Replica) -> int:
        """What is left to prefill, plus each unfinished request's expected answer."""
        return replica.unprefilled_tokens + sum(int(self.arrays.output_weight[r.class_id]) for r in replica.requests)

    # 3. what came of it

    def _answer(self, p: int, index: int) -> None:
        """Tell the clients what a replica of pool `p` has done, and note when it will have done more."""
        replica = self.everyone[index]
        heapq.heappush(self.boundaries, (replica.next_boundary_s, index))
        events = replica.take_events()
        self.outcome["generated_tokens"][0, p] += events.generated_tokens
        self.outcome["prefilled_tokens"][0, p] += events.prefilled_tokens
        self.outcome["prefix_hit_tokens"][0, p] += events.prefix_hit_tokens
        self.outcome["host_hit_tokens"][0, p] += events.host_hit_tokens
        self.outcome["migrated_tokens"][0, p] += events.migrated_tokens
        self.outcome["handed_off_tokens"][0, p] += sum(request.context_tokens for request, _ in events.handed_off)
        self.outcome["taken_over_tokens"][0, p] += events.taken_over_tokens
        self.outcome["preemptions"][0, p] += events.preemptions
        self.outcome["preempted_tokens"][0, p] += events.preempted_tokens
        for request in events.first_tokens:
            request.first_token_s += request.network_s
            self.log.first_token_s[request.index] = request.first_token_s
            self.outcome["first_tokens"][0, request.class_id] += 1
            self.outcome["ttft_sum_s"][0, request.class_id] += self._ttft_s(request)
        for request, now_s in events.handed_off:
            self._hand_off(request, p, now_s)
        for request, now_s in events.completed:
            self._complete(request, p, now_s + request.network_s)
        for request, now_s in events.expired:
            self._fail(request, now_s, RequestStatus.EXPIRED)

    def _complete(self, request: Request, p: int, now_s: float) -> None:
        k, in_slo = request.class_id, self._within_slo(request, now_s)
        ending = "in_slo" if in_slo else "late"
        value_usd = self._end(request, now_s, RequestStatus.COMPLETED, f"completed_{ending}", ending)
        self.outcome["delivered_tokens"][0, self.arrays.site[p]] += request.output_tokens
        paid_usd = value_usd if in_slo else value_usd * float(self.arrays.late_value_fraction[k])
        if self.billing.pay(request, paid_usd) and self.clients.end_session(request.index):
            self.outcome["budget_ended"][0, k] += 1
        self.clients.succeed(request.index, now_s)

    def _fail(self, request: Request, now_s: float, status: RequestStatus) -> None:
        """An attempt has come to nothing."""
        if self.clients.fail(request.index, now_s, status):
            self.outcome["retries"][0, request.class_id] += 1
        else:
            self._lose(request, now_s, status)

    def _lose(self, request: Request, now_s: float, status: RequestStatus) -> None:
        self._end(request, now_s, status, status.name.lower(), LOST_AS.get(status, "lost"))

    def _end(self, request: Request, now_s: float, status: RequestStatus, count: str, ending: str) -> float:
        """A request has come to its end; its price [USD]."""
        k, hit_tokens = request.class_id, request.billed_hit_tokens if status is RequestStatus.COMPLETED else 0
        value_usd = self.billing.value_usd(request, hit_tokens)
        self.log.status[request.index] = status
        self.log.finished_s[request.index] = now_s
        self.outcome[count][0, k] += 1
        self.outcome[f"prompt_tokens_{ending}"][0, k] += request.prompt_tokens
        self.outcome[f"output_tokens_{ending}"][0, k] += request.output_tokens
        self.outcome[f"value_{ending}_usd"][0, k] += value_usd
        return value_usd

    def _ttft_s(self, request: Request) -> float:
        return request.first_token_s - float(self.clients.asked_s[request.index])

    def _within_slo(self, request: Request, now_s: float) -> bool:
        a, k = self.arrays, request.class_id
        in_ttft = self._ttft_s(request) <= a.ttft_s[k]
        # Without a limit inf * 0 would be NaN for a one-token answer.
        in_tpot = request.output_tokens == 1 or (
            now_s - request.first_token_s <= a.tpot_s[k] * (request.output_tokens - 1)
        )
        e2e_s = now_s - float(self.clients.asked_s[request.index])
        return bool(in_ttft and in_tpot and e2e_s <= a.deadline_s[k])

    # 4. meters, brake, breaker

    def _read_meters(self, end_s: float, battery_power_w: np.ndarray | None) -> None:
        it_energy_j = self.outcome["it_energy_j"][0]
        for p, pool in enumerate(self.pools):
            for replica in pool:
                boards = replica.take_energy()
                boards_j = boards.busy_j + boards.idle_j + boards.asleep_j
                host_j = self._host_j(replica, p, boards_j)
                self.outcome["busy_energy_j"][0, p] += boards.busy_j
                self.outcome["idle_energy_j"][0, p] += boards.idle_j
                self.outcome["asleep_energy_j"][0, p] += boards.asleep_j
                self.outcome["host_energy_j"][0, p] += host_j
                it_energy_j[p] += boards_j + host_j
        for p in self.power.read_meters(self.tick, battery_power_w, self.outcome):
            self._go_dark(p, end_s)
        for p, pool in enumerate(self.pools):
            running = sum(replica.running_tokens for replica in pool)
            self.outcome["running_tokens_change"][0, p] = running - self.running_tokens[p]
            self.running_tokens[p] = running

    def _host_j(self, replica: Replica, p: int, boards_j: float) -> float:
        """What the servers around boards that took `boards_j` took in the tick."""
        a = self.arrays
        steady_w = float(a.host_asleep_w[p] if replica.state is State.ASLEEP else a.host_w[p])
        if replica.state in (State.DARK, State.FAILED):
            steady_w = 0.0
        host_j = steady_w * a.tick_s + float(a.host_w_per_board_w[p]) * boards_j
        return host_j * float(self.episode.host_power_factor[a.site[p]])

    def _go_dark(self, p: int, now_s: float) -> None:
        for index in range(self.first_replica[p], self.first_replica[p + 1]):
            if self.everyone[index].state is not State.FAILED:
                self._stop(index, now_s, State.DARK)

    def _stop(self, index: int, now_s: float, state: State) -> None:
        """A replica loses its power and with it every request."""
        replica = self.everyone[index]
        self.outcome["dropped_tokens"][0, self.pool_of[index]] += replica.running_tokens
        for request in replica.drop_everything():
            self._fail(request, now_s, RequestStatus.REFUSED)
        replica.state = state

    # what the brain sees

    def _write_view(self) -> None:
        view, a = self.view, self.arrays
        for p, pool in enumerate(self.pools):
            requests = [request for replica in pool for request in replica.requests]
            waiting = sum(len(replica.waiting) for replica in pool)
            view["waiting_requests"][0, p] = waiting
            view["running_requests"][0, p] = len(requests) - waiting
            view["unprefilled_tokens"][0, p] = sum(replica.unprefilled_tokens for replica in pool)
            used = sum(replica.kv_used for replica in pool)
            view["kv_reserved_fraction"][0, p] = used / float(a.kv_tokens[p] * len(pool))
            cached = sum(replica.cache.tokens for replica in pool)
            view["cached_fraction"][0, p] = cached / float(a.kv_tokens[p] * len(pool))
            view["awake_replicas"][0, p] = sum(replica.state is State.AWAKE for replica in pool)
            view["waking_replicas"][0, p] = sum(replica.state is State.WAKING for replica in pool)
            view["failed_replicas"][0, p] = sum(replica.state is State.FAILED for replica in pool)
            view["clock_fraction"][0, p] = self.clock_fraction[p]
        view["pool_power_w"][:] = self.outcome["it_energy_j"] / a.tick_s
        for k in range(a.num_classes):
            view["held_requests"][0, k] = len(self.held[k])
            view["thinking_calls"][0, k] = self.clients.thinking[k]
            view["away_requests"][0, k] = self.clients.away[k]
            if a.priced[k] >= 0:
                view["token_price_factor"][0, a.priced[k]] = self.billing.factor[k]
                view["declined"][0, a.priced[k]] = self.outcome["declined"][0, k]
        for name in ("arrived", "completed_in_slo", "completed_late", "refused", "expired", "retries"):
            view[name][:] = self.outcome[name]
        view["generated_tokens"][:] = self.outcome["generated_tokens"]
        view["ttft_mean_s"][:] = self.outcome["ttft_sum_s"] / np.maximum(self.outcome["first_tokens"], 1.0)
        exogenous = self.episode.exogenous[self.tick]
        coming_cap_w = [float(exogenous[s]) for s in range(a.num_sites)]
        self.power.write_view(self.tick * a.tick_s, coming_cap_w, self.outcome, view)
        view.rows[0, view.layout.width - len(exogenous) :] = exogenous

    def _make_pool(self, p: int) -> list[Replica]:
        a = self.arrays
        limits = Limits(
            max_batch=int(a.max_batch[p]),
            token_budget=int(a.token_budget[p]),
            kv_tokens=int(a.kv_tokens[p]),
            kv_grows=bool(a.kv_grows[p]),
            watermark_tokens=int(a.watermark_tokens[p]),
            prefix_block_tokens=int(a.prefix_block_tokens[p]),
            host_cache_tokens=int(a.host_cache_tokens[p]),
            host_load_s=float(a.host_load_s[p]),
            hands_off=bool(a.hand_off_to[p] >= 0),
            patience_s=a.patience_s,
        )
        idle_w, asleep_w = float(a.idle_w[p]), float(a.asleep_w[p])
        return [Replica(limits, idle_w, asleep_w, self.calls) for _ in range(a.replicas[p])]
