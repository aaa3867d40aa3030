"""Look for the usual faults of an installation, each with how to mend it.

Everything is looked at from outside, as an operator would: the state store, the events, the disk,
the bundles, and what the processes answer on their ports. Nothing is changed.
"""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum
from pathlib import Path

import httpx

from monitor.errors import FieldwatchError, StoreError
from monitor.services import assess
from monitor.services.context import Context
from monitor.settings import Addresses
from monitor.store.bundles import Bundles, BundleState
from monitor.store.engine import database_now, reading
from monitor.store.gateways import Gateways
from monitor.store.job_runs import JobRuns, RunStatus
from monitor.store.keys import Keys
from monitor.store.kill_latches import KillLatches
from monitor.store.migration import check_current
from monitor.store.outbox import Outbox
from monitor.store.routes import Routes
from monitor.store.windows import Windows
from reference_data.bundle import load
from reference_data.errors import BundleError

CLOCK_TOLERANCE_S = 5.0
"""Difference between two clocks above which times in the record mislead."""
FORGOTTEN = timedelta(hours=24)
"""A gateway silent for longer was taken away, and is no fault."""
LEAST_FREE = 1 << 30
"""Bytes below which a disk is about to be full."""
SPOOL_BACKLOG = 64 << 20
"""Bytes of unsent records that a healthy gateway never gathers."""
SPOOL_WAIT_S = 300.0
"""Age of a closed spool segment above which its sender is stuck, in seconds."""
JOB_SILENCE_S = 120.0
"""Time without a finished run after which the monitor's schedule is not running, in seconds."""
TIMEOUT_S = 3.0


class Verdict(StrEnum):
    """How a check ended."""

    FINE = "fine"
    NOTE = "note"
    """Nothing is broken, and somebody may want to know."""
    FAULT = "fault"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing looked at."""

    check: str
    verdict: Verdict
    found: str
    mend: str | None = None
    """What to do about it."""


Check = Callable[[Context, Addresses], Iterator[Finding]]


def examine(context: Context, addresses: Addresses) -> list[Finding]:
    """Run every check; one that cannot be made is a fault that says why."""
    findings: list[Finding] = []
    for name, check in CHECKS.items():
        try:
            findings += check(context, addresses)
        except StoreError as error:
            if name == "state store":
                findings.append(_fault(name, str(error), "see there"))
                # All that follows but the disk would say the same.
                findings += disk(context, addresses)
                break
            findings.append(_fault(name, str(error), "see there"))
        except FieldwatchError as error:
            findings.append(_fault(name, str(error), "see there"))
    return findings


def state_store(context: Context, _: Addresses) -> Iterator[Finding]:
    """Reachable, and of the schema this program was written for?"""
    settings = context.settings.store
    file = settings.home / "state.db"
    if settings.database_url is None and not file.exists():
        yield _fault(
            "state store",
            f"there is no installation in {settings.home}",
            "`fieldwatch up` makes one; FIELDWATCH_HOME or --config names another",
        )
        return
    check_current(context.engine)
    address = context.engine.url.render_as_string(hide_password=True)
    yield _fine("state store", f"{address} answers and has the schema needed")


def events_table(context: Context, _: Addresses) -> Iterator[Finding]:
    """Readable?"""
    yield _fine("events", f"{context.events.count():,} events recorded")


def clocks(context: Context, _: Addresses) -> Iterator[Finding]:
    """Do this machine, the database and the gateways agree on the time?"""
    with reading(context.engine) as conn:
        now = database_now(conn)
        gateways = Gateways(conn).all()
    offsets = {"this machine": (datetime.now(UTC) - now).total_seconds()}
    for gateway in gateways:
        if now - gateway.last_seen > FORGOTTEN:
            continue
        told = _clock_of(gateway.url)
        if told is not None:
            offsets[f"gateway {gateway.id}"] = (told - datetime.now(UTC)).total_seconds()
        elif (gateway.last_seen - now).total_seconds() > CLOCK_TOLERANCE_S:
            offsets[f"gateway {gateway.id}"] = (gateway.last_seen - now).total_seconds()
    wrong = {who: by for who, by in offsets.items() if abs(by) > CLOCK_TOLERANCE_S}
    for who, by in wrong.items():
        yield _fault(
            "clocks",
            f"the clock of {who} is {abs(by):.0f} s {'ahead of' if by > 0 else 'behind'} the "
            "database's",
            "let NTP set it (timedatectl set-ntp true); windows and evidence go by these times",
        )
    if not wrong:
        yield _fine("clocks", f"{', '.join(offsets)} and the database agree")


def keys(context: Context, _: Addresses) -> Iterator[Finding]:
    """Is there a key, and does the one on this machine open anything?"""
    with reading(context.engine) as conn:
        ring = Keys(conn).all()
    file = context.settings.store.key_file
    if not len(ring):
        yield _fault(
            "keys",
            "there is no key, so every request is turned away",
            "`fieldwatch keys create NAME --role admin` makes one",
        )
    elif not file.is_file():
        yield Finding(
            check="keys",
            verdict=Verdict.NOTE,
            found=f"{len(ring)} keys; none in {file}",
            mend="set FIELDWATCH_KEY for commands that talk to a gateway",
        )
    elif ring.verify(file.read_text().strip()) is None:
        yield _fault(
            "keys",
            f"the key in {file} is unknown or revoked",
            "`fieldwatch keys create NAME --role admin` makes another; put it into that file",
        )
    elif file.stat().st_mode & 0o077:
        yield _fault("keys", f"others may read {file}", f"chmod 600 {file}")
    else:
        yield _fine("keys", f"{len(ring)} active; the one in {file.name} opens everything")


def bundles(context: Context, _: Addresses) -> Iterator[Finding]:
    """Is every routed bundle trusted, there, and whole? Is anything served at all?"""
    with reading(context.engine) as conn:
        routes = Routes(conn).current()
        registered = {bundle.sha: bundle for bundle in Bundles(conn).all()}
    if not routes:
        yield _fault(
            "bundles",
            "no model is served",
            "`fieldwatch import LEARNER --data DIR --name NAME --trust-pickle` brings one in",
        )
    for model, snapshot in sorted(routes.items()):
        bundle = registered.get(snapshot.bundle_sha)
        if bundle is None or bundle.state is not BundleState.TRUSTED:
            state = "is not registered" if bundle is None else "was withdrawn"
            yield _fault(
                "bundles",
                f"the bundle {snapshot.bundle_sha[:12]} routed for {model} {state}",
                f"import {model} again with --serve",
            )
            continue
        try:
            load(Path(bundle.path), expected_digest=bundle.sha)
        except BundleError as error:
            yield _fault("bundles", str(error), "restore its folder, or import with --serve")
        else:
            yield _fine("bundles", f"{model} {bundle.version} is whole")
    yield from _strays(context.settings.store.bundles, {Path(b.path) for b in registered.values()})


def _strays(folder: Path, registered: set[Path]) -> Iterator[Finding]:
    for manifest in sorted(folder.glob("*/*/manifest.json")):
        if manifest.parent not in registered and not manifest.parent.name.startswith("."):
            yield Finding(
                check="bundles",
                verdict=Verdict.NOTE,
                found=f"{manifest.parent} is not registered, so no gateway serves it",
                mend="import it again to register it, or remove the folder",
            )


def gateways(context: Context, addresses: Addresses) -> Iterator[Finding]:
    """Does each gateway answer, with a fresh plan, on the routed epochs?"""
    with reading(context.engine) as conn:
        now = database_now(conn)
        routes = Routes(conn).current()
        known = [g for g in Gateways(conn).all() if now - g.last_seen <= FORGOTTEN]
    if not known:
        answer = _readiness(addresses.gateway.url)
        yield _fault(
            "gateways",
            f"no gateway has read its plan in a day; {addresses.gateway.url} "
            + ("does not answer" if answer is None else "answers, so it uses another state store"),
            "`fieldwatch up` starts one; compare its settings with these",
        )
    longest = min((s.max_staleness_s for s in routes.values()), default=60.0)
    for gateway in known:
        name = f"gateway {gateway.id}"
        silent = (now - gateway.last_seen).total_seconds()
        answer = _readiness(gateway.url)
        behind = [m for m, s in routes.items() if gateway.epochs.get(m) != s.epoch]
        if silent > longest:
            yield _fault(
                "gateways",
                f"{name} last read its plan {silent:.0f} s ago: its plan is stale, humans act"
                + ("" if answer else f"; {gateway.url} does not answer either"),
                "start it again, or see in its log why it cannot reach the state store",
            )
        elif answer is None:
            yield _fault(
                "gateways",
                f"{name} reads its plan, and {gateway.url} does not answer from here",
                "check the address it announces (gateway.url) and the network between",
            )
        elif troubles := [*answer.get("missing", []), *answer.get("degraded", [])]:
            for trouble in troubles:
                yield _fault("gateways", f"{name}: {trouble}", "see there")
        elif behind:
            yield _fault(
                "gateways",
                f"{name} has not taken up the current plan of {', '.join(behind)}",
                "its log says why the bundle could not be loaded",
            )
        else:
            yield _fine("gateways", f"{name} answers; plan read {silent:.0f} s ago")


def schedule(context: Context, addresses: Addresses) -> Iterator[Finding]:
    """Do the monitor's jobs run, and well?"""
    with reading(context.engine) as conn:
        now = database_now(conn)
        last = JobRuns(conn).last()
    ingest = last.get("ingest")
    ended = None if ingest is None else ingest.finished_at
    limit = max(JOB_SILENCE_S, 4 * context.settings.monitor.ingest_every_s)
    if ended is None or (now - ended).total_seconds() > limit:
        since = "has never taken events in" if ended is None else f"last did so at {ended:%H:%M:%S}"
        answers = _readiness(addresses.monitor.url) is not None
        yield _fault(
            "monitor",
            f"no monitor takes events in ({since} UTC); {addresses.monitor.url} "
            + ("answers" if answers else "does not answer"),
            "`fieldwatch up` or `fieldwatch monitor` starts one; its log says why it stopped",
        )
    failed = [run for run in last.values() if run.status is RunStatus.FAILED]
    for run in failed:
        yield _fault("monitor", f"the job {run.job} fails: {run.error}", "see there")
    if ended is not None and not failed and (now - ended).total_seconds() <= limit:
        yield _fine("monitor", f"took events in {(now - ended).total_seconds():.0f} s ago")


def leftovers(context: Context, _: Addresses) -> Iterator[Finding]:
    """Is work given up, or waiting for long?"""
    with reading(context.engine) as conn:
        lag = Windows(conn).lag(assess.JOB)
        dead = Windows(conn).dead(assess.JOB)
        backlog = Outbox(conn).backlog()
    if dead:
        yield _fault(
            "windows",
            f"{len(dead)} windows were given up, the last because: {dead[-1].last_error}",
            "mend the cause; what needs these windows stays inconclusive",
        )
    else:
        yield _fine("windows", f"{lag.pending + lag.running} to be summarised, none given up")
    if backlog.dead:
        yield _fault(
            "notices",
            f"{backlog.dead} notices could not be delivered",
            "check monitor.notify_urls and the destinations; `fieldwatch alarms list` has them all",
        )
    else:
        yield _fine("notices", f"{backlog.pending} waiting")


def latches(context: Context, _: Addresses) -> Iterator[Finding]:
    """Do humans act because somebody said so?"""
    with reading(context.engine) as conn:
        armed = KillLatches(conn).armed()
    file = context.settings.store.kill_file
    for latch in armed:
        yield Finding(
            check="kill",
            verdict=Verdict.NOTE,
            found=f"{latch.scope} {latch.key} is killed by {latch.armed_by}: {latch.reason}",
            mend="`fieldwatch rollout unkill` releases the latch",
        )
    if file.exists():
        yield Finding(
            check="kill",
            verdict=Verdict.NOTE,
            found=f"{file} exists, so humans act on every case of this machine's gateways",
            mend=f"remove {file} when it is over",
        )


def disk(context: Context, _: Addresses) -> Iterator[Finding]:
    """Is there room?"""
    home = context.settings.store.home
    if not home.exists():
        return
    usage = shutil.disk_usage(home)
    free = f"{usage.free / (1 << 30):.1f} GiB free at {home}"
    if usage.free < LEAST_FREE:
        yield _fault("disk", f"only {free}", "make room: without it records are lost")
    else:
        yield _fine("disk", free)


def spools(context: Context, _: Addresses) -> Iterator[Finding]:
    """Do records wait on this machine that should be in the events table?"""
    folder = context.settings.store.spool
    now = datetime.now(UTC).timestamp()
    for spool in sorted(path for path in folder.glob("*") if path.is_dir()):
        segments = sorted(spool.glob("*.seg"))
        sizes = [segment.stat().st_size for segment in segments]
        closed_s = [now - segment.stat().st_mtime for segment in segments[:-1]]
        if sum(sizes) > SPOOL_BACKLOG or max(closed_s, default=0.0) > SPOOL_WAIT_S:
            yield _fault(
                "spool",
                f"{sum(sizes) / (1 << 20):.0f} MiB of records wait in {spool}",
                "start its gateway if it does not run; else its log says why the events table "
                "does not take them",
            )
        else:
            yield _fine("spool", f"{spool.name} is sent in time")


CHECKS: dict[str, Check] = {
    "state store": state_store,
    "disk": disk,
    "events": events_table,
    "keys": keys,
    "bundles": bundles,
    "gateways": gateways,
    "monitor": schedule,
    "clocks": clocks,
    "spool": spools,
    "windows and notices": leftovers,
    "kill": latches,
}


def _fine(check: str, found: str) -> Finding:
    return Finding(check=check, verdict=Verdict.FINE, found=found)


def _fault(check: str, found: str, mend: str) -> Finding:
    return Finding(check=check, verdict=Verdict.FAULT, found=found, mend=mend)


def _readiness(url: str) -> dict[str, list[str]] | None:
    try:
        body = httpx.get(f"{url}/readyz", timeout=TIMEOUT_S, trust_env=False).json()
    except (httpx.HTTPError, ValueError):
        return None
    return body if isinstance(body, dict) and "ready" in body else None


def _clock_of(url: str) -> datetime | None:
    try:
        told = httpx.get(f"{url}/healthz", timeout=TIMEOUT_S, trust_env=False).headers["Date"]
    except (httpx.HTTPError, KeyError):
        return None
    return parsedate_to_datetime(told)
