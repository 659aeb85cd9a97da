"""Beam's `--setup_file`: what it builds and a Dataflow worker installs. The metadata is in pyproject.toml."""

from setuptools import setup

setup()
