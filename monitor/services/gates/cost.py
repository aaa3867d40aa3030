"""What a look costs: the work it does, not the time it waits for a busy machine."""

import time


class Cost:
    """Measures from where it is made."""

    def __init__(self) -> None:
        self._wall, self._processor = time.perf_counter(), time.process_time()

    @property
    def seconds(self) -> float:
        """Processor time of this process, of all its threads; at most the time that has passed.

        Others that keep the machine busy make a look last longer and not dearer: a gate that
        rested for many times what it waited would look least often where most is to be seen.
        """
        passed = time.perf_counter() - self._wall
        return min(passed, time.process_time() - self._processor)
