"""The services of `--local`, on this machine. Each service is one file and one line in services.py."""
