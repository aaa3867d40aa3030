"""Turn an exported Learner and its training data into a bundle.

First what is cheap: the data, its split, its pictures. Then a child process opens the pickle and
exports the model; nothing it returns is trusted until this process, by the code that serves, has
reproduced the Learner's predictions on real items. Last the reference is built and the bundle
written. No torch is imported here.
"""

import hashlib
import re
import shutil
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from reference_data.build import ReferenceFiles, build_reference
from reference_data.bundle import BODY, NAME_PATTERN, Bundle, DomainBody, Manifest, Parity, write
from reference_data.errors import ImportRefused
from reference_data.importing import parity
from reference_data.importing.body_request import body_job, find_file
from reference_data.importing.job import (
    FEATURES,
    HEAD,
    INPUTS,
    MODEL,
    PROBABILITIES,
    BodyOutcome,
    Job,
    Outcome,
)
from reference_data.importing.process import run_child
from reference_data.importing.quick_pass import drill_files
from reference_data.importing.reference_pass import ReferencePass, picture, run_reference
from reference_data.importing.request import ImportRequest, Progress
from reference_data.importing.survey import (
    Survey,
    choose_for_parity,
    refuse_unreadable,
    survey,
)
from reference_data.importing.table import Row, check_labels, read_table
from reference_data.preprocess import Preprocessing
from reference_data.scoring import Network


def import_learner(request: ImportRequest, progress: Progress) -> Bundle:
    """Import a Learner.

    Returns
    -------
    Bundle
        Written, verified, and not yet registered with anything that serves.

    Raises
    ------
    ImportRefused
        When the pickle is not trusted, the data or its split do not fit, the Learner holds
        something that cannot be restated, or its predictions are not reproduced. The message says
        what to do.
    """
    _refuse_bad_request(request)
    digest = _hash(request.learner)
    body_file = find_file(request)
    if not request.trust_pickle:
        more = _more(body_file)
        raise ImportRefused(_RISK.format(file=request.learner, digest=digest, more=more))
    table = read_table(
        request.data, split_unknown=request.split == "unknown", group_by=request.group_by
    )
    with progress.step("reading the pictures", len(table.rows)) as advance:
        surveyed = survey(table, advance)
    chosen = choose_for_parity(surveyed.table.rows, parity.ITEMS, request.seed)
    with tempfile.TemporaryDirectory(prefix="fieldwatch-import-") as name:
        folder = Path(name)
        with progress.step(f"copying {request.learner.name}, SHA-256 {digest[:16]}…", None):
            job = _job(request, chosen, folder, digest, body_file)
        outcome = run_child(job, folder, progress)
        check_labels(surveyed.table, outcome.vocab)
        preprocessing = msgspec.structs.replace(
            outcome.preprocessing, accepted_modes=surveyed.accepted_modes
        )
        body = folder / BODY if outcome.body is not None else None
        network = Network.open(folder / MODEL, body=body)
        with progress.step("proving parity with the Learner", len(chosen)) as advance:
            proved = parity.prove(
                chosen,
                preprocessing,
                network.forward,
                inputs=_array(folder / INPUTS),
                probabilities=_array(folder / PROBABILITIES),
                advance=advance,
            )
        domain_body = None
        if outcome.body is not None:
            with progress.step("proving parity with the body", len(chosen)) as advance:
                domain_body = _prove_body(
                    outcome.body, chosen, preprocessing, network, folder, advance
                )
        with progress.step("predicting the reference", len(surveyed.table.rows)) as advance:
            passed = run_reference(
                surveyed.table.rows, outcome.vocab, preprocessing, network, folder, advance
            )
        reference = _build(request, surveyed, passed, outcome, preprocessing, folder, progress)
        manifest = _manifest(request, surveyed, outcome, preprocessing, reference, proved, digest)
        manifest = _with_body(manifest, outcome.body, domain_body)
        drilled = drill_files(
            request,
            passed,
            reference.files,
            network,
            preprocessing,
            progress,
            split_known=surveyed.table.split_known,
        )
        files: dict[str, bytes | Path] = {**reference.files, **drilled, MODEL: folder / MODEL}
        if body is not None:
            files[BODY] = body
        return write(request.bundles / request.name, manifest, files)


_RISK = """{file} is a Python pickle, and opening a pickle runs whatever code it contains, with \
your rights, on this machine.
  SHA-256 {digest}{more}
If you exported it yourself, or this is the number its maker gave you, add --trust-pickle. It is \
then opened once, in a separate process without network; what is served is the model exported from \
it, and the pickle is never opened again."""


def _refuse_bad_request(request: ImportRequest) -> None:
    for what, value in (("name", request.name), ("version", request.version or "1")):
        if not NAME_PATTERN.fullmatch(value):
            raise ImportRefused(
                f"{value!r} cannot be a model's {what}: use up to 64 letters, digits, dots, dashes "
                "and underscores, beginning with a letter or a digit."
            )
    if request.alpha is not None and not 0 < request.alpha < 1:
        raise ImportRefused(f"--alpha {request.alpha} is no share: give one between 0 and 1.")
    if not request.learner.is_file():
        raise ImportRefused(
            f"there is no file {request.learner}. Give what learn.export wrote, usually a .pkl."
        )
    if request.code is not None and not request.code.is_file():
        raise ImportRefused(f"there is no file {request.code}. Check --code.")
    if request.version in _versions(request.bundles / request.name):
        raise ImportRefused(
            f"{request.name} has a version {request.version} already. Give another --version, or "
            "none to take the next number."
        )


def next_version(bundles: Path) -> str:
    """Return the number after the highest among the versions in a model's folder of bundles."""
    numbers = [int(version) for version in _versions(bundles) if version.isdecimal()]
    return str(max(numbers, default=0) + 1)


def _versions(bundles: Path) -> set[str]:
    pattern = re.compile(r"([^.].*)-[0-9a-f]{12}")
    return {found[1] for path in bundles.glob("*") if (found := pattern.fullmatch(path.name))}


def _hash(file: Path) -> str:
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _more(body: Path | None) -> str:
    return "" if body is None else f"\n{body} may be one too.\n  SHA-256 {_hash(body)}"


def _job(
    request: ImportRequest, chosen: list[Row], folder: Path, digest: str, body: Path | None
) -> Job:
    # A copy of our own: what is opened is what was hashed, whatever happens to the file meanwhile.
    copy = folder / "learner.pkl"
    shutil.copyfile(request.learner, copy)
    if _hash(copy) != digest:
        raise ImportRefused(f"{request.learner} changed while it was read. Import again.")
    return Job(
        learner=str(copy),
        learner_name=request.learner.name,
        code=None if request.code is None else str(request.code.absolute()),
        items=tuple(str(row.path.absolute()) for row in chosen),
        mid_layer=request.mid_layer,
        confine=not request.unconfined,
        body=body_job(request, body, folder),
    )


def _array(file: Path) -> NDArray[np.float32]:
    array: NDArray[np.float32] = np.load(file, mmap_mode="r", allow_pickle=False)
    return array


def _build(
    request: ImportRequest,
    surveyed: Survey,
    passed: ReferencePass,
    outcome: Outcome,
    preprocessing: Preprocessing,
    folder: Path,
    progress: Progress,
) -> ReferenceFiles:
    notes = (*surveyed.notes, *refuse_unreadable(passed.unreadable, len(surveyed.table.rows)))
    weights = bias = None
    if (folder / HEAD).is_file():
        with np.load(folder / HEAD, allow_pickle=False) as head:
            weights, bias = (head[key].astype(np.float32) for key in ("weight", "bias"))
    with progress.step("building the reference", None) as advance:
        reference = build_reference(
            passed.rows,
            passed.outputs,
            weights=weights,
            bias=bias,
            members=request.scores,
            cross_folds=request.cross_folds,
            vocab=outcome.vocab,
            seed=request.seed,
            split_known=surveyed.table.split_known,
            alpha=request.alpha,
            picture=lambda place: picture(passed.kept[place], preprocessing),
            advance=advance,
        )
    if not outcome.confinement:
        notes += ("The pickle was opened without isolation (--unconfined).",)
    report = msgspec.structs.replace(reference.report, notes=(*reference.report.notes, *notes))
    files = {**reference.files, "report.json": msgspec.json.format(msgspec.json.encode(report))}
    return ReferenceFiles(
        files=files,
        alpha=reference.alpha,
        certified=reference.certified,
        certified_reason=reference.certified_reason,
        counts=reference.counts,
        calibration=reference.calibration,
        report=report,
    )


def _prove_body(
    found: BodyOutcome,
    chosen: list[Row],
    preprocessing: Preprocessing,
    network: Network,
    folder: Path,
    advance: Callable[[int], None],
) -> DomainBody:
    difference = parity.prove_body(
        chosen, preprocessing, network.forward, features=_array(folder / FEATURES), advance=advance
    )
    return DomainBody(
        source=found.source,
        weights_file=found.weights_file,
        weights_sha256=found.weights_sha256,
        layer=found.layer,
        parity_items=len(chosen),
        parity_difference=difference,
    )


def _with_body(
    manifest: Manifest, found: BodyOutcome | None, proved: DomainBody | None
) -> Manifest:
    if found is None:
        return manifest
    return msgspec.structs.replace(manifest, mid_dim=found.dim, domain_body=proved)


def _manifest(
    request: ImportRequest,
    surveyed: Survey,
    outcome: Outcome,
    preprocessing: Preprocessing,
    reference: ReferenceFiles,
    proved: Parity,
    digest: str,
) -> Manifest:
    return Manifest(
        name=request.name,
        version=request.version or next_version(request.bundles / request.name),
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        learner_sha256=digest,
        learner_file=request.learner.name,
        confined=bool(outcome.confinement),
        architecture=outcome.architecture,
        vocab=outcome.vocab,
        preprocessing=preprocessing,
        mid_layer=outcome.mid_layer,
        embedding_dim=outcome.embedding_dim,
        mid_dim=outcome.mid_dim,
        alpha=reference.alpha,
        certified=reference.certified,
        certified_reason=reference.certified_reason,
        counts=reference.counts,
        calibration=reference.calibration,
        seed=request.seed,
        parity=proved,
        episodes_known=surveyed.table.episodes_known,
        segments=surveyed.table.segments,
    )
