"""Certificates made by hand."""

from datetime import UTC, datetime

from uuid6 import uuid7

from monitor.certificate import Certificate, Delay, Depth, Injected, Traffic
from monitor.stats.accuracy.paired import Effect

AT = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)


def certificate(
    bundle_sha: str,
    configuration: str = "d" * 64,
    *,
    model: str = "bears",
    refused: str | None = None,
    created_at: datetime = AT,
    resolve_after: int = 100,
) -> Certificate:
    """Make what a drill would have found, one weak spot included."""
    delay = Delay(
        share=1.0,
        repeats=10,
        seen=0,
        median=None,
        ninetieth=None,
        unseen_after=60,
        projected=None,
        streams={},
    )
    effect = Effect(
        items=60, before=0.9, after=0.6, difference=-0.3, low=-0.4, high=-0.2, p_value=1e-6
    )
    blur = Injected(
        shift="blur",
        severity=3,
        rows=60,
        flagged=3,
        flagged_low=0.01,
        flagged_high=0.1,
        accuracy=effect,
        delays=(delay,),
    )
    return Certificate(
        id=str(uuid7()),
        model=model,
        version="1",
        bundle_sha=bundle_sha,
        configuration=configuration,
        settings={"delta": "0.05"},
        depth=Depth.QUICK,
        seed=0,
        pictures=60,
        created_at=created_at,
        by="ann",
        traffic=Traffic(episodes_per_hour=60.0, batch=1, source="assumed"),
        null=None,
        injected=(blur,),
        weak_spots=("blur 3",),
        resolve_after=resolve_after,
        refused=refused,
        notes=(),
    )
