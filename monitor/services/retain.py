"""Forget what was only to be kept for a while."""

from datetime import datetime

from monitor.services.context import Context
from monitor.store.payloads import Forgotten, Payloads


def retain(context: Context, now: datetime) -> Forgotten:
    """Delete the pictures of inputs that are past their days or beyond their room."""
    options = context.settings.monitor
    return Payloads(context.settings.store.payloads).forget(
        now, days=options.keep_payloads_days, most_bytes=options.keep_payloads_bytes
    )
