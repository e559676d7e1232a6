# The router as a container: dependencies by hash, the policy compiled, nobody's rights. docs/deploy/cloudrun.md
#
#   docker build -t pointsman .                                        serves rules/default.route
#   docker build -t pointsman --build-arg POLICY=rules/examples/canary.route .
#
# The digest is that of the manifest list (every architecture) of python:3.13.15-slim-trixie, as public repositories
# pin it (2026-09). Renew: `docker buildx imagetools inspect python:3.13-slim-trixie`.
ARG PYTHON=python:3.13.15-slim-trixie@sha256:9d2e5553305c7c7b0097999bb17187c69b921ccd6bc9d40e4bb5ebe652c00285

FROM ${PYTHON} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /app
COPY requirements.lock ./
RUN python -m venv /opt/pointsman \
 && /opt/pointsman/bin/python -m pip install --only-binary :all: --require-hashes -r requirements.lock \
 && /opt/pointsman/bin/python -m pip uninstall --yes pip \
 && rm requirements.lock
COPY router_dsl ./router_dsl
COPY runtime ./runtime
COPY handlers ./handlers
COPY rules ./rules
ARG POLICY=rules/default.route
# Hash-checked bytecode is never written anew: the code is read-only to who runs it, and imports cost a quarter.
RUN /opt/pointsman/bin/python -m handlers.cli.main build "${POLICY}" --root rules -o policy.plan \
 && /opt/pointsman/bin/python -m compileall -q --invalidation-mode unchecked-hash /app /opt/pointsman/lib

# The same image, so that compiled wheels meet the Python they were made for.
FROM ${PYTHON}
WORKDIR /app
COPY --from=build /opt/pointsman /opt/pointsman
COPY --from=build /app /app
ENV POINTSMAN_POLICY=/app/policy.plan PYTHONDONTWRITEBYTECODE=1 PORT=8080
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/opt/pointsman/bin/python", "-m", "handlers.cloud_run"]
