"""`fieldwatch rebaseline`: confirmed data of the field become part of a model's reference."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

from rich.markup import escape

from monitor.certificate import Certificate
from monitor.commands.drill import show_briefly
from monitor.commands.keys import ACTOR
from monitor.commands.progress_bars import Bars
from monitor.commands.screen import console, percent, print_json
from monitor.errors import OptionInvalid
from monitor.services.drills.drill import certify
from monitor.services.rebaseline import Outcome, Wish, rebaseline
from monitor.services.register import Registration
from monitor.wiring import open_store
from reference_data.bundle import Rebaseline
from reference_data.importing.rebaseline import Mode


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What a rebaselining made."""

    name: str
    version: str
    digest: str
    path: Path
    certified: bool
    certified_reason: str
    calibrate_before: int
    calibrate_after: int
    flagged_after: float | None
    """Share of the confirmed rows that did not calibrate it and that the new reference flags."""
    judged_after: int
    rebaselined: Rebaseline
    registration: Registration
    certificate: Certificate | None
    """What the quick drill found; ``None`` when it was skipped."""
    notes: tuple[str, ...]


def run(
    *,
    name: str,
    data: Path,
    mode: str,
    reason: str,
    group_by: str | None,
    accept_shift: bool,
    serve: bool,
    drill: bool,
    as_json: bool,
    config: Path | None,
) -> int:
    """Make the new reference, register it, and say what it changes."""
    wish = Wish(
        name=name,
        data=data,
        mode=_mode(mode),
        reason=reason,
        group_by=group_by,
        accept_shift=accept_shift,
        drill=drill,
        serve=serve,
    )
    with open_store(config) as context, Bars(quiet=as_json) as bars:
        outcome = rebaseline(
            context, wish, by=ACTOR, clock=lambda: datetime.now(UTC), progress=bars
        )
        bundle = outcome.made.bundle
        certificate = (
            certify(
                context,
                bundle,
                bars,
                seed=bundle.manifest.seed,
                by=ACTOR,
                now=datetime.now(UTC),
            )
            if drill
            else None
        )
    if as_json:
        print_json(_done(outcome, certificate))
    else:
        _show(_done(outcome, certificate), outcome.parent_version)
        show_briefly(certificate, name)
    return 0


def _mode(mode: str) -> Mode:
    for known in get_args(Mode):
        if mode == known:
            chosen: Mode = known
            return chosen
    raise OptionInvalid("--mode", mode, f"the choices are {' and '.join(get_args(Mode))}")


def _done(outcome: Outcome, certificate: Certificate | None) -> Done:
    made, manifest = outcome.made, outcome.made.bundle.manifest
    assert manifest.rebaselined is not None
    return Done(
        name=manifest.name,
        version=manifest.version,
        digest=made.bundle.digest,
        path=made.bundle.path,
        certified=manifest.certified,
        certified_reason=manifest.certified_reason,
        calibrate_before=made.calibrate_before,
        calibrate_after=manifest.counts.calibrate,
        flagged_after=made.flagged_after,
        judged_after=made.judged_after,
        rebaselined=manifest.rebaselined,
        registration=outcome.registration,
        certificate=certificate,
        notes=made.notes,
    )


def _show(done: Done, parent_version: str) -> None:
    record = done.rebaselined
    lines = [
        ("bundle", f"{done.name} version {done.version}, made from version {parent_version}"),
        ("digest", f"{done.digest}, parent {record.parent}"),
        ("rows", f"{record.rows} confirmed in {record.episodes} episodes, mode {record.mode}"),
        ("calibrate", f"{done.calibrate_before} episodes before, {done.calibrate_after} now"),
        (
            "flagged",
            f"{percent(record.flagged_before)} of the confirmed rows before; now "
            + (
                f"{percent(done.flagged_after)} of the {done.judged_after} that did not calibrate"
                if done.judged_after
                else "unknown, for all of them calibrate"
            ),
        ),
        ("guarantee", done.certified_reason),
        ("reason", record.reason),
        *(("note", note) for note in done.notes),
        ("streams", "begin anew with this version; a drill certificate of another is void for it"),
        (
            "served",
            "yes, in observe: it predicts, humans act"
            if done.registration.served
            else f"not yet: version {parent_version} is. Rebaseline again with --serve to serve it",
        ),
    ]
    for name, text in lines:
        console.print(f"[bold]{name:>9}[/]  {escape(text)}", soft_wrap=True)
