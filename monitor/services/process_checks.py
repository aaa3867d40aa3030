"""Checks of what runs: gateways, the monitor's jobs, and everybody's clocks."""

import functools
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import httpx

from monitor.services.context import Context
from monitor.services.findings import Finding, fault, fine
from monitor.settings import Addresses
from monitor.store.engine import database_now, reading
from monitor.store.gateways import Gateways
from monitor.store.job_runs import JobRuns, RunStatus
from monitor.store.routes import Routes

CLOCK_TOLERANCE_S = 5.0
"""Difference between two clocks above which times in the record mislead."""
FORGOTTEN = timedelta(hours=24)
"""A gateway silent for longer was taken away, and is no fault."""
TIMEOUT_S = 3.0


def gateways(context: Context, addresses: Addresses) -> Iterator[Finding]:
    """Does each gateway answer, with a fresh plan, on the routed epochs?"""
    with reading(context.engine) as conn:
        now = database_now(conn)
        routes = Routes(conn).current()
        known = [g for g in Gateways(conn).all() if now - g.last_seen <= FORGOTTEN]
    if not known:
        answer = _readiness(addresses.gateway.url)
        yield fault(
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
            yield fault(
                "gateways",
                f"{name} last read its plan {silent:.0f} s ago: its plan is stale, humans act"
                + ("" if answer else f"; {gateway.url} does not answer either"),
                "start it again, or see in its log why it cannot reach the state store",
            )
        elif answer is None:
            yield fault(
                "gateways",
                f"{name} reads its plan, and {gateway.url} does not answer from here",
                "check the address it announces (gateway.url) and the network between",
            )
        elif troubles := [*answer.get("missing", []), *answer.get("degraded", [])]:
            for trouble in troubles:
                yield fault("gateways", f"{name}: {trouble}", "see there")
        elif behind:
            yield fault(
                "gateways",
                f"{name} has not taken up the current plan of {', '.join(behind)}",
                "its log says why the bundle could not be loaded",
            )
        else:
            yield fine("gateways", f"{name} answers; plan read {silent:.0f} s ago")


def schedule(context: Context, addresses: Addresses) -> Iterator[Finding]:
    """Do the monitor's jobs run, and well?"""
    with reading(context.engine) as conn:
        now = database_now(conn)
        last = JobRuns(conn).last()
    ingest = last.get("ingest")
    ended = None if ingest is None else ingest.finished_at
    limit = context.settings.monitor.ingest_silence_s
    if ended is None or (now - ended).total_seconds() > limit:
        since = "none has yet" if ended is None else f"one last did at {ended:%H:%M:%S} UTC"
        answers = _readiness(addresses.monitor.url) is not None
        yield fault(
            "monitor",
            f"no monitor takes events in ({since}); {addresses.monitor.url} "
            + ("answers" if answers else "does not answer"),
            "`fieldwatch up` or `fieldwatch monitor` starts one; its log says why it stopped",
        )
    failed = [run for run in last.values() if run.status is RunStatus.FAILED]
    for run in failed:
        yield fault("monitor", f"the job {run.job} fails: {run.error}", "see there")
    if ended is not None and not failed and (now - ended).total_seconds() <= limit:
        yield fine("monitor", f"took events in {(now - ended).total_seconds():.0f} s ago")


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
        yield fault(
            "clocks",
            f"the clock of {who} is {abs(by):.0f} s {'ahead of' if by > 0 else 'behind'} the "
            "database's",
            "let NTP set it (timedatectl set-ntp true); windows and evidence go by these times",
        )
    if not wrong:
        yield fine("clocks", f"{', '.join(offsets)} and the database agree")


@functools.cache
def _tls() -> ssl.SSLContext:
    # Reading the authorities takes longer than all that is asked here.
    return httpx.create_ssl_context()


def _get(url: str) -> httpx.Response:
    return httpx.get(url, timeout=TIMEOUT_S, trust_env=False, verify=_tls())


def _readiness(url: str) -> dict[str, list[str]] | None:
    try:
        body = _get(f"{url}/readyz").json()
    except (httpx.HTTPError, ValueError):
        return None
    return body if isinstance(body, dict) and "ready" in body else None


def _clock_of(url: str) -> datetime | None:
    try:
        told = _get(f"{url}/healthz").headers["Date"]
    except (httpx.HTTPError, KeyError):
        return None
    return parsedate_to_datetime(told)
