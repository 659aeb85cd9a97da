"""Change a gRPC class, so that its servers listen on 127.0.0.1 and not on every interface.

Beam's Java servers (the expansion service, Flink's job server, a task manager's servers for its workers) have no option
for their interface. All of them call `NettyServerBuilder.forPort(port)`, which listens on every interface: anyone who
can connect can run code. A user's machine has no Java compiler, so a few bytes of the two methods are changed:

    new InetSocketAddress(port)  ->  new InetSocketAddress(InetAddress.getLoopbackAddress(), port)

See chapter 4 of the Java Virtual Machine Specification for the format.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

__all__ = ["CLASS", "on_loopback"]

CLASS = "io/grpc/netty/NettyServerBuilder.class"
"""The end of the name of its file; shading puts it under other folders."""
MAGIC = bytes.fromhex("CAFEBABE")
UTF8, LONG, DOUBLE, CLASS_TAG, METHOD, NAME_AND_TYPE = 1, 5, 6, 7, 10, 12
SIZES = {3: 4, 4: 4, 5: 8, 6: 8, 7: 2, 8: 2, 9: 4, 10: 4, 11: 4, 12: 4, 15: 3, 16: 2, 17: 4, 18: 4, 19: 2, 20: 2}
"""Bytes of a constant after its tag, by tag. A UTF-8 constant has its length in front."""
NEW, DUP, ILOAD_0, INVOKESPECIAL, INVOKESTATIC = 0xBB, 0x59, 0x1A, 0xB7, 0xB8
ADDRESS = "java/net/InetSocketAddress"


def on_loopback(class_file: bytes) -> bytes:
    """Return the class file with both `forPort` methods changed. Raises ValueError if the class is not as expected."""
    if class_file[:4] != MAGIC or len(class_file) < 10:
        raise ValueError("it is no Java class")
    (count,) = struct.unpack_from(">H", class_file, 8)
    constants, end = _constants(class_file, count)
    added = _Added(count, [])
    loopback = added.method("java/net/InetAddress", "getLoopbackAddress", "()Ljava/net/InetAddress;")
    of_both = added.method(ADDRESS, "<init>", "(Ljava/net/InetAddress;I)V")
    body, changed = bytearray(class_file[end:]), 0
    for owner, name, descriptor, index in _methods(constants):
        if (owner, name, descriptor) == (ADDRESS, "<init>", "(I)V"):
            changed += _insert(body, index, loopback, of_both)
    if changed != 2:
        raise ValueError(f"{changed} of its methods create an address from a port, not 2")
    new_constants = class_file[10:end] + b"".join(added.constants)
    return class_file[:8] + struct.pack(">H", count + len(added.constants)) + new_constants + bytes(body)


@dataclass
class _Added:
    """Constants that are added to a class with `count` constants."""

    count: int
    constants: list[bytes]

    def method(self, owner: str, name: str, descriptor: str) -> int:
        """Add a method reference; return its index."""
        of_class = self._add(struct.pack(">BH", CLASS_TAG, self._text(owner)))
        what = self._add(struct.pack(">BHH", NAME_AND_TYPE, self._text(name), self._text(descriptor)))
        return self._add(struct.pack(">BHH", METHOD, of_class, what))

    def _text(self, text: str) -> int:
        return self._add(struct.pack(">BH", UTF8, len(text)) + text.encode())

    def _add(self, constant: bytes) -> int:
        self.constants.append(constant)
        return self.count + len(self.constants) - 1


def _constants(class_file: bytes, count: int) -> tuple[dict[int, tuple[int, bytes]], int]:
    """Return tag and content of each constant by its index, and the offset of their end."""
    constants, at, index = {}, 10, 1
    while index < count:
        tag = class_file[at]
        start = at + 3 if tag == UTF8 else at + 1
        at = start + (struct.unpack_from(">H", class_file, at + 1)[0] if tag == UTF8 else SIZES[tag])
        constants[index] = tag, class_file[start:at]
        index += 2 if tag in (LONG, DOUBLE) else 1
    return constants, at


def _methods(constants: dict[int, tuple[int, bytes]]) -> list[tuple[str, str, str, int]]:
    """Return class, name, descriptor and index of every method that the class calls."""

    def text(index: int) -> str:
        return constants[index][1].decode()

    methods = []
    for index, (tag, content) in constants.items():
        if tag == METHOD:
            of_class, what = struct.unpack(">HH", content)
            name, descriptor = struct.unpack(">HH", constants[what][1])
            methods.append((text(struct.unpack(">H", constants[of_class][1])[0]), text(name), text(descriptor), index))
    return methods


def _insert(body: bytearray, of_port: int, loopback: int, of_both: int) -> int:
    """Change each `new …(port)` at the start of a method; return their number. `body` follows the constants."""
    changed, at = 0, 0
    before = bytes([DUP, ILOAD_0, INVOKESPECIAL]) + struct.pack(">H", of_port)
    after = struct.pack(">BBHBBH", DUP, INVOKESTATIC, loopback, ILOAD_0, INVOKESPECIAL, of_both)
    while (at := body.find(before, at + 1)) >= 0:
        start = at - 3  # the code starts with `new` and its index
        # A Code attribute: its length u4, max_stack u2, max_locals u2, the code's length u4, then the code.
        length, stack, local, size = struct.unpack_from(">IHHI", body, start - 12)
        (handlers,) = struct.unpack_from(">H", body, start + size)
        if body[start] != NEW or size >= 20 or handlers:  # code this short has no jump to correct
            raise ValueError("it creates an address in another way")
        code = body[start:at] + after + body[at + len(before) : start + size]
        # No exception handlers, and no attributes: those are for debuggers and hold positions in the code.
        new = struct.pack(">IHHI", 12 + len(code), stack + 1, local, len(code)) + code + struct.pack(">HH", 0, 0)
        body[start - 12 : start - 8 + length] = new
        changed += 1
    return changed
