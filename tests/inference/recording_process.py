"""A process to kill: records events as fast as it can and names each one it was told is accepted.

Usage: python -m tests.inference.recording_process FOLDER
"""

import os
import sys
from pathlib import Path

from inference.recorder import Outcome, Recorder, RecorderOptions
from inference.spool import Spool
from tests.inference.event_examples import FolderSink, example_event

OPTIONS = RecorderOptions(sync_every_s=0.002, send_every_s=0.01, send_every_events=50)


def main(folder: str) -> None:
    """Record until killed."""
    spool = Spool.open(Path(folder) / "spool", name="gw", segment_bytes=20_000)
    recorder = Recorder(spool, FolderSink(Path(folder) / "sink"), OPTIONS)
    recorder.start()
    while True:
        event = example_event()
        if recorder.put(event) is Outcome.ACCEPTED:
            os.write(1, f"{event.event_id}\n".encode())


if __name__ == "__main__":
    main(sys.argv[1])
