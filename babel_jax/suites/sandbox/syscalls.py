"""Which system calls a program may make: a seccomp filter built by libseccomp, and a session keyring of its own.

A call that is refused fails as on a kernel that does not have it (ENOSYS), to which programs and libraries adapt. So do all
calls that are newer than libseccomp itself: nobody has looked at them. Calls through another entry of the kernel (32-bit,
x32) are refused as a whole. See seccomp_rule_add(3) and bpf(4).
"""

import ctypes
import dataclasses
import errno
import os
import platform
import struct
import tempfile

INSTALL = "apt-get install libseccomp2"
REFUSED = {
    "keys": "add_key keyctl request_key",
    "other processes' memory and files": (
        "ptrace process_vm_readv process_vm_writev process_madvise process_mrelease pidfd_getfd kcmp move_pages migrate_pages"
    ),
    "memory that no limit of a process counts, and what outlives it": (
        "memfd_create memfd_secret shmget shmat shmctl semget semop semtimedop semctl msgget msgsnd msgrcv msgctl mq_open "
        "mq_unlink mq_timedsend mq_timedreceive mq_notify mq_getsetattr"
    ),
    "namespaces and mounts": (
        "setns clone3 umount2 pivot_root fsopen fsconfig fsmount fspick move_mount open_tree open_tree_attr mount_setattr "
        "statmount listmount listns name_to_handle_at open_by_handle_at fanotify_init quotactl quotactl_fd"
    ),
    "ways around this filter": "io_uring_setup io_uring_enter io_uring_register",
    "the kernel itself": (
        "bpf perf_event_open userfaultfd kexec_load kexec_file_load init_module finit_module delete_module reboot syslog "
        "acct swapon swapoff iopl ioperm modify_ldt vhangup lookup_dcookie settimeofday clock_settime adjtimex "
        "clock_adjtime sethostname setdomainname"
    ),
}
# What the commands of the level unshare need to set it up. The program behind them has no capability to do any of it, and,
# being in a changed root directory, cannot get one in a user namespace (user_namespaces(7)).
SETTING_UP = "mount unshare chroot"
AF_UNIX, AF_INET, AF_INET6, IPPROTO_UDP = 1, 2, 10, 17
TIOCSTI, TIOCLINUX = 0x5412, 0x541C  # write what seems to come from the keyboard
CLONE_NEW = 0x7E020080  # all CLONE_NEW…: clone(2), time_namespaces(7)
KEYCTL = {"x86_64": 250, "aarch64": 219, "riscv64": 219}  # syscalls(2): the machines whose calls have been looked at


@dataclasses.dataclass(frozen=True)
class Filter:
    """program: instructions of the kernel's BPF, 8 bytes each; version: of libseccomp."""

    program: bytes
    version: str


class _Comparison(ctypes.Structure):
    _fields_ = [("argument", ctypes.c_uint), ("how", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p)]


EQUAL, GREATER, MASKED_EQUAL = 4, 6, 7  # enum scmp_compare
ALLOW, FAIL = 0x7FFF0000, 0x00050000  # FAIL | errno


def build(level: str) -> Filter:
    """The filter for programs at a level of the sandbox.

    At `rlimits` there are no sockets but pairs, since there is no namespace to keep them in; else those of UNIX and of the
    Internet protocols, whose namespaces are the program's own.

    Raises:
      OSError: no libseccomp, or one that fails; or a machine whose calls nobody has looked at.
    """
    if platform.machine() not in KEYCTL:
        raise OSError(f"no filter has been written for {platform.machine()}")
    library = _library()
    context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(ALLOW)))
    if not context:
        raise OSError("libseccomp: seccomp_init fails")

    def refuse(name: str, *comparisons: _Comparison, why: int = errno.ENOSYS) -> None:
        number = library.seccomp_syscall_resolve_name(name.encode())
        if number < 0:  # not of this machine, or newer than libseccomp
            return
        array = (_Comparison * len(comparisons))(*comparisons)
        _check(library.seccomp_rule_add_array(context, ctypes.c_uint32(FAIL | why), number, len(array), array), name)

    try:
        SCMP_FLTATR_ACT_BADARCH, SCMP_FLTATR_CTL_OPTIMIZE = 2, 8
        bad_entry = ctypes.c_uint32(FAIL | errno.ENOSYS)
        _check(library.seccomp_attr_set(context, SCMP_FLTATR_ACT_BADARCH, bad_entry), "another entry of the kernel")
        library.seccomp_attr_set(context, SCMP_FLTATR_CTL_OPTIMIZE, ctypes.c_uint32(2))  # a tree; since libseccomp 2.5
        for name in " ".join(REFUSED.values()).split() + ([] if level == "unshare" else SETTING_UP.split()):
            refuse(name)
        for flag in (1 << bit for bit in range(32) if CLONE_NEW >> bit & 1):
            refuse("clone", _Comparison(0, MASKED_EQUAL, flag, flag))
        for command in (TIOCSTI, TIOCLINUX):
            refuse("ioctl", _Comparison(1, MASKED_EQUAL, 0xFFFFFFFF, command), why=errno.EPERM)
        families = () if level == "rlimits" else (AF_UNIX, AF_INET, AF_INET6)
        for name, allowed in (("socket", families), ("socketpair", (AF_UNIX,))):
            highest = max(allowed, default=0)
            for family in {*range(highest + 1)} - {*allowed}:
                refuse(name, _Comparison(0, EQUAL, family), why=errno.EAFNOSUPPORT)
            refuse(name, _Comparison(0, GREATER, highest), why=errno.EAFNOSUPPORT)  # compared as 64 bits
        # MPTCP, SCTP, L2TP and others
        refuse("socket", _Comparison(2, GREATER, IPPROTO_UDP), why=errno.EPROTONOSUPPORT)
        newest = _newest(library)
        with tempfile.TemporaryFile() as file:
            _check(library.seccomp_export_bpf(context, file.fileno()), "seccomp_export_bpf")
            file.seek(0)
            program = _older_than(newest) + file.read()
    finally:
        library.seccomp_release(context)
    return Filter(program, ".".join(map(str, library.seccomp_version().contents)))


def _library() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL("libseccomp.so.2")
    except OSError as error:
        raise OSError(f"libseccomp.so.2 not found; {INSTALL}") from error
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_version.restype = ctypes.POINTER(ctypes.c_uint * 3)
    library.seccomp_syscall_resolve_num_arch.restype = ctypes.c_void_p  # a text to be freed
    return library


def _check(status: int, what: str) -> None:
    if status < 0:
        raise OSError(-status, f"libseccomp: {what}: {os.strerror(-status)}")


def _newest(library) -> int:
    """The highest number of a call that libseccomp knows on this machine; numbers are given in the order of time."""
    libc, known = ctypes.CDLL(None), []
    libc.free.argtypes = [ctypes.c_void_p]
    for number in range(1024):
        name = library.seccomp_syscall_resolve_num_arch(library.seccomp_arch_native(), number)
        if name:
            known.append(number)
            libc.free(name)
    return max(known)


def _older_than(newest: int) -> bytes:
    """Instructions to put before a filter: calls of higher numbers fail with ENOSYS."""
    # linux/filter.h; the number comes first in struct seccomp_data
    LOAD_NUMBER, JUMP_IF_GREATER, RETURN = 0x20, 0x25, 0x06
    instructions = ((LOAD_NUMBER, 0, 0, 0), (JUMP_IF_GREATER, 0, 1, newest), (RETURN, 0, 0, FAIL | errno.ENOSYS))
    return b"".join(struct.pack("HBBI", *instruction) for instruction in instructions)


def confine_thread(program: bytes | None) -> None:
    """Gives the calling thread, and all that it starts, a new session keyring and, if there is a program, the filter.

    Neither can be taken back, so the thread should be one made for this.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    KEYCTL_JOIN_SESSION_KEYRING, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, PR_SET_NO_NEW_PRIVS = 1, 22, 2, 38
    number = KEYCTL.get(platform.machine())
    refused = number is None or libc.syscall(number, KEYCTL_JOIN_SESSION_KEYRING, None) == -1
    # a container that refuses this to us refuses all calls about keys to the program as well
    if refused and number is not None and ctypes.get_errno() not in (errno.ENOSYS, errno.EPERM):
        raise OSError(ctypes.get_errno(), f"no new session keyring: {os.strerror(ctypes.get_errno())}")
    if program is not None:
        loaded = _Program(len(program) // 8, program)
        if (
            libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1
            or libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(loaded), 0, 0) == -1
        ):
            raise OSError(ctypes.get_errno(), f"no filter of system calls: {os.strerror(ctypes.get_errno())}")
