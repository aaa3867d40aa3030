"""Keep acknowledgements here and silences in Alertmanager in step, both ways."""

from dataclasses import dataclass

from monitor.services.context import Context
from monitor.services.signals.alertmanager import Alertmanager
from monitor.services.signals.poll import Polled, poll
from monitor.services.signals.push import Pushed, push


@dataclass(frozen=True, slots=True, kw_only=True)
class InStep:
    """What one pass did and found."""

    pushed: Pushed
    polled: Polled


def reconcile(context: Context, url: str) -> InStep:
    """Make and end silences that are due, then take in what was said in Alertmanager.

    Raises
    ------
    AlertmanagerUnreachable, AlertmanagerRefused
        If it does not answer, or cannot be understood.
    """
    with Alertmanager(url) as alertmanager:
        pushed = push(context, alertmanager)
        return InStep(pushed=pushed, polled=poll(context, alertmanager))
