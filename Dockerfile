# One image for `hogsend api`, `hogsend worker` and `hogsend migrate`.

FROM python:3.11.13-slim-bookworm AS build
RUN python -m venv /opt/hogsend
ENV PATH=/opt/hogsend/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
COPY requirements.lock requirements-dev.lock ./
RUN pip install --require-hashes --requirement requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY hogsend hogsend
COPY worker worker
COPY migrations migrations
# The build backend, in the version that the lock names, stays in this stage.
RUN python -m venv /opt/backend \
    && /opt/backend/bin/pip install "$(grep -o '^hatchling==[^ ]*' requirements-dev.lock)" \
    && /opt/backend/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
    && pip install --no-deps /wheels/*.whl

FROM python:3.11.13-slim-bookworm
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin hogsend
COPY --from=build /opt/hogsend /opt/hogsend
# Journeys and templates of your own are found here, when HOGSEND_JOURNEYS and HOGSEND_TEMPLATES name them.
WORKDIR /app
ENV PATH=/opt/hogsend/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOGSEND_HOST=0.0.0.0
USER 10001
EXPOSE 3002
ENTRYPOINT ["hogsend"]
CMD ["api"]
