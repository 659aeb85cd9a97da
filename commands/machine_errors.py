"""Errors of the machine (a full disk, a folder that cannot be written), reported in one line: what, and the fix."""

from __future__ import annotations

import errno

from contracts.errors import ReportedError, UsageError

__all__ = ["MachineError", "refused_by_the_machine"]

FULL = {errno.ENOSPC: "no space is left on the disk", errno.EDQUOT: "the disk quota is used up"}
REFUSED = {
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.ENOENT: "there is no such file or folder",
    errno.ENOTDIR: "a part of the path is not a folder",
    errno.EISDIR: "it is a folder",
    errno.ENAMETOOLONG: "the name is too long",
    errno.EMFILE: "this process has too many open files",
}
FIXES = {
    errno.EROFS: "give a folder that can be written",
    errno.EACCES: "give another path, or change its permissions",
    errno.EPERM: "give another path, or change its permissions",
    errno.EMFILE: "raise the limit with ulimit -n",
}


class MachineError(ReportedError):
    """The machine cannot do what is asked: it may succeed once there is space."""


def refused_by_the_machine(error: BaseException) -> ReportedError | None:
    """Return the error to report for an OSError about a disk, a file or a folder; None for any other error.

    A full disk is a MachineError, a path that cannot be used a UsageError.
    """
    if not isinstance(error, OSError) or error.errno is None:
        return None
    number = error.errno
    path = f"{error.filename}: " if error.filename else ""
    if number in FULL:
        return MachineError(f"{path}{FULL[number]}; free some space, or give another folder")
    if number in REFUSED and (error.filename or number in (errno.EROFS, errno.EMFILE)):
        fix = FIXES.get(number, "give another path")
        return UsageError(f"{path}{REFUSED[number]}; {fix}")
    return None
