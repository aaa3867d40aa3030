"""Checks of the reports: can they be made here, and are they?"""

from collections.abc import Iterator

from monitor.reports import process
from monitor.services.context import Context
from monitor.services.findings import Finding, Verdict, fault, fine
from monitor.services.reports.show import fault_of, latest_of
from monitor.settings import Addresses
from monitor.store.engine import reading
from monitor.store.routes import Routes


def reports(context: Context, _: Addresses) -> Iterator[Finding]:
    """Is Evidently there, and was the report last due made?"""
    if not context.settings.monitor.reports.enabled:
        yield fine("reports", "switched off (monitor.reports.enabled)")
        return
    if not process.installed():
        yield Finding(
            check="reports",
            verdict=Verdict.NOTE,
            found="Evidently is not installed here, so no reports are made; nothing else needs it",
            mend="`pip install 'fieldwatch[reports]'` where the monitor runs; or set "
            "monitor.reports.enabled to false",
        )
        return
    with reading(context.engine) as conn:
        models = sorted(Routes(conn).current())
        faults = {model: fault_of(conn, model) for model in models}
    for model, cause in faults.items():
        latest = latest_of(context, model)
        if cause is not None:
            yield fault(
                "reports",
                f"the report of {model} last due was not made: {cause}",
                f"`fieldwatch report {model} --now` tries again; [monitor.reports] has the limits",
            )
        elif latest is None:
            yield fine("reports", f"none of {model} was due yet")
        else:
            yield fine(
                "reports", f"the latest of {model} is up to {latest.subject.until:%d %b %H:%M} UTC"
            )
