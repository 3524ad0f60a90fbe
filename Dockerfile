# HeadScope in a container: slim, non-root, models and results on volumes.
#   docker build -t headscope --build-arg TORCH_INDEX=<PyTorch's CPU index> .
#   docker run -p 8501:8501 -v headscope-models:/data/models -v headscope-results:/data/results headscope
# Several of them behind nginx, which is an image of its own: deploy/compose.yaml.
# The base by its digest, 3.11.16 of its kind: the same image builds the same. For a newer one: docs/deployment.md.
ARG BASE=python:3.11-slim-bookworm@sha256:a36c24f9cbdf4fd0f52d67f0823eeac19c2028c637cecc392d97f980d4fec56b
FROM ${BASE}

# The index to take torch from; empty is the ordinary one, whose Linux build brings CUDA along.
ARG TORCH_INDEX=""
ENV PYTHONUNBUFFERED=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    HEADSCOPE_MODELS=/data/models \
    HEADSCOPE_STORE=/data/results

RUN useradd --create-home --uid 1000 headscope \
    && mkdir -p /data/models /data/results /app \
    && chown -R headscope /data /app
WORKDIR /app

# Everything but torch by its digest; torch, whose build differs by machine, by its version.
COPY requirements.txt constraints.txt requirements.lock ./
RUN if [ -n "$TORCH_INDEX" ]; then pip install --no-deps --index-url "$TORCH_INDEX" $(grep '^torch==' requirements.txt); fi \
    && pip install --no-deps --require-hashes -r requirements.lock \
    && pip install -r requirements.txt -c constraints.txt

COPY --chown=headscope . .
USER headscope
# Warm start: byte-code, the attention view's script and the self-check's imports are paid for once, in the image.
RUN python -c "from core.ui.components.circuitsvis_frame import install_script; install_script()" && python -m core doctor

VOLUME ["/data/models", "/data/results"]
EXPOSE 8501
# Starts no Python: on a busy machine that alone would take longer than the answer.
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s CMD ["bash", "-c", \
    "exec 3<>/dev/tcp/127.0.0.1/8501 && printf 'GET /_stcore/health HTTP/1.0\\r\\n\\r\\n' >&3 && grep -q '^ok' <&3"]
CMD ["python", "-m", "core", "run", "--address", "0.0.0.0", "--port", "8501"]
