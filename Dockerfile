# One image for every process of Bough; docker-compose.yml says which command each runs.
FROM python:3.11-slim

ENV PYTHONUNBUFFERED=1 \
    HOST=0.0.0.0 \
    PORT=8000 \
    BOUGH_DATA_DIR=/data

RUN useradd --uid 10001 --create-home bough && install -d -o bough -g bough /data
WORKDIR /app

COPY requirements/base.txt requirements/base.txt
RUN pip install --no-cache-dir --require-hashes --requirement requirements/base.txt

COPY manage.py Procfile ./
COPY config config
COPY apps apps
COPY templates templates
COPY static static
RUN python -m compileall -q config apps

USER bough
VOLUME /data
EXPOSE 8000
CMD ["python", "manage.py", "run_web"]
