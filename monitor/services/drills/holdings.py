"""What the streams of a bundle hold of the false-alarm budget, or would hold if it were served."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection

from monitor.domain import Mode, StreamKey
from monitor.services.streams import budget
from monitor.services.streams.baseline import Baseline
from monitor.services.streams.opening import delta_of, open_streams, unwatched
from monitor.services.streams.stream import Stream, Terms
from monitor.settings import DetectorOptions
from monitor.store.budget import Ledger


@dataclass(frozen=True, slots=True, kw_only=True)
class Holdings:
    """The part of the budget and of δ that the streams of one bundle's whole traffic have."""

    terms: Mapping[StreamKey, Terms]
    delta: float

    def open(self, model: str, baseline: Baseline) -> dict[StreamKey, Stream]:
        """Open the certified streams that a baseline supports."""
        held = {
            key: granted
            for key, granted in self.terms.items()
            if unwatched(key.stream, baseline) is None
        }
        if not held:
            return {}
        part = math.fsum(delta_of(key, self.terms, self.delta) for key in held)
        opened = open_streams(model, baseline, held, part)
        return {key: stream for key, stream in opened.items() if key.mode is Mode.CERTIFIED}


def holdings(
    conn: Connection, model: str, baseline: Baseline, options: DetectorOptions
) -> Holdings:
    """Read what a bundle's streams hold; else conclude what they would get now.

    Parameters
    ----------
    model, baseline
        Of the bundle.
    """
    ledger = Ledger(conn)
    references, running = ledger.references(), ledger.running()
    mine = {h: e for h, e in running.items() if h.bundle_sha == baseline.bundle_sha}
    if mine:
        granted = dict(budget.terms(mine, options))
    else:
        others = {h: e for h, e in running.items() if h.model != model}
        wanted = {h: budget.Demand(pool=e.pool, size=e.demand) for h, e in others.items()}
        wanted |= budget.demands(model, baseline, options)
        text = f"clock={options.clock} run_length={options.run_length!r}"
        granted = {
            holder.key: Terms(log_threshold=options.log_threshold(weight), text=text)
            for holder, _, weight, _ in budget.balance(others, wanted, budget.wholes(options)).begun
        }
    number = references.get(baseline.bundle_sha, max(references.values(), default=0) + 1)
    delta = budget.delta(options, number)
    whole = {key: terms for key, terms in granted.items() if not key.segment}
    parts = sum(delta_of(key, granted, delta) for key in whole)
    return Holdings(terms=whole, delta=parts)
