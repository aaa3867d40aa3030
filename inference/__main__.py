"""The gateway process: ``python -m inference [--config FILE]``."""

import argparse
import importlib.abc
import logging
import os
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

from typing_extensions import override


class _Without(importlib.abc.MetaPathFinder):
    """Lets no module of this name be imported."""

    def __init__(self, name: str) -> None:
        self._name = name

    @override
    def find_spec(self, fullname: str, path: object, target: object = None) -> ModuleSpec | None:
        if fullname == self._name:
            raise ModuleNotFoundError(f"the gateway does without {fullname}", name=fullname)
        return None


def lighten() -> None:
    """Set what NumPy and pyarrow look at when they are imported; call it before they are."""
    # The scores are small products on one row: more threads gain nothing, and waiting for each
    # other on a busy machine they took 30 ms where 0.2 are enough.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Where pandas is installed, as it is beside fastai, pyarrow imports it to look at lists of
    # numbers: 40 MB and half a second for nothing.
    sys.meta_path.insert(0, _Without("pandas"))


def main() -> int:
    """Serve until a signal; open requests and the spool get a bounded time to finish."""
    parser = argparse.ArgumentParser(prog="python -m inference", description=__doc__)
    parser.add_argument("--config", type=Path, help="settings file; else ./fieldwatch.toml")
    arguments = parser.parse_args()
    lighten()
    import uvicorn

    from inference.app import create_app
    from inference.errors import InferenceError
    from inference.protocol import BoundedHttp
    from inference.settings import GatewaySettings
    from inference.spool import check_free
    from monitor.errors import FieldwatchError
    from monitor.store.settings import load_settings

    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    try:
        settings = load_settings(GatewaySettings, arguments.config)
    except FieldwatchError as error:
        print(f"fieldwatch gateway: {error}", file=sys.stderr)  # noqa: T201
        return 2
    options = settings.gateway
    try:
        # Here it is one sentence; once the server starts, the end of a traceback.
        if options.recording:
            check_free(settings.store.spool / options.name)
    except InferenceError as error:
        print(f"fieldwatch gateway: {error}", file=sys.stderr)  # noqa: T201
        return 1
    server = uvicorn.Server(
        uvicorn.Config(
            create_app(settings),
            host=options.host,
            port=options.port,
            loop="uvloop",
            http=BoundedHttp,
            access_log=False,
            log_config=None,
            server_header=False,
            timeout_graceful_shutdown=max(1, round(options.shutdown_s)),
        )
    )
    server.run()
    return 0 if server.started else 1


if __name__ == "__main__":
    sys.exit(main())
