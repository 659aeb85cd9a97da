"""Which addresses the processes that this test session has started listen on, and this process itself."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address

import psutil

from tests.leftovers import MARK
from tests.marked import marked

__all__ = ["Listener", "hold", "listeners", "watching"]


@dataclass(frozen=True, order=True)
class Listener:
    """A socket that waits for connections, and whose it is."""

    address: str
    port: int
    pid: int
    command: str

    @property
    def loopback(self) -> bool:
        """It can be reached from this machine alone."""
        address = ip_address(self.address)
        if isinstance(address, IPv6Address) and address.ipv4_mapped:
            return address.ipv4_mapped.is_loopback
        return address.is_loopback


def listeners() -> set[Listener]:
    """What they listen on now, TCP and UDP."""
    found: set[Listener] = set()
    for pid, command in {**marked(MARK, os.environ[MARK]), os.getpid(): "this process"}.items():
        try:
            connections = psutil.Process(pid).net_connections("inet")
        except psutil.NoSuchProcess:
            continue
        for one in connections:
            waits = one.status == psutil.CONN_LISTEN or (one.type == socket.SOCK_DGRAM and not one.raddr)
            if waits and one.laddr:
                found.add(Listener(one.laddr.ip, one.laddr.port, pid, command))
    return found


@contextmanager
def watching() -> Iterator[Callable[[], set[Listener]]]:
    """What listens at any time while the block lasts."""
    seen: set[Listener] = set()
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.2):
            seen.update(listeners())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield lambda: set(seen)
    finally:
        done.set()
        thread.join()


def hold(seen: set[Listener], *commands: str) -> None:
    """Of each of the commands something listens, and nothing of any of them beyond this machine."""
    assert sorted(one for one in seen if not one.loopback) == []
    assert [command for command in commands if not any(command in one.command for one in seen)] == []
