# The server in a container. It listens on all addresses of the container, so it asks every caller for a key or a
# password (`marigraph keys create`, `marigraph users create`), and it never changes the schema by itself when the
# database is PostgreSQL: `alembic upgrade head` is a step of its own (see compose.yaml). The health check speaks HTTP;
# with `--tls-cert` give it another one.

FROM python:3.11-slim-bookworm AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY domain ./domain
COPY eventstore ./eventstore
COPY marigraph ./marigraph
COPY migrations ./migrations
RUN python -m venv /opt/marigraph \
    && /opt/marigraph/bin/pip install --no-cache-dir --disable-pip-version-check .

FROM python:3.11-slim-bookworm
RUN groupadd --system --gid 10001 marigraph \
    && useradd --system --uid 10001 --gid marigraph --home-dir /data --shell /usr/sbin/nologin marigraph \
    && install --directory --owner=marigraph --group=marigraph --mode=0700 /data
COPY --from=build /opt/marigraph /opt/marigraph
# For `alembic upgrade head`, which is run in this folder.
COPY alembic.ini /opt/schema/
COPY migrations /opt/schema/migrations
ENV PATH=/opt/marigraph/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    MARIGRAPH_DB=/data/marigraph.db
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 9200
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9200/readyz', timeout=4)"]
ENTRYPOINT ["marigraph"]
CMD ["serve", "--host", "0.0.0.0", "--port", "9200", "--log-format", "json"]
