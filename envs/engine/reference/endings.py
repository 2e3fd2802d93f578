"""What came of a request: answered within its limits or late, tried again, or lost."""

from __future__ import annotations

import numpy as np

from tokenfleet.envs.engine import RequestLog, RequestStatus
from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.engine.reference.billing import Billing
from tokenfleet.envs.engine.reference.clients import Clients
from tokenfleet.envs.engine.reference.limits import Limits
from tokenfleet.envs.engine.reference.overdue import Overdue
from tokenfleet.envs.engine.reference.request import Request
from tokenfleet.envs.engine.ties import exceeds
from tokenfleet.envs.rows import Record

LOST_AS = {RequestStatus.DECLINED: "declined"}
"""Where the tokens and the value of a request without an answer are counted, if not under `lost`."""


class Endings:
    """Tells clients and books what their requests came to, and keeps the log."""

    def __init__(
        self, arrays: FleetArrays, clients: Clients, billing: Billing, overdue: Overdue, outcome: Record
    ) -> None:
        """Begin with every request pending."""
        self.arrays = arrays
        self.clients = clients
        self.billing = billing
        self.overdue = overdue
        self.outcome = outcome
        count = len(clients.table)
        self.log = RequestLog(
            status=np.zeros(count, np.int8),
            replica=np.full(count, -1, np.int32),
            asked_s=clients.asked_s,
            first_token_s=np.full(count, np.nan),
            finished_s=np.full(count, np.nan),
        )

    def first_token(self, request: Request) -> None:
        """The first token has left its site."""
        request.first_token_s += request.network_s
        self.log.first_token_s[request.index] = request.first_token_s
        self.outcome["first_tokens"][0, request.class_id] += 1
        self.outcome["ttft_sum_s"][0, request.class_id] += self._ttft_s(request)
        self.overdue.first_token(request.index, self._ttft_s(request))

    def complete(self, request: Request, p: int, limits: Limits, now_s: float) -> None:
        """The last token of an answer has reached its client; a replica of pool `p` gave it with its model's limits."""
        k, in_slo = request.class_id, self._within_slo(request, now_s)
        ending = "in_slo" if in_slo else "late"
        value_usd = self._end(request, now_s, RequestStatus.COMPLETED, f"completed_{ending}", ending)
        if (agreement := int(self.arrays.agreement[k])) >= 0:
            self.outcome["in_agreement"][0, agreement] += self._keeps_agreement(request, in_slo)
        self.outcome["delivered_tokens"][0, self.arrays.site[p]] += request.output_tokens
        paid_usd = value_usd if in_slo else value_usd * float(self.arrays.late_value_fraction[k])
        if limits.is_variant:
            place = self.arrays.variant[p]
            loss_usd = paid_usd * (1.0 - limits.quality)
            self.outcome["variant_tokens"][0, place] += request.output_tokens
            self.outcome["quality_loss_usd"][0, place] += loss_usd
            paid_usd -= loss_usd
        if self.billing.pay(request, paid_usd) and self.clients.end_session(request.index):
            self.outcome["budget_ended"][0, k] += 1
        self.clients.succeed(request.index, now_s)

    def fail(self, request: Request, now_s: float, status: RequestStatus) -> None:
        """An attempt has come to nothing."""
        if self.clients.fail(request.index, now_s, status):
            self.outcome["retries"][0, request.class_id] += 1
            self.overdue.retry(request.index, now_s)
        else:
            self.lose(request, now_s, status)

    def lose(self, request: Request, now_s: float, status: RequestStatus) -> None:
        """Its client does not try again."""
        self._end(request, now_s, status, status.name.lower(), LOST_AS.get(status, "lost"))

    def _end(self, request: Request, now_s: float, status: RequestStatus, count: str, ending: str) -> float:
        """A request has come to its end; its price [USD]."""
        k, hit_tokens = request.class_id, request.billed_hit_tokens if status is RequestStatus.COMPLETED else 0
        value_usd = self.billing.value_usd(request, hit_tokens)
        self.overdue.end(request.index)
        self.log.status[request.index] = status
        self.log.finished_s[request.index] = now_s
        self.outcome[count][0, k] += 1
        self.outcome[f"prompt_tokens_{ending}"][0, k] += request.prompt_tokens
        self.outcome[f"output_tokens_{ending}"][0, k] += request.output_tokens
        self.outcome[f"value_{ending}_usd"][0, k] += value_usd
        return value_usd

    def _ttft_s(self, request: Request) -> float:
        return request.first_token_s - float(self.clients.asked_s[request.index])

    def _keeps_agreement(self, request: Request, in_slo: bool) -> bool:
        """Whether an answer is in time as the class's agreement counts: by its first token, or by the whole SLO."""
        limit_s = float(self.arrays.agreement_ttft_s[request.class_id])
        return not exceeds(self._ttft_s(request), limit_s) if np.isfinite(limit_s) else in_slo

    def _within_slo(self, request: Request, now_s: float) -> bool:
        a, k = self.arrays, request.class_id
        in_ttft = not exceeds(self._ttft_s(request), float(a.ttft_s[k]))
        # Without a limit inf * 0 would be NaN for a one-token answer.
        in_tpot = request.output_tokens == 1 or not exceeds(
            now_s - request.first_token_s, float(a.tpot_s[k]) * (request.output_tokens - 1)
        )
        e2e_s = now_s - float(self.clients.asked_s[request.index])
        return in_ttft and in_tpot and not exceeds(e2e_s, float(a.deadline_s[k]))
