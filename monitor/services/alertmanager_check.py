"""Check that people are told: by Alertmanager where it is configured, else by Apprise."""

from collections.abc import Iterator

from monitor.domain import AlarmKind, Severity
from monitor.errors import AlertmanagerRefused, AlertmanagerUnreachable
from monitor.services.context import Context
from monitor.services.findings import Finding, Verdict, fault, fine
from monitor.services.signals.alertmanager import Alertmanager
from monitor.services.signals.mirror import OWN_ALERTS
from monitor.services.signals.routing import ways
from monitor.settings import Addresses
from monitor.store.engine import reading
from monitor.store.silence import SilenceState
from monitor.store.silences import Silences

CHECK = "alertmanager"
PAGE = {
    "alertname": OWN_ALERTS[AlarmKind.NOVELTY],
    "kind": AlarmKind.NOVELTY.value,
    "severity": Severity.PAGE.value,
}


def alertmanager(context: Context, _: Addresses) -> Iterator[Finding]:
    """Does Alertmanager answer, let pages out at once, and tell the monitor?"""
    options = context.settings.monitor
    if options.alertmanager_url is None:
        return
    if options.notify_urls:
        yield Finding(
            check=CHECK,
            verdict=Verdict.NOTE,
            found="it tells people, so monitor.notify_urls are left unused",
            mend="remove them, or name them as receivers in Alertmanager's configuration",
        )
    with Alertmanager(options.alertmanager_url.get_secret_value()) as asked:
        try:
            standing = asked.standing()
        except (AlertmanagerUnreachable, AlertmanagerRefused) as error:
            yield fault(CHECK, str(error), "see there")
        else:
            yield from _routes(asked.address, standing.config.original)
    yield from _silences(context)


def _routes(address: str, original: str) -> Iterator[Finding]:
    try:
        found = ways(original, PAGE)
    except ValueError as error:
        yield Finding(
            check=CHECK,
            verdict=Verdict.NOTE,
            found=f"{address} answers; how it routes a page could not be followed: {error}",
            mend="ask `amtool config routes test severity=page`",
        )
        return
    slow = [way for way in found if way.waits]
    for way in slow:
        yield fault(
            CHECK,
            f"a page to {way.receiver} waits {way.group_wait} before it goes out",
            'set group_wait: 0s on the route of severity="page", as '
            "dashboards/alertmanager/alertmanager.yml does",
        )
    if all(way.tells_monitor is False for way in found):
        yield Finding(
            check=CHECK,
            verdict=Verdict.NOTE,
            found="no receiver of a page tells the monitor of it",
            mend="add the monitor's /v1/alertmanager as a webhook, with a key of the role service",
        )
    if not slow:
        receivers = ", ".join(way.receiver for way in found)
        yield fine(CHECK, f"{address} answers; a page goes to {receivers} at once")


def _silences(context: Context) -> Iterator[Finding]:
    with reading(context.engine) as conn:
        standing = Silences(conn).standing()
    for silence in standing:
        waits = silence.state in {SilenceState.PENDING, SilenceState.ENDING}
        if waits and silence.last_error is not None:
            yield fault(
                CHECK,
                f"the silence of {silence.subject} is {silence.state}: {silence.last_error}",
                "see there",
            )
