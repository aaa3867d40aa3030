# Three images from one file: `serve` (the gateway: no torch, no pandas), `monitor` (adds Evidently) and
# `train` (torch and fastai, to import a Learner). Versions are those the tests ran with.
#   docker build --target serve --tag fieldwatch-serve:0.1.0 .
FROM python:3.11.14-slim-bookworm AS python

# What builds: nothing of it is in an image that runs.
FROM python AS tools
RUN pip install --no-cache-dir --disable-pip-version-check uv==0.13.9 setuptools==84.2.1
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_NO_CACHE=1 UV_PYTHON_DOWNLOADS=never
RUN uv venv /opt/fieldwatch
ENV VIRTUAL_ENV=/opt/fieldwatch
WORKDIR /src

FROM tools AS wheel
COPY pyproject.toml README.md ./
COPY reference_data reference_data
COPY inference inference
COPY monitor monitor
RUN /usr/local/bin/python -m pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheels .

# Requirements before the code: a change of the code installs the wheel alone.
FROM tools AS serve-environment
COPY requirements-serve.txt ./
RUN uv pip install --requirements requirements-serve.txt
COPY --from=wheel /wheels /wheels
RUN uv pip install --no-deps /wheels/*.whl

FROM tools AS monitor-environment
COPY requirements-monitor.txt ./
RUN uv pip install --requirements requirements-monitor.txt
COPY --from=wheel /wheels /wheels
RUN uv pip install --no-deps /wheels/*.whl

FROM tools AS train-environment
COPY requirements-train.txt ./
RUN uv pip install --requirements requirements-train.txt
COPY --from=wheel /wheels /wheels
RUN uv pip install --no-deps /wheels/*.whl

# What runs: a user without rights and without a shell of its own, and nothing to write but the home
# volume and /tmp, so that the root can be read-only.
FROM python AS runtime
RUN groupadd --gid 10001 fieldwatch \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin fieldwatch \
 && install --directory --owner fieldwatch --group fieldwatch --mode 0750 \
      /var/lib/fieldwatch /var/lib/fieldwatch/spool \
 && install --directory /etc/fieldwatch
ENV PATH=/opt/fieldwatch/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    DO_NOT_TRACK=1 \
    HOME=/tmp \
    FIELDWATCH_HOME=/var/lib/fieldwatch
# A fieldwatch.toml mounted here is found.
WORKDIR /etc/fieldwatch
USER 10001:10001
ENTRYPOINT ["fieldwatch"]

FROM runtime AS serve
COPY --from=serve-environment /opt/fieldwatch /opt/fieldwatch
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=3 \
  CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
CMD ["gateway"]

FROM runtime AS monitor
COPY --from=monitor-environment /opt/fieldwatch /opt/fieldwatch
EXPOSE 8001
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=3 \
  CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8001/readyz', timeout=4)"]
CMD ["monitor"]

FROM runtime AS train
COPY --from=train-environment /opt/fieldwatch /opt/fieldwatch
HEALTHCHECK NONE
CMD ["import", "--help"]
