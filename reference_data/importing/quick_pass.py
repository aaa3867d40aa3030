"""What an import adds to a bundle for its drill: pictures kept, and a quick pass over them."""

import io
from collections.abc import Mapping

import numpy as np

from reference_data import pictures, shifted, shifted_pass
from reference_data.importing.reference_pass import ReferencePass
from reference_data.importing.request import ImportRequest, Progress
from reference_data.preprocess import Preprocessing
from reference_data.roles import assign_roles
from reference_data.scores.domain import DomainScore
from reference_data.scores.semantic import SemanticScore
from reference_data.scoring import Network, under


def drill_files(
    request: ImportRequest,
    passed: ReferencePass,
    reference: Mapping[str, bytes],
    network: Network,
    preprocessing: Preprocessing,
    progress: Progress,
    *,
    split_known: bool,
) -> dict[str, bytes]:
    """Make pictures.parquet, and shifted.npz unless the request skips the drill.

    Parameters
    ----------
    reference
        Files of the reference just built; its fitted scores judge the shifted pictures.
    split_known
        As the reference was divided.
    """
    # The same division as the reference's: it follows from rows and seed alone.
    roles = assign_roles(passed.rows, request.seed, split_known=split_known)
    kept = pictures.sample(
        pictures.order(roles, request.seed),
        [row.item for row in passed.rows],
        np.array([row.label for row in passed.rows], dtype=np.intp),
        lambda row: passed.kept[row].path.read_bytes(),
    )
    files = {pictures.FILE: pictures.write(kept)}
    if not request.drill:
        return files
    with np.load(io.BytesIO(reference["scores.npz"]), allow_pickle=False) as archive:
        fitted = {name: archive[name] for name in archive.files}
    path = shifted_pass.ForwardPath(
        network=network,
        semantic=SemanticScore.from_arrays(under(fitted, "semantic.")),
        domain=DomainScore.from_arrays(under(fitted, "domain.")),
        preprocessing=preprocessing,
    )
    wanted = shifted_pass.grades(shifted_pass.QUICK_SEVERITIES)
    chosen = kept[: shifted_pass.QUICK_PICTURES]
    with progress.step("shifting held-out pictures", len(chosen) * len(wanted)) as advance:
        found = shifted_pass.run(
            path,
            chosen,
            wanted,
            seed=request.seed,
            advance=advance,
            seconds=shifted_pass.QUICK_SECONDS,
        )
    return files if found is None else {**files, shifted.FILE: found.to_bytes()}
