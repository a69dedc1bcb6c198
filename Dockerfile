# The control plane. Sidecars are stock Envoy and need no image of Plait.
#
#   docker build -t plait .
#   docker run --network host -v "$PWD/mesh:/etc/plait/manifests:ro" -v plait-state:/var/lib/plait plait
#   docker exec CONTAINER meshctl status
#
# The network is the host's because the xDS port is given to sidecars as it is listened on, 127.0.0.1:15012
# by default (PLAIT_LISTEN).
ARG BASE=python:3.11.14-slim-bookworm

FROM ${BASE} AS build
WORKDIR /src
RUN python -m venv /opt/plait
COPY pyproject.toml constraints.txt README.md ./
COPY xds xds
COPY controlplane controlplane
COPY sidecar sidecar
RUN /opt/plait/bin/pip install --no-cache-dir --disable-pip-version-check -c constraints.txt .

FROM ${BASE}
RUN groupadd --gid 10001 plait \
    && useradd --uid 10001 --gid plait --no-create-home --home-dir /var/lib/plait --shell /usr/sbin/nologin plait \
    && install -d -o plait -g plait -m 0700 /var/lib/plait \
    && install -d /etc/plait/manifests
COPY --from=build /opt/plait /opt/plait
ENV PATH=/opt/plait/bin:$PATH PYTHONUNBUFFERED=1 PLAIT_STATE=/var/lib/plait
USER 10001:10001
VOLUME /var/lib/plait
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:15014/readyz', timeout=2)"]
ENTRYPOINT ["plait"]
CMD ["serve", "/etc/plait/manifests"]
