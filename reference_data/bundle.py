"""A bundle on disk: a model that is no pickle, what training looked like, and their checksums.

A bundle is a folder::

    manifest.json        what it is, how inputs are prepared, the SHA-256 of every other file
    model.onnx           input → logits, embedding, mid
    domain.onnx          input → mid, by a pretrained body; only where one was asked for
    scores.npz           fitted out-of-domain scores
    reference.npz        calibration and nearest-neighbour arrays
    held_out.npz         held-out rows as the model saw them, row by row
    windows.npz          what windows of the field are compared with
    reference.parquet    one row per reference item
    thumbnails.parquet   small pictures of a sample of them
    pictures.parquet     original files of a sample of held-out items, for drills
    shifted.npz          these, shifted by degrees, as the model saw them
    report.json          confusion matrix, top losses

Its identity is the SHA-256 of ``manifest.json``, which covers every file. A bundle is written
beside its place and renamed into it, so a half-written one is never seen, and it never changes
afterwards.
"""

import hashlib
import io
import os
import re
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from reference_data.errors import BundleCorrupt, BundleError, BundleMissing, BundleTooNew
from reference_data.preprocess import Preprocessing

FORMAT = 2
"""Version of the layout; a newer one is refused. Since 2 a joint score flags; bundles of 1 are read
and judged by their two p-values, as when they were made."""

MANIFEST = "manifest.json"
BODY = "domain.onnx"
NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""What models, versions and files of a bundle may be called: they become names of folders."""

_CHUNK = 1 << 20


class FileEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a file of the bundle must be."""

    sha256: str
    bytes: int


class Counts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the reference was divided: rows for `train`, episodes for the others."""

    train: int
    temperature: int
    calibrate: int
    estimate: int


class CalibrationSize(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What calibration rows that come in bursts are worth."""

    rows: int
    """Calibration rows: `frames` of every episode."""
    episodes: int
    frames: int
    n_eff: dict[str, float]
    """Independent rows that know as much about a quantity: "semantic", "domain", "joint",
    "confidence", "classes", "flagged", "property.NAME"; from `episodes` to `rows`."""
    first_alike: bool = True
    """Whether first frames look like the others; if not, they are not looked at by themselves."""

    @property
    def smallest(self) -> float:
        """What they are worth for the score that gains least from further frames."""
        scores = ("semantic", "domain", "joint", "confidence")
        return min(self.n_eff[name] for name in scores if name in self.n_eff)


class Parity(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How closely the bundle reproduced the Learner's own predictions on real items."""

    items: int
    max_input_difference: float
    max_probability_difference: float
    agreed: int
    """Items given the same class by both."""


class DomainBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The pretrained body whose features the domain score looks at, in the model's place."""

    source: str
    weights_file: str
    weights_sha256: str
    """Of the file of weights it was made of; its own is among the bundle's files."""
    layer: str
    """Where its last layers begin: what they are given are the features."""
    parity_items: int
    parity_difference: float
    """Largest difference of a feature from the body's own on real items, relative to the largest
    feature of the item."""


class Rebaseline(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a reference came from another one, by confirmed data of the field."""

    parent: str
    """Digest of the bundle whose model and fitted scores these are."""
    mode: Literal["join", "replace"]
    """Whether the confirmed rows joined the held-out rows, or took their place."""
    rows: int
    """Confirmed rows taken in."""
    episodes: int
    by: str
    at: str
    """UTC, ISO 8601."""
    reason: str
    flagged_before: float
    """Share of the confirmed rows that the parent flags."""
    accepted_shift: bool
    """Whether that was more than healthy inputs, and somebody took them in deliberately."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a bundle says about itself."""

    format: int = FORMAT
    name: str
    version: str
    created_at: str
    """UTC, ISO 8601."""
    learner_sha256: str
    learner_file: str
    confined: bool = True
    """Whether the Learner's pickle was opened without network and within limits."""
    architecture: str = ""
    """The model's classes, for people."""
    vocab: tuple[str, ...]
    preprocessing: Preprocessing
    mid_layer: str
    embedding_dim: int
    mid_dim: int
    """Number of features the domain score looks at."""
    alpha: float
    """An input is flagged when its p-value is at most this."""
    certified: bool
    """Whether the calibration can carry an alarm; false means charts only."""
    certified_reason: str
    counts: Counts
    calibration: CalibrationSize | None = None
    """What the calibration rows are worth; None when each is an episode of its own."""
    seed: int
    parity: Parity
    episodes_known: bool
    segments: tuple[str, ...] = ()
    """Extra columns of the data table, to slice by."""
    domain_body: DomainBody | None = None
    """What gives the domain score its features at the cost of a second pass; None: the model's own
    `mid_layer`, in the one pass there is."""
    rebaselined: Rebaseline | None = None
    """Where the reference came from, when confirmed data of the field are in it."""
    files: dict[str, FileEntry] = {}

    @property
    def effective(self) -> int:
        """Independent calibration rows that know as much as those there are."""
        return self.counts.calibrate if self.calibration is None else int(self.calibration.smallest)


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle whose every file was found to be the one imported."""

    path: Path
    digest: str
    """SHA-256 of the manifest's bytes, in hexadecimal: the bundle's identity."""
    manifest: Manifest

    def file(self, name: str) -> Path:
        """Return where a file of the bundle lies, or raise `BundleMissing`."""
        if name not in self.manifest.files:
            raise BundleMissing(self.path, name)
        return self.path / name

    def read(self, name: str) -> bytes:
        """Return a file's bytes, checked against the manifest as they are read."""
        path = self.file(name)
        try:
            data = path.read_bytes()
        except FileNotFoundError as error:
            raise BundleMissing(self.path, name) from error
        _compare(self.path, name, hashlib.sha256(data).hexdigest(), self.manifest)
        return data

    def arrays(self, name: str) -> dict[str, NDArray[np.generic]]:
        """Return the arrays of an ``.npz`` file of the bundle; pickled objects are refused."""
        with np.load(io.BytesIO(self.read(name)), allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}


def load(path: Path, *, expected_digest: str | None = None) -> Bundle:
    """Open a bundle and verify every file of it.

    Parameters
    ----------
    expected_digest
        The digest under which the bundle was registered. Without it, only agreement of the files
        with the manifest beside them is proved.

    Raises
    ------
    BundleMissing
        When there is no manifest, or a file it names is gone.
    BundleCorrupt
        When a file, or the manifest itself, is not the one expected.
    BundleTooNew
        When a newer Fieldwatch wrote it.
    BundleError
        When the manifest cannot be read at all.
    """
    try:
        text = (path / MANIFEST).read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise BundleMissing(path) from error
    digest = hashlib.sha256(text).hexdigest()
    if expected_digest is not None and digest != expected_digest:
        raise BundleCorrupt(path, MANIFEST, digest, expected_digest)
    manifest = _read_manifest(path, text)
    for name in manifest.files:
        try:
            found = _hash_file(path / name)
        except FileNotFoundError as error:
            raise BundleMissing(path, name) from error
        _compare(path, name, found, manifest)
    return Bundle(path=path, digest=digest, manifest=manifest)


def write(
    destination_parent: Path, manifest: Manifest, files: Mapping[str, bytes | Path]
) -> Bundle:
    """Write a bundle so that it is either there whole or not there at all.

    Parameters
    ----------
    destination_parent
        The folder of the model's bundles. The bundle becomes ``<version>-<sha12>`` in it.
    manifest
        Everything but `files`, which is filled in here.
    files
        Contents by file name, or where to copy them from.

    Returns
    -------
    Bundle
        As `load` would give it. Writing the same bundle twice, even at once, gives the same folder.
    """
    for name in (manifest.name, manifest.version, *files):
        if not NAME_PATTERN.fullmatch(name) or name == MANIFEST:
            raise BundleError(
                f"{name!r} cannot name a part of a bundle: use up to 64 letters, digits, dots, "
                "dashes and underscores, beginning with a letter or a digit."
            )
    destination_parent.mkdir(parents=True, exist_ok=True)
    partial = destination_parent / f".{manifest.version}-{uuid.uuid4().hex}.partial"
    partial.mkdir()
    try:
        entries = {name: _store(partial / name, source) for name, source in sorted(files.items())}
        text = msgspec.json.format(
            msgspec.json.encode(msgspec.structs.replace(manifest, files=entries)), indent=2
        )
        _store(partial / MANIFEST, text)
        _sync_folder(partial)
        digest = hashlib.sha256(text).hexdigest()
        place = destination_parent / f"{manifest.version}-{digest[:12]}"
        if not place.exists():
            _rename(partial, place)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    _sync_folder(destination_parent)
    return load(place, expected_digest=digest)


def _read_manifest(path: Path, text: bytes) -> Manifest:
    try:
        found = msgspec.json.decode(text, type=dict[str, object]).get("format")
        if isinstance(found, int) and found > FORMAT:
            raise BundleTooNew(path, found, FORMAT)
        manifest = msgspec.json.decode(text, type=Manifest)
    except (msgspec.DecodeError, ValueError) as error:
        raise BundleError(
            f"{MANIFEST} of the bundle {path} cannot be read: {error}. Restore the folder from a "
            "backup, or import the model again."
        ) from error
    for name in manifest.files:
        if not NAME_PATTERN.fullmatch(name):
            raise BundleError(f"{MANIFEST} of the bundle {path} names a file outside it: {name!r}.")
    return manifest


def _compare(path: Path, name: str, found: str, manifest: Manifest) -> None:
    expected = manifest.files[name].sha256
    if found != expected:
        raise BundleCorrupt(path, name, found, expected)


def _hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _store(place: Path, source: bytes | Path) -> FileEntry:
    with place.open("wb") as file:
        if isinstance(source, bytes):
            file.write(source)
        else:
            with source.open("rb") as original:
                shutil.copyfileobj(original, file, _CHUNK)
        file.flush()
        os.fsync(file.fileno())
        size = file.tell()
    return FileEntry(sha256=_hash_file(place), bytes=size)


def _rename(partial: Path, place: Path) -> None:
    try:
        partial.rename(place)
    except OSError:
        # Another process wrote the same bundle between our look and our rename; it has the same
        # digest, so the one that stands is as good as ours.
        if not place.exists():
            raise


def _sync_folder(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
