"""The same services on this machine, for `--local`: each service is one file and one line in services.py."""
