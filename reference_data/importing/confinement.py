"""Take the network and most resources away from this process, for good, before a pickle is opened.

Opening a pickle runs whatever code it holds. What is taken away here cannot be given back by that
code: two means independent of each other keep it off the network, an empty network namespace and a
filter that refuses the system calls that make sockets. Either suffices; containers often forbid the
first and allow the second. Files are not confined beyond their size: code in the pickle can
still read and write what the user may.
"""

import contextlib
import ctypes
import os
import platform
import resource
import struct

_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000
_PR_SET_NO_NEW_PRIVS = 38
_PR_SET_SECCOMP = 22
_SECCOMP_MODE_FILTER = 2
_SECCOMP_RET_ALLOW = 0x7FFF0000
_SECCOMP_RET_EPERM = 0x00050001
_X32_SYSCALLS = 0x40000000
_IO_URING_SETUP = 425

# Audit architecture and number of the system call socket(2), from the kernel's headers.
_ARCHITECTURES = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198)}

_CPU_SECONDS = 3600
_FILE_BYTES = 8 << 30
_OPEN_FILES = 4096


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def confine() -> tuple[str, ...]:
    """Confine this process and all it starts; call it before any thread exists.

    Returns
    -------
    tuple[str, ...]
        What now keeps the process off the network; empty when this system offers nothing.
    """
    _limit_resources()
    means = []
    if platform.system() == "Linux":
        if _enter_empty_network():
            means.append("empty network namespace")
        if _forbid_sockets():
            means.append("system call filter")
    return tuple(means)


def _limit_resources() -> None:
    limits = [
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_CPU, _CPU_SECONDS),
        (resource.RLIMIT_FSIZE, _FILE_BYTES),
        (resource.RLIMIT_NOFILE, _OPEN_FILES),
        (resource.RLIMIT_DATA, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")),
    ]
    for kind, wanted in limits:
        _, hard = resource.getrlimit(kind)
        limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        # Not every system knows every limit; the network is what must not stay open.
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(kind, (limit, limit))


def _enter_empty_network() -> bool:
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.getuid(), os.getgid()
    if libc.unshare(_CLONE_NEWNET) == 0:
        return True
    if libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET) != 0:
        return False
    # Keep our own name inside the new user namespace; without it files seem to belong to nobody.
    for file, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{user} {user} 1"),
        ("gid_map", f"{group} {group} 1"),
    ):
        try:
            with open(f"/proc/self/{file}", "w", encoding="ascii") as handle:
                handle.write(text)
        except OSError:
            break
    return True


def _forbid_sockets() -> bool:
    known = _ARCHITECTURES.get(platform.machine())
    if known is None:
        return False
    architecture, socket_call = known
    load, jump_if_equal, jump_if_at_least, answer = 0x20, 0x15, 0x35, 0x06
    # Classic BPF over seccomp_data: the call's number is at offset 0, the architecture at 4.
    # Another architecture or the x32 calls would renumber socket(2), so they are refused whole;
    # io_uring could open one without calling it.
    program = [
        (load, 0, 0, 4),
        (jump_if_equal, 0, 5, architecture),
        (load, 0, 0, 0),
        (jump_if_at_least, 3, 0, _X32_SYSCALLS),
        (jump_if_equal, 2, 0, socket_call),
        (jump_if_equal, 1, 0, _IO_URING_SETUP),
        (answer, 0, 0, _SECCOMP_RET_ALLOW),
        (answer, 0, 0, _SECCOMP_RET_EPERM),
    ]
    code = b"".join(struct.pack("HBBI", *line) for line in program)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return False
    filter_program = _Program(len(program), code)
    done = libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(filter_program), 0, 0)
    return bool(done == 0)
