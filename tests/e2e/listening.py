"""Which addresses the processes that this test session has started listen on, and this process itself."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address

import psutil

from tests.leftovers import MARK
from tests.marked import marked

__all__ = ["Listener", "listeners"]


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
