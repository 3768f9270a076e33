# ferstream on a CPU: the command line with MediaPipe, the service, MQTT and metrics. The networks
# are in it: nothing is fetched when it runs.
#
#   docker build -t ferstream .
#   docker run --rm ferstream score sample
#   docker run -e FERSTREAM_TOKEN=... -p 127.0.0.1:8000:8000 ferstream

ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
WORKDIR /src
COPY pyproject.toml requirements.lock README.md LICENSE NOTICE ./
COPY ferstream ferstream
COPY stream stream
COPY engines engines
COPY training training
COPY calibration calibration
COPY demo demo
# The releases that the tests ran with; their hashes hold for `make test`, which installs them all.
RUN sed -e '/^ *--hash/d' -e 's/ *\\$//' requirements.lock > /tmp/releases.txt \
    && python3 -m venv /opt/ferstream \
    && /opt/ferstream/bin/pip install --no-cache-dir -c /tmp/releases.txt '.[mediapipe,serve,mqtt,metrics]'

FROM ${BASE}
# What OpenCV's wheel expects of the system.
RUN apt-get update \
    && apt-get install -y --no-install-recommends libgl1 libglib2.0-0 libsm6 libice6 libxext6 \
    && rm -rf /var/lib/apt/lists/*
RUN useradd --uid 10001 --create-home ferstream && install -d -o ferstream -g ferstream /data
COPY --from=build /opt/ferstream /opt/ferstream
ENV PATH=/opt/ferstream/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER ferstream
WORKDIR /data
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s CMD ["python3", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/readyz', timeout=5)"]
ENTRYPOINT ["ferstream"]
# Others can reach it there: it asks for a token, FERSTREAM_TOKEN, and does not start without one.
CMD ["serve", "--host", "0.0.0.0"]
