"""The ledgers of a study: what each layer costs and adds under each policy, as means over its episodes."""

from __future__ import annotations

import csv
import io
import math

from tokenfleet.envs.layers.ledger import Check, Entry, Ledger, LedgerError
from tokenfleet.envs.spec import counted

COLUMNS = ("usd", "joules", "grams", "tokens")


class LedgerBook:
    """Collects the ledger of every policy's every episode."""

    def __init__(self) -> None:
        self._entries: dict[str, list[tuple[Entry, ...]]] = {}
        self._checks = 0
        self._broken: dict[tuple[str, str], list[Check]] = {}

    def __bool__(self) -> bool:
        return bool(self._entries)

    def add(self, policy: str, ledger: Ledger) -> None:
        """Count one episode."""
        self._entries.setdefault(policy, []).append(ledger.entries)
        self._checks += len(ledger.checks)
        for check in ledger.checks:
            if not check.holds:
                self._broken.setdefault((policy, check.name), []).append(check)

    def csv(self) -> str:
        """One line for each policy and entry: policy, layer, item, account, and the means of its numbers."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(("policy", "layer", "item", "account", *COLUMNS))
        for policy, ledgers in self._entries.items():
            for entries in zip(*ledgers, strict=True):
                # Exact sums do not depend on the order in which episodes end.
                means = [math.fsum(getattr(e, column) for e in entries) / len(entries) for column in COLUMNS]
                writer.writerow((policy, entries[0].layer, entries[0].item, entries[0].account, *means))
        return text.getvalue()

    def audit(self) -> str:
        """That every layer of every episode adds up, in a sentence.

        Raises:
            LedgerError: it does not; one line for each policy and check, with the sums of the first such episode.
        """
        if self._broken:
            lines = [
                f"{policy}: {found[0]} ({counted(len(found), 'episode')})"
                for (policy, _), found in self._broken.items()
            ]
            raise LedgerError("\n".join(["the ledger does not balance, a fault of the simulator:", *lines]))
        return f"The ledger balances: all {self._checks} checks of what the layers cost and add hold (ledger.csv)."
