"""A lean load generator: raw keep-alive connections on uvloop, in a process of its own.

Reads a job from standard input and writes the result to standard output, both JSON. A general
HTTP client costs more per request than the servers measured here; this one writes prepared bytes
and looks at nothing but the status and the length.
"""

import asyncio
import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import uvloop

BOUNDARY = b"fieldwatch-benchmark"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What to send, where and for how long."""

    port: int
    path: str
    headers: dict[str, str]
    files: list[str]
    concurrency: int
    seconds: float
    warm_up: int
    """Requests per connection sent before the clock starts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What came of it."""

    requests: int
    errors: int
    """Answers with another status than 200."""
    seconds: float
    p50_ms: float
    p99_ms: float

    @property
    def per_second(self) -> float:
        """Good answers per second."""
        return (self.requests - self.errors) / self.seconds


def request_bytes(job: Job, content: bytes) -> bytes:
    """Return a whole multipart request as bytes."""
    body = b"".join(
        [
            b"--" + BOUNDARY + b"\r\n",
            b'Content-Disposition: form-data; name="file"; filename="image.jpg"\r\n',
            b"Content-Type: image/jpeg\r\n\r\n",
            content,
            b"\r\n--" + BOUNDARY + b"--\r\n",
        ]
    )
    headers = {
        "Host": "127.0.0.1",
        "Content-Type": f"multipart/form-data; boundary={BOUNDARY.decode()}",
        "Content-Length": str(len(body)),
        **job.headers,
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST {job.path} HTTP/1.1\r\n{lines}\r\n".encode() + body


class _Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def ask(self, request: bytes) -> int:
        """Send one request, read the whole answer, return its status."""
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = head.lower().split(b"content-length:", 1)[1].split(b"\r\n", 1)[0]
        await self._reader.readexactly(int(length))
        return int(head[9:12])

    def close(self) -> None:
        self._writer.close()


async def measure(job: Job) -> Load:
    """Keep `concurrency` requests under way for `seconds`."""
    requests = [request_bytes(job, Path(file).read_bytes()) for file in job.files]
    connections = [
        _Connection(*await asyncio.open_connection("127.0.0.1", job.port))
        for _ in range(job.concurrency)
    ]

    async def repeat(index: int, until: float, most: int | None) -> list[tuple[float, int]]:
        seen: list[tuple[float, int]] = []
        number = index
        while time.perf_counter() < until and (most is None or len(seen) < most):
            start = time.perf_counter()
            status = await connections[index].ask(requests[number % len(requests)])
            seen.append((time.perf_counter() - start, status))
            number += job.concurrency
        return seen

    workers = range(job.concurrency)
    await asyncio.gather(*(repeat(i, float("inf"), job.warm_up) for i in workers))
    begun = time.perf_counter()
    answers = await asyncio.gather(*(repeat(i, begun + job.seconds, None) for i in workers))
    took = time.perf_counter() - begun
    for connection in connections:
        connection.close()
    all_answers = [answer for each in answers for answer in each]
    latencies = sorted(latency * 1e3 for latency, _ in all_answers)
    return Load(
        requests=len(latencies),
        errors=sum(status != 200 for _, status in all_answers),
        seconds=took,
        p50_ms=latencies[len(latencies) // 2],
        p99_ms=latencies[min(len(latencies) - 1, int(len(latencies) * 0.99))],
    )


if __name__ == "__main__":
    outcome = uvloop.run(measure(Job(**json.load(sys.stdin))))
    json.dump(asdict(outcome), sys.stdout)
