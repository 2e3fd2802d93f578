"""The ledger: what each layer costs and adds, in dollars, joules, grams and tokens, and the proof that it adds up.

An `Entry` is one line of it. What comes in is positive and what goes out negative, in every column:

- `joules` of all entries sum to 0: grid, sun and batteries give as much as the layers use;
- `grams` sum to the emissions of the electricity bought;
- `usd` of the account `net` sum to net value. The power layer buys at the grid's price of the tick and passes every
  joule on at that price. So the savings of sun and batteries are its own;
- `tokens` of layer `llm` sum to 0 (computed context is in an answer, given up or still there), and so do those of
  `scheduling` and `agents` together (requested tokens are answered, turned away or in flight).

Two accounts stand beside net value: `beyond` is money that somebody pays and net value leaves out (rent, traffic);
`forgone` is the price of what was not sold. `Ledger.audit` states the checks.
"""

from __future__ import annotations

from tokenfleet.envs.layers.ledger.agreed import AGREED, Agreed, agreed_usd
from tokenfleet.envs.layers.ledger.book import ACCOUNTS, ALL_LAYERS, LAYERS, Account, Check, Entry, Ledger, LedgerError
from tokenfleet.envs.layers.ledger.checks import all_checks
from tokenfleet.envs.layers.ledger.electricity import JOULES_PER_KWH, JOULES_PER_MWH, emissions_g, energy_cost_usd
from tokenfleet.envs.layers.ledger.entries import all_entries
from tokenfleet.envs.layers.ledger.sums import PRICED, LedgerRates, Sums

TOKENS_PER_MILLION = 1e6

__all__ = [
    "ACCOUNTS",
    "AGREED",
    "ALL_LAYERS",
    "JOULES_PER_KWH",
    "JOULES_PER_MWH",
    "LAYERS",
    "PRICED",
    "TOKENS_PER_MILLION",
    "Account",
    "Agreed",
    "Check",
    "Entry",
    "Ledger",
    "LedgerError",
    "LedgerRates",
    "Sums",
    "agreed_usd",
    "emissions_g",
    "energy_cost_usd",
    "make_ledger",
]


def make_ledger(sums: Sums, rates: LedgerRates) -> Ledger:
    """The ledger of an episode."""
    entries = all_entries(sums, rates)
    return Ledger(entries, all_checks(entries, sums, rates))
