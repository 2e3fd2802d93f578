"""Entries, checks, and the ledger that they make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from tokenfleet.envs.layers.ledger.electricity import JOULES_PER_KWH

Account = Literal["net", "beyond", "forgone"]
ACCOUNTS: tuple[Account, ...] = ("net", "beyond", "forgone")
ALL_LAYERS = "all layers"
LAYERS = ("power", "facility", "gpu", "llm", "distribution", "scheduling", "agents")


class LedgerError(ArithmeticError):
    """A ledger does not balance; the message states each check that does not hold."""


@dataclass(frozen=True)
class Entry:
    """One line of a ledger.

    Attributes:
        layer: one of `LAYERS`.
        item: what the entry is for, unique within its layer and account.
        account: which dollars they are; see the package.
        usd: earned, or paid if negative [USD].
        joules: given to the fleet, or used if negative [J].
        grams: emitted [g CO2e].
        tokens: brought in, or taken out if negative.
    """

    layer: str
    item: str
    account: Account = "net"
    usd: float = 0.0
    joules: float = 0.0
    grams: float = 0.0
    tokens: float = 0.0


@dataclass(frozen=True)
class Check:
    """One sum of `layer`, or of `ALL_LAYERS`, that must come out: `value` is in [`low`, `high`], up to `tolerance`."""

    layer: str
    name: str
    unit: str
    value: float
    low: float
    high: float
    tolerance: float

    @property
    def holds(self) -> bool:
        """Whether the value lies within its bounds; False for NaN."""
        return self.low - self.tolerance <= self.value <= self.high + self.tolerance

    def __str__(self) -> str:
        wanted = f"{self.low:.9g}" if self.low == self.high else f"{self.low:.9g} to {self.high:.9g}"
        return f"{self.layer}: {self.name}: {self.value:.9g} {self.unit}, must be {wanted}"


@dataclass(frozen=True)
class Ledger:
    """What each layer costs and adds over an episode.

    Attributes:
        entries: in the order of the layers.
        checks: what must come out.
    """

    entries: tuple[Entry, ...]
    checks: tuple[Check, ...] = field(repr=False)

    def usd(self, account: Account = "net", layer: str | None = None) -> float:
        """Dollars of an account, of one layer or of all."""
        return sum(e.usd for e in self.entries if e.account == account and layer in (None, e.layer))

    def audit(self) -> tuple[Check, ...]:
        """The checks, all of which hold.

        Raises:
            LedgerError: one does not; the message states it.
        """
        broken = [str(check) for check in self.checks if not check.holds]
        if broken:
            raise LedgerError(f"the ledger does not balance: {'; '.join(broken)}")
        return self.checks

    def __str__(self) -> str:
        """A table: dollars by account, kWh, kg CO2e and tokens; entries of nothing are left out."""
        lines = [_line(e.layer, e.item, _columns([e])) for e in self.entries if any(_columns([e]))]
        dollars_and_grams = (*_columns(self.entries)[:3], 0.0, sum(e.grams for e in self.entries), 0.0)
        head = _cells("layer", "item", ("USD", "beyond", "forgone", "kWh", "kg CO2e", "tokens"))
        rule = "-" * len(head)
        return "\n".join([head, rule, *lines, rule, _line("total", "", dollars_and_grams)])


WIDTHS = (12, 12, 12, 11, 11, 15)
DECIMALS = (4, 4, 4, 3, 3, 0)
UNITS = (1.0, 1.0, 1.0, JOULES_PER_KWH, 1e3, 1.0)


def _columns(entries: Sequence[Entry]) -> tuple[float, ...]:
    """Dollars of each account, joules, grams and tokens, each summed."""
    usd = [sum(e.usd for e in entries if e.account == account) for account in ACCOUNTS]
    return (*usd, sum(e.joules for e in entries), sum(e.grams for e in entries), sum(e.tokens for e in entries))


def _line(layer: str, item: str, columns: tuple[float, ...]) -> str:
    formatted = zip(columns, UNITS, DECIMALS, strict=True)
    return _cells(layer, item, ["" if value == 0.0 else f"{value / unit:,.{n}f}" for value, unit, n in formatted])


def _cells(layer: str, item: str, texts: Sequence[str]) -> str:
    return (f"{layer:<13}{item:<30}" + "".join(f"{text:>{n}}" for text, n in zip(texts, WIDTHS, strict=True))).rstrip()
