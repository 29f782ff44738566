"""gunicorn's settings for the hand-written server: as many processes, some threads."""

workers = 2
worker_class = "gthread"
threads = 8
keepalive = 65
timeout = 300
