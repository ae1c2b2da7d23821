"""sandbox.py FAMILIES COMMAND…: runs a command that gets no sockets of these address families (numbers,
comma-separated), as systemd's RestrictAddressFamilies= does it: a seccomp filter answers EAFNOSUPPORT. x86-64 and arm64
only.
"""

import ctypes
import os
import platform
import struct
import sys

NETLINK = 16
# The number of socket(2), asm/unistd.h.
SOCKET_CALL = {"x86_64": 41, "aarch64": 198}
# linux/filter.h and linux/seccomp.h
LOAD, EQUALS, RETURN = 0x20, 0x15, 0x06
ALLOW, FAIL = 0x7FFF0000, 0x00050000
EAFNOSUPPORT = 97
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2


def is_supported():
    return platform.machine() in SOCKET_CALL


def refuse(families):
    """From here on, for this process and all that it starts."""
    def instruction(code, value, if_true=0, if_false=0):
        return struct.pack("HBBI", code, if_true, if_false, value)

    checks = [instruction(EQUALS, family, len(families) - index, 0) for index, family in enumerate(families)]
    program = [
        instruction(LOAD, 0), instruction(EQUALS, SOCKET_CALL[platform.machine()], 0, len(checks) + 1),
        instruction(LOAD, 16), *checks,
        instruction(RETURN, ALLOW), instruction(RETURN, FAIL | EAFNOSUPPORT),
    ]
    code = ctypes.create_string_buffer(b"".join(program))

    class Filter(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_void_p)]

    libc = ctypes.CDLL(None, use_errno=True)
    filter = Filter(len(program), ctypes.cast(code, ctypes.c_void_p))
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 or \
            libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(filter), 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "no seccomp filter")


if __name__ == "__main__":
    refuse([int(family) for family in sys.argv[1].split(",")])
    os.execvp(sys.argv[2], sys.argv[2:])
