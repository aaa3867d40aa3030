"""From the first picture out of domain to the pager: how long it takes, and that it stays quiet.

The whole of `docker-compose.yml` but Grafana runs as plain processes with its own commands and
configuration: PostgreSQL, two gateways, two monitors, Prometheus and Alertmanager, all intervals
as shipped. Healthy pictures come from `benchmarks.population`, each once and of a camera of its
own. In the burst half of ten pictures a second are askew.

    python -m benchmarks.signals [--quick] [--json FILE]
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.composed import Composed, Missing, check_installed
from benchmarks.population import fit_population
from benchmarks.report import Bar, Row, at_least, at_most, finish
from benchmarks.signals_field import Streets, bring_in_model, drill_model
from benchmarks.story_model import MODEL

DRIFT_PAGES = ("FieldwatchNovelty", "FieldwatchDomainDrift")
BURST_RATE, BURST_SHARE = 10.0, 0.5
CALM_RATE = 60.0
"""Pictures a second that let an alarm's hundred quiet episodes pass within seconds."""
SOAK_RATE = 1_000.0
"""More than the machine can: it sends as fast as it is answered."""
GIVEN_UP_S = 120.0
QUICK_SOAK, SOAK = 500, 20_000
BURSTS = 5
MOST_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Burst:
    """How one burst went."""

    alert: str | None
    """What was paged first, if anything."""
    to_webhook_s: float | None
    """From the first askew picture to the pager."""
    pictures: int
    """Sent from the burst's beginning until then."""
    to_resolved_s: float | None
    """From the end of the burst to the pager's word that it is over."""


def burst(composed: Composed, streets: Streets, *, to_its_end: bool) -> Burst:
    """Send a burst until it is paged, then healthy pictures, if wanted until it is over."""
    began, before = datetime.now(UTC), streets.answered
    streets.go(rate=BURST_RATE, askew_share=BURST_SHARE)
    notice = composed.pager.wait_for(DRIFT_PAGES, "firing", GIVEN_UP_S, since=began)
    pictures = streets.answered - before
    first = streets.first_askew(began)
    streets.go(rate=CALM_RATE)
    ended = datetime.now(UTC)
    if notice is None or first is None:
        return Burst(alert=None, to_webhook_s=None, pictures=pictures, to_resolved_s=None)
    patience = 3 * GIVEN_UP_S if to_its_end else 0.0
    over = composed.pager.wait_for([notice.name], "resolved", patience, since=ended)
    return Burst(
        alert=notice.name,
        to_webhook_s=(notice.received_at - first).total_seconds(),
        pictures=pictures,
        to_resolved_s=None if over is None else (over.received_at - ended).total_seconds(),
    )


def soak(composed: Composed, streets: Streets, events: int) -> tuple[list[str], float]:
    """Send so many healthy pictures; give what was paged for, and the seconds it took."""
    began, before = datetime.now(UTC), streets.answered
    streets.go(rate=SOAK_RATE)
    while streets.answered < before + events:
        time.sleep(0.1)
    streets.go(rate=BURST_RATE)
    took = datetime.now(UTC) - began
    _wait_until_taken_in(composed, before + events)
    # A scrape, an evaluation and a notification: what they were to say they have said.
    time.sleep(20)
    pages = [n for n in composed.pager.notices("pager", "firing") if n.received_at >= began]
    return sorted(page.name for page in pages), took / timedelta(seconds=1)


def _wait_until_taken_in(composed: Composed, events: int) -> None:
    deadline = time.monotonic() + GIVEN_UP_S
    expression = f'sum(max without (instance) (fieldwatch_events_ingested{{model="{MODEL}"}}))'
    while True:
        found = composed.query(expression)
        if found and float(found[0]["value"][1]) >= events:
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"the detectors did not take in {events} events: {found}")
        time.sleep(1)


def measure(folder: Path, *, seed: int, quick: bool) -> tuple[list[Row], list[Bar]]:
    """Run everything once; give the table and what it was to show."""
    population = fit_population()
    bursts, events = _size(quick)
    with Composed(folder) as composed:
        bring_in_model(composed, population, seed)
        drill_model(composed)
        composed.wait_until_ready()
        key = composed.make_key("cameras", "service")
        with Streets(composed, population, key, seed, CALM_RATE) as streets:
            pages, took = soak(composed, streets, events)
            rows: list[Row] = [_row("clean soak", events, took, ", ".join(pages), None)]
            print(f"clean soak: {took:.0f} s, {len(pages)} pages", flush=True)
            found = []
            for number in range(1, bursts + 1):
                found.append(burst(composed, streets, to_its_end=not quick))
                print(f"burst {number}: {found[-1]}", flush=True)
            faults = list(streets.faults)
    rows += [
        _row(f"burst {n}", each.pictures, each.to_webhook_s, each.alert, each.to_resolved_s)
        for n, each in enumerate(found, 1)
    ]
    return rows, _bars(found, pages, faults, quick=quick)


def _size(quick: bool) -> tuple[int, int]:
    """Tell how many bursts and healthy pictures there are."""
    return (1, QUICK_SOAK) if quick else (BURSTS, SOAK)


def _row(
    what: str, pictures: int, seconds: float | None, paged: str | None, resolved: float | None
) -> Row:
    return {
        "what": what,
        "pictures": pictures,
        "seconds": None if seconds is None else round(seconds, 1),
        "paged for": paged or None,
        "resolved after s": None if resolved is None else round(resolved, 1),
    }


def _bars(
    found: Sequence[Burst], pages: Sequence[str], faults: Sequence[str], *, quick: bool
) -> list[Bar]:
    delays = [GIVEN_UP_S if each.to_webhook_s is None else each.to_webhook_s for each in found]
    over = sum(each.to_resolved_s is not None for each in found)
    bars = [
        at_most("longest time from the first askew picture to the webhook, s", max(delays), MOST_S),
        at_most("median of it, s", statistics.median(delays), MOST_S),
        at_most("pages for drift in the clean soak", sum(p in DRIFT_PAGES for p in pages), 0),
        at_most("pages of any kind in it, of a machine that is too busy too", len(pages), 0),
        at_most("pictures that no gateway answered", len(faults), 0),
    ]
    return bars if quick else [*bars, at_least("share that resolved", over / len(found), 1)]


def main() -> None:
    """Measure, print and save."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.signals", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="a short soak, and one burst until it is paged"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="where to write rows, machine and bars")
    arguments = parser.parse_args()
    try:
        check_installed()
    except Missing as missing:
        parser.exit(1, f"{missing}\n")
    bursts, events = _size(arguments.quick)
    minutes = 2 if arguments.quick else 3 + 2 * bursts
    print(f"{events:,} healthy pictures, then {bursts} bursts; about {minutes} minutes")
    with tempfile.TemporaryDirectory(prefix="fieldwatch-signals-") as folder:
        rows, bars = measure(Path(folder), seed=arguments.seed, quick=arguments.quick)
    finish("from the first askew picture to the pager", rows, bars, arguments.json)


if __name__ == "__main__":
    main()
