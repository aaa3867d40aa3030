"""Checks of what lies still: the store, the events, keys, bundles, disk and spools."""

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from monitor.certificate import State
from monitor.errors import BundleUntrusted
from monitor.services import assess
from monitor.services.context import Context
from monitor.services.drills.certificates import look_up
from monitor.services.drills.traffic import arrivals
from monitor.services.findings import Finding, Verdict, fault, fine
from monitor.settings import Addresses
from monitor.store.bundles import Bundles, BundleState
from monitor.store.engine import database_now, reading
from monitor.store.intakes import Intakes
from monitor.store.keys import Keys
from monitor.store.kill_latches import KillLatches
from monitor.store.migration import check_current
from monitor.store.outbox import Outbox
from monitor.store.routes import Routes
from monitor.store.windows import Windows
from reference_data.bundle import load
from reference_data.errors import BundleError

LEAST_FREE = 1 << 30
"""Bytes below which a disk is about to be full."""
SPOOL_BACKLOG = 64 << 20
"""Bytes of unsent records that a healthy gateway never gathers."""
SPOOL_WAIT_S = 300.0
"""Age of a closed spool segment above which its sender is stuck, in seconds."""


def state_store(context: Context, _: Addresses) -> Iterator[Finding]:
    """Reachable, and of the schema this program was written for?"""
    settings = context.settings.store
    file = settings.home / "state.db"
    if settings.database_url is None and not file.exists():
        yield fault(
            "state store",
            f"there is no installation in {settings.home}",
            "`fieldwatch up` makes one; FIELDWATCH_HOME or --config names another",
        )
        return
    check_current(context.engine)
    address = context.engine.url.render_as_string(hide_password=True)
    yield fine("state store", f"{address} answers and has the schema needed")


def events_table(context: Context, _: Addresses) -> Iterator[Finding]:
    """Readable, and does it still hold what was taken in?"""
    with reading(context.engine) as conn:
        taken_in = {m: sum(counts.values()) for m, counts in Intakes(conn).all().items()}
    # Counted after what was taken in, so that events which arrive meanwhile lack nothing.
    recorded = {model: context.events.count(model) for model in taken_in}
    lacking = {m: taken_in[m] - held for m, held in recorded.items() if held < taken_in[m]}
    for model, lost in sorted(lacking.items()):
        yield fault(
            "events",
            f"{lost:,} of the {taken_in[model]:,} events of {model} that the monitor took in are "
            f"gone: the events table ({context.settings.store.events}) was deleted, or replaced by "
            "another",
            "stop both processes and restore the table from a backup; without one, detectors keep "
            "what they learnt, and those events cannot be shown or explained any more",
        )
    if not lacking:
        yield fine("events", f"{context.events.count():,} events recorded")


def keys(context: Context, _: Addresses) -> Iterator[Finding]:
    """Is there a key, and does the one on this machine open anything?"""
    with reading(context.engine) as conn:
        ring = Keys(conn).all()
    file = context.settings.store.key_file
    if not len(ring):
        yield fault(
            "keys",
            "there is no key, so every request is turned away",
            "`fieldwatch up` makes the first one, `fieldwatch keys create NAME --role admin` more",
        )
    elif not file.is_file():
        yield Finding(
            check="keys",
            verdict=Verdict.NOTE,
            found=f"{len(ring)} keys; none in {file}",
            mend="set FIELDWATCH_KEY for commands that talk to a gateway",
        )
    elif ring.verify(file.read_text().strip()) is None:
        yield fault(
            "keys",
            f"the key in {file} is unknown or revoked",
            "`fieldwatch keys create NAME --role admin` makes another; put it into that file",
        )
    elif file.stat().st_mode & 0o077:
        yield fault("keys", f"others may read {file}", f"chmod 600 {file}")
    else:
        yield fine("keys", f"{len(ring)} active; the one in {file.name} opens everything")


def bundles(context: Context, _: Addresses) -> Iterator[Finding]:
    """Is every routed bundle trusted, there, and whole? Is anything served at all?"""
    with reading(context.engine) as conn:
        routes = Routes(conn).current()
        registered = {bundle.sha: bundle for bundle in Bundles(conn).all()}
    if not routes:
        yield fault(
            "bundles",
            "no model is served",
            "`fieldwatch import LEARNER --data DIR --name NAME --trust-pickle` brings one in",
        )
    served = [(model, each) for model, found in sorted(routes.items()) for each in found.serving]
    for model, serving in served:
        bundle = registered.get(serving.bundle_sha)
        if bundle is None or bundle.state is not BundleState.TRUSTED:
            state = "is not registered" if bundle is None else "was withdrawn"
            yield fault(
                "bundles",
                f"the bundle {serving.bundle_sha[:12]} routed for {model} {state}",
                f"import {model} again with --serve",
            )
            continue
        try:
            load(Path(bundle.path), expected_digest=bundle.sha)
        except BundleError as error:
            yield fault("bundles", str(error), "restore its folder, or import with --serve")
        else:
            yield fine("bundles", f"{model} {bundle.version} is whole")
    yield from _strays(context.settings.store.bundles, {Path(b.path) for b in registered.values()})


def certificates(context: Context, _: Addresses) -> Iterator[Finding]:
    """May the alarms of what is served page?"""
    with reading(context.engine) as conn:
        now, routes = database_now(conn), Routes(conn).current()
    served = [(model, each) for model, found in sorted(routes.items()) for each in found.serving]
    for model, serving in served:
        try:
            looked_up = look_up(context, model, serving.bundle_sha)
            found, certificate = looked_up.standing, looked_up.certificate
        except (BundleError, BundleUntrusted):
            # Said already, where bundles are checked.
            continue
        if found.state is State.VALID:
            yield fine("certificate", f"{serving.named(model)}: {found.reason}")
        else:
            yield Finding(
                check="certificate",
                verdict=Verdict.NOTE,
                found=f"alarms of {serving.named(model)} never page: {found.reason}",
                mend=f"`fieldwatch drill {model}`",
            )
        traffic = arrivals(context, model, now)
        if (
            found.state is State.VALID
            and certificate is not None
            and context.settings.monitor.detectors.clock == "seconds"
            and traffic.recorded
            and traffic.unlike(certificate.traffic)
        ):
            yield Finding(
                check="certificate",
                verdict=Verdict.NOTE,
                found=f"{model} was drilled for {certificate.traffic.episodes_per_hour:,.0f} "
                f"episodes an hour and has {traffic.episodes_per_hour:,.0f}: delays differ, the "
                "promise on false alarms does not",
                mend=f"`fieldwatch drill {model}` measures them anew",
            )
        if found.weak_spots:
            yield Finding(
                check="certificate",
                verdict=Verdict.NOTE,
                found=f"{model} loses accuracy unseen under {', '.join(found.weak_spots)}",
                mend="train on such inputs, or watch accuracy with labels",
            )


def _strays(folder: Path, registered: set[Path]) -> Iterator[Finding]:
    for manifest in sorted(folder.glob("*/*/manifest.json")):
        if manifest.parent not in registered and not manifest.parent.name.startswith("."):
            yield Finding(
                check="bundles",
                verdict=Verdict.NOTE,
                found=f"{manifest.parent} is not registered, so no gateway serves it",
                mend="import it again to register it, or remove the folder",
            )


def leftovers(context: Context, _: Addresses) -> Iterator[Finding]:
    """Is work given up, or waiting for long?"""
    with reading(context.engine) as conn:
        lag = Windows(conn).lag(assess.JOB)
        dead = Windows(conn).dead(assess.JOB)
        backlog = Outbox(conn).backlog()
    if dead:
        yield fault(
            "windows",
            f"{len(dead)} windows were given up, the last because: {dead[-1].last_error}",
            "mend the cause; what needs these windows stays inconclusive",
        )
    else:
        yield fine("windows", f"{lag.pending + lag.running} to be summarised, none given up")
    if backlog.dead:
        yield fault(
            "notices",
            f"{backlog.dead} notices could not be delivered",
            "check monitor.notify_urls and the destinations; `fieldwatch alarms list` has them all",
        )
    else:
        yield fine("notices", f"{backlog.pending} waiting")


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
        yield fault("disk", f"only {free}", "make room: without it records are lost")
    else:
        yield fine("disk", free)


def spools(context: Context, _: Addresses) -> Iterator[Finding]:
    """Do records wait on this machine that should be in the events table?"""
    folder = context.settings.store.spool
    now = datetime.now(UTC).timestamp()
    for spool in sorted(path for path in folder.glob("*") if path.is_dir()):
        segments = sorted(spool.glob("*.seg"))
        sizes = [segment.stat().st_size for segment in segments]
        closed_s = [now - segment.stat().st_mtime for segment in segments[:-1]]
        if sum(sizes) > SPOOL_BACKLOG or max(closed_s, default=0.0) > SPOOL_WAIT_S:
            yield fault(
                "spool",
                f"{sum(sizes) / (1 << 20):.0f} MiB of records wait in {spool}",
                "start its gateway if it does not run; else its log says why the events table "
                "does not take them",
            )
        else:
            yield fine("spool", f"{spool.name} is sent in time")
