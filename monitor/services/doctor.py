"""Look for the usual faults of an installation, each with how to mend it.

Everything is looked at from outside, as an operator would: the state store, the events, the disk,
the bundles, and what the processes answer on their ports. Nothing is changed.
"""

from monitor.errors import FieldwatchError
from monitor.services.alertmanager_check import alertmanager
from monitor.services.context import Context
from monitor.services.findings import Check, Finding, Verdict, fault
from monitor.services.process_checks import clocks, gateways, schedule
from monitor.services.report_checks import reports
from monitor.services.state_checks import (
    bundles,
    certificates,
    disk,
    events_table,
    keys,
    latches,
    leftovers,
    spools,
    state_store,
)
from monitor.settings import Addresses


def examine(context: Context, addresses: Addresses) -> list[Finding]:
    """Run every check; one that cannot be made is a fault that says why."""
    findings: list[Finding] = []
    for name, check in CHECKS.items():
        try:
            findings += check(context, addresses)
        except FieldwatchError as error:
            findings.append(fault(name, str(error), "see there"))
        if name == "state store" and findings[-1].verdict is Verdict.FAULT:
            # All that follows but the disk would say the same.
            return [*findings, *disk(context, addresses)]
    return findings


CHECKS: dict[str, Check] = {
    "state store": state_store,
    "disk": disk,
    "events": events_table,
    "keys": keys,
    "bundles": bundles,
    "certificate": certificates,
    "gateways": gateways,
    "monitor": schedule,
    "clocks": clocks,
    "spool": spools,
    "windows and notices": leftovers,
    "alertmanager": alertmanager,
    "kill": latches,
    "reports": reports,
}
