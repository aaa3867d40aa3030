"""`fieldwatch import`: a Learner and its data become a bundle that may be served."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec
from rich.markup import escape

from monitor.certificate import Certificate
from monitor.commands.drill import show_briefly
from monitor.commands.keys import ACTOR
from monitor.commands.progress_bars import Bars
from monitor.commands.screen import console, percent, print_json, table
from monitor.errors import OptionInvalid
from monitor.services.drills.drill import certify
from monitor.services.register import Registration, register
from monitor.settings import MonitorSettings
from monitor.store.settings import load_settings
from monitor.wiring import make_context, ready_store
from reference_data.bundle import Bundle, Manifest, Parity
from reference_data.importing.import_learner import import_learner
from reference_data.importing.request import ImportRequest
from reference_data.report import Report
from reference_data.scores.member import DEFAULT, Member, MemberUnknown, members_named

SHOWN_LOSSES = 10
LARGEST_MATRIX = 20
"""Most classes whose confusion matrix fits a screen; above, only the commonest mistakes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What an import made."""

    name: str
    version: str
    digest: str
    path: Path
    parity: Parity
    registration: Registration
    certificate: Certificate | None
    """What the quick drill found; ``None`` when it was skipped."""
    report: Report


def run(
    *,
    learner: Path,
    data: Path,
    name: str,
    version: str | None,
    trust_pickle: bool,
    code: Path | None,
    split: str | None,
    group_by: str | None,
    mid_layer: str | None,
    domain_body: str | None,
    alpha: float | None,
    scores: str | None,
    cross_conformal: int | None,
    seed: int,
    unconfined: bool,
    serve: bool,
    drill: bool,
    as_json: bool,
    config: Path | None,
) -> int:
    """Import, register, and show what the reference is like."""
    chosen_split = _split(split)
    settings = load_settings(MonitorSettings, config)
    context = make_context(settings)
    # Before the long work, not after it: an unreachable store would waste the import.
    ready_store(context)
    request = ImportRequest(
        learner=learner,
        data=data,
        name=name,
        bundles=settings.store.bundles,
        version=version,
        trust_pickle=trust_pickle,
        code=code,
        split=chosen_split,
        group_by=group_by,
        mid_layer=mid_layer,
        domain_body=domain_body,
        alpha=alpha,
        scores=_members(scores),
        cross_folds=cross_conformal,
        seed=seed,
        unconfined=unconfined,
        drill=drill,
    )
    with Bars(quiet=as_json) as bars:
        bundle = import_learner(request, bars)
        now = datetime.now(UTC)
        registration = register(context.engine, bundle, serve=serve, actor=ACTOR, now=now)
        certificate = (
            certify(context, bundle, bars, seed=seed, by=ACTOR, now=now) if drill else None
        )
    report = msgspec.json.decode(bundle.read("report.json"), type=Report)
    if as_json:
        print_json(
            Imported(
                name=name,
                version=bundle.manifest.version,
                digest=bundle.digest,
                path=bundle.path,
                parity=bundle.manifest.parity,
                registration=registration,
                certificate=certificate,
                report=report,
            )
        )
    else:
        _show_report(report)
        _show_bundle(bundle, report, registration)
        show_briefly(certificate, name)
    return 0


def _split(split: str | None) -> Literal["unknown"] | None:
    if split is not None and split != "unknown":
        raise OptionInvalid("--split", split, "the only choice is 'unknown'")
    return None if split is None else "unknown"


def _members(scores: str | None) -> tuple[Member, ...]:
    if scores is None:
        return DEFAULT
    try:
        return members_named(scores.split(","))
    except MemberUnknown as error:
        raise OptionInvalid("--scores", scores, str(error)) from error


def _show_report(report: Report) -> None:
    if len(report.vocab) <= LARGEST_MATRIX:
        rows = [
            (label, *(count or "·" for count in counts))
            for label, counts in zip(report.vocab, report.confusion, strict=True)
        ]
        columns = ("is \\ predicted", *(f"{label}>" for label in report.vocab))
        console.print(table("confusion matrix, held-out rows", columns, rows))
    else:
        console.print(
            table(
                "commonest mistakes, held-out rows",
                ("is", "predicted", "rows>"),
                _mistakes(report)[:LARGEST_MATRIX],
            )
        )
    losses = [
        (loss.item, loss.label, loss.prediction, f"{loss.confidence:.3f}", f"{loss.loss:.2f}")
        for loss in report.top_losses[:SHOWN_LOSSES]
    ]
    columns = ("item", "is", "predicted", "confidence>", "loss>")
    console.print(table("top losses, held-out rows", columns, losses))


def _mistakes(report: Report) -> list[tuple[str, str, int]]:
    found = [
        (truth, predicted, count)
        for truth, counts in zip(report.vocab, report.confusion, strict=True)
        for predicted, count in zip(report.vocab, counts, strict=True)
        if truth != predicted and count
    ]
    return sorted(found, key=lambda mistake: -mistake[2])


def _show_bundle(bundle: Bundle, report: Report, registration: Registration) -> None:
    manifest = bundle.manifest
    counts = manifest.counts
    parity = manifest.parity
    lines: Sequence[tuple[str, str]] = [
        ("bundle", str(bundle.path)),
        ("digest", bundle.digest),
        ("Learner", f"{manifest.learner_file}, SHA-256 {manifest.learner_sha256}"),
        (
            "parity",
            f"{parity.agreed} of {parity.items} items the same class; inputs differ by at most "
            f"{parity.max_input_difference:.1e}, probabilities by "
            f"{parity.max_probability_difference:.1e}",
        ),
        (
            "rows",
            f"{counts.train} to train; held out: {counts.temperature} for the temperature, "
            f"{counts.calibrate} to calibrate, {counts.estimate} to estimate",
        ),
        *_bursts(manifest),
        ("accuracy", f"{percent(report.accuracy)} of {report.held_out_rows} held-out rows"),
        ("scores", ", ".join(report.members)),
        ("domain", _domain(bundle)),
        ("guarantee", report.guarantee),
        *(("note", note) for note in report.notes),
        *(("note", f"{score} is off: {why}") for score, why in report.switched_off.items()),
        ("served", _served(bundle, registration)),
    ]
    for name, text in lines:
        console.print(f"[bold]{name:>9}[/]  {escape(text)}", soft_wrap=True)


def _bursts(manifest: Manifest) -> list[tuple[str, str]]:
    size = manifest.calibration
    if size is None:
        return []
    worth = ", ".join(f"{name} {n:,.0f}" for name, n in size.n_eff.items())
    return [
        (
            "bursts",
            f"{size.frames} frames of each of {size.episodes:,} calibrating episodes are "
            f"{size.rows:,} rows; independent rows that know as much (n_eff): {worth}",
        )
    ]


def _domain(bundle: Bundle) -> str:
    manifest = bundle.manifest
    body = manifest.domain_body
    if body is None:
        return f"{manifest.mid_dim} features of the model's own {manifest.mid_layer}"
    return (
        f"{manifest.mid_dim} features of {body.source}, SHA-256 {body.weights_sha256[:16]}…, in a "
        f"second pass; on {body.parity_items} items they differ from the body's own by at most "
        f"{body.parity_difference:.1e}"
    )


def _served(bundle: Bundle, registration: Registration) -> str:
    version = bundle.manifest.version
    if not registration.served:
        return (
            f"not yet: another version of {bundle.manifest.name} is served. Import again with "
            f"--serve to serve version {version} in its place (in observe: humans act)."
        )
    instead = f" in place of version {registration.replaced}" if registration.replaced else ""
    return f"version {version}{instead}, in observe: it predicts, humans act"
