"""Attacks on the sandbox, run in it by test_promises.py: `python3 -I -S attacks.py ABOUT NAME…`, ABOUT a JSON object.

Each is a function that returns whether it had its effect (None: that is seen outside only); an error of the system is a
refusal. Of several each runs in a process of its own. Printed is one JSON object: name -> "held", "refused", "LIMIT", null
or what went wrong.
"""

import ctypes
import errno
import json
import mmap
import os
import resource
import socket
import stat
import struct
import sys
import threading
import time

libc = ctypes.CDLL(None, use_errno=True)
ABOUT = {}
ATTACKS = {}


def text(place):
    with open(place) as file:
        return file.read()


def write(place):
    with open(place, "w") as file:
        file.write("x")
    return True


def attack(function):
    ATTACKS[function.__name__] = function
    return function


def check(status):
    if status == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return status


def call(name, *arguments):
    """A system call by its name; -1 is raised as the OSError that it means."""
    words = (ctypes.c_long(word) if isinstance(word, int) else word for word in arguments)
    return check(libc.syscall(ctypes.c_long(ABOUT["calls"][name]), *words))


def opens(place, flags=os.O_RDONLY):
    os.close(os.open(place, flags))
    return True


def any_of(*attempts):
    """Whether one succeeds; if all are refused, the last refusal."""
    for attempt in attempts:
        try:
            attempt()
            return True
        except OSError as error:
            refusal = error
    raise refusal


# Network


def connects(family, address, kind=socket.SOCK_STREAM):
    with socket.socket(family, kind) as client:
        client.settimeout(3)
        client.connect(address)
        client.send(b"secret")
    return True


@attack
def tcp_caller():
    return connects(socket.AF_INET, ("127.0.0.1", ABOUT["port"]))


@attack
def tcp_outside():
    return any_of(
        lambda: connects(socket.AF_INET, ("192.0.2.1", 80)), lambda: connects(socket.AF_INET6, ("2001:db8::1", 80))
    )


@attack
def udp_outside():
    return connects(socket.AF_INET, ("192.0.2.1", 53), socket.SOCK_DGRAM)


@attack
def dns():
    socket.getaddrinfo("example.org", 80)
    return connects(socket.AF_INET, ("127.0.0.53", 53), socket.SOCK_DGRAM)


@attack
def raw_socket():
    return bool(socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP))


@attack
def abstract_socket():
    return connects(socket.AF_UNIX, "\0" + ABOUT["abstract"])


@attack
def unix_socket():
    return connects(socket.AF_UNIX, ABOUT["socket"])


def family(number):
    kinds = (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW, socket.SOCK_SEQPACKET)
    return any_of(*(lambda kind=kind: os.close(check(libc.socket(number, kind, 0))) for kind in kinds))


@attack
def vsock():
    return family(40)


@attack
def netlink():
    return family(16)


@attack
def kernel_crypto():
    return family(38)


@attack
def other_families():
    known = (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, 16, 38, 40)
    numbers = [number for number in range(64) if number not in known]
    pairs = [lambda n=n: check(libc.socketpair(n, 1, 0, (ctypes.c_int * 2)())) for n in numbers]
    return any_of(*(lambda n=n: family(n) for n in numbers), *pairs)


@attack
def other_protocols():
    """DCCP, L2TP, SCTP, UDPLite, SMC, MPTCP; some have a high bit that the kernel ignores."""
    kinds = (
        (socket.SOCK_STREAM, 262),
        (socket.SOCK_STREAM, 132),
        (socket.SOCK_DGRAM, 136),
        (6, 33),
        (2, 115),
        (1, 256),
    )
    return any_of(
        *(lambda k=k, n=n: call("socket", socket.AF_INET, k, n) for k, n in kinds),
        lambda: call("socket", socket.AF_INET, socket.SOCK_STREAM, (1 << 32) | 262),
    )


@attack
def wide_family():
    return any_of(*(lambda n=n: call("socket", (1 << 32) | n, socket.SOCK_DGRAM, 0) for n in (16, 40)))


# Files


@attack
def read_secret():
    return text(ABOUT["secret"]) == "secret"


@attack
def read_open():
    return text(ABOUT["public"]) == "public"


@attack
def read_passwd():
    return "root" in text("/etc/passwd")


@attack
def read_shadow():
    return "root" in text("/etc/shadow")


@attack
def read_by_link():
    os.symlink(ABOUT["secret"], "link")
    return text("link") == "secret"


@attack
def read_by_process():
    return text(f"/proc/{ABOUT['pid']}/root{ABOUT['secret']}") == "secret"


@attack
def read_descriptors():
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:  # the one that listed them
            continue
        if int(name) > 2 and not target.startswith("pipe:"):  # `apart` has pipes
            return True
    return False


@attack
def read_environment():
    return "SECRET" in os.environ


@attack
def read_environments():
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            if "SECRET=in the environment" in text(f"/proc/{name}/environ"):
                return True
        except OSError:
            continue
    return False


@attack
def write_open():
    return write(ABOUT["open"] + "/left")


@attack
def write_given():
    return write(ABOUT["given"] + "/left")


@attack
def write_system():
    return write("/usr/left")


@attack
def lure_caller():
    os.symlink(ABOUT["secret"], ABOUT["out"] + "/link")
    os.symlink(os.path.dirname(ABOUT["secret"]), ABOUT["out"] + "/folder")
    os.mkfifo(ABOUT["out"] + "/pipe")


@attack
def device():
    kinds = (stat.S_IFCHR, stat.S_IFBLK)
    return any_of(*(lambda kind=kind: os.mknod("device", kind | 0o666, os.makedev(1, 1)) for kind in kinds))


@attack
def memory_device():
    names = ("mem", "port", "kmem", "kmsg", "vda", "sda", "nvme0n1", "loop0", "userfaultfd")
    return any_of(*(lambda name=name: opens(f"/dev/{name}", os.O_RDWR) for name in names))


@attack
def sysfs():
    return any_of(*(lambda n=n: opens(f"/sys/{n}", os.O_WRONLY) for n in ("power/state", "kernel/uevent_helper")))


@attack
def sysctl():
    names = ("core_pattern", "hostname", "modprobe", "randomize_va_space")
    return any_of(*(lambda n=n: opens(f"/proc/sys/kernel/{n}", os.O_WRONLY) for n in names))


@attack
def sysrq():
    return opens("/proc/sysrq-trigger", os.O_WRONLY)


@attack
def fifo():
    with open(os.open(ABOUT["fifo"], os.O_WRONLY | os.O_NONBLOCK), "w") as pipe:
        pipe.write("secret")
    return True


@attack
def handle():
    AT_FDCWD = -100
    buffer = ctypes.create_string_buffer(struct.pack("Ii", 128, 0) + bytes(128))
    return any_of(
        lambda: call("name_to_handle_at", AT_FDCWD, b"/", buffer, ctypes.byref(ctypes.c_int()), 0),
        lambda: call("open_by_handle_at", AT_FDCWD, buffer, 0),
    )


# Terminals


@attack
def terminal():
    with open(os.open(ABOUT["terminal"], os.O_WRONLY | os.O_NOCTTY), "w") as terminal:
        terminal.write("\x1b]0;secret\x07")
    return True


@attack
def own_terminal():
    return opens("/dev/tty", os.O_RDWR)


def types(command, *wide):
    """A refusal of the filter, not of a file that is no terminal."""
    for word in (command, *wide):
        try:
            call("ioctl", 0, word, ctypes.c_char_p(b"x"))
        except OSError as error:
            if error.errno != errno.EPERM:
                return True
    raise PermissionError(errno.EPERM, "refused")


@attack
def keyboard():
    return types(0x5412, (1 << 32) | 0x5412)


@attack
def console():
    return types(0x541C, (7 << 32) | 0x541C)


# Processes


@attack
def kill_caller():
    os.kill(ABOUT["pid"], 0)
    return True


@attack
def slow_caller():
    """To what it is, so that nothing changes where it may."""
    os.setpriority(os.PRIO_PROCESS, ABOUT["pid"], os.getpriority(os.PRIO_PROCESS, ABOUT["pid"]))
    return True


@attack
def stop_group():
    os.kill(0, 19)
    time.sleep(60)


PTRACE_SEIZE = 0x4206  # unlike PTRACE_ATTACH it does not stop the process, were it to succeed


@attack
def trace_caller():
    call("ptrace", PTRACE_SEIZE, ABOUT["pid"], 0, 0)
    return True


@attack
def trace_first():
    call("ptrace", PTRACE_SEIZE, 1, 0, 0)
    return True


@attack
def trace_parent():
    call("ptrace", PTRACE_SEIZE, os.getppid(), 0, 0)
    return True


@attack
def first_memory():
    return any_of(lambda: opens("/proc/1/mem", os.O_RDWR), lambda: opens("/proc/1/root/tmp"))


@attack
def first_limits():
    resource.prlimit(1, resource.RLIMIT_NPROC, (resource.RLIM_INFINITY,) * 2)
    return True


@attack
def caller_memory():
    return opens(f"/proc/{ABOUT['pid']}/mem", os.O_RDWR)


def of_process(name):
    """Reads or writes the parent, which has the same user and the same memory."""
    local = ctypes.create_string_buffer(8)
    vector = struct.pack("PN", ctypes.addressof(local), 8)
    call(name, os.getppid(), vector, 1, vector, 1, 0)
    return True


@attack
def read_memory():
    return of_process("process_vm_readv")


@attack
def write_memory():
    return of_process("process_vm_writev")


@attack
def descriptor():
    call("pidfd_getfd", os.pidfd_open(os.getppid()), 1, 0)
    return True


@attack
def fork_bomb():
    for _ in range(200):
        if os.fork() == 0:
            os.closerange(1, 64)
            time.sleep(30)
            os._exit(0)
    return True


@attack
def threads():
    stop = threading.Event()
    try:
        for _ in range(2000):
            threading.Thread(target=stop.wait, daemon=True).start()
    except RuntimeError as error:
        raise OSError(errno.EAGAIN, str(error)) from error
    return True


def stays(environment):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            null = os.open("/dev/null", os.O_RDWR)
            for file in (0, 1, 2):
                os.dup2(null, file)
            os.closerange(3, 64)
            words = [sys.executable, "-I", "-S", "-c", "import time; time.sleep(30)", ABOUT["word"]]
            os.execve(sys.executable, words, environment)
        os._exit(0)
    os.wait()


@attack
def daemon():
    stays(os.environ)


@attack
def bare_daemon():
    stays({})


@attack
def priority():
    os.nice(-5)
    return True


@attack
def real_time():
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    return True


@attack
def own_limits():
    for name in ("AS", "CPU", "NPROC", "FSIZE", "NOFILE", "CORE", "STACK", "MEMLOCK"):
        try:
            resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (resource.RLIM_INFINITY,) * 2)
            return True
        except ValueError:
            continue
    raise PermissionError(errno.EPERM, "all are refused")


@attack
def capabilities():
    header = struct.pack("Ii", 0x20080522, 0)
    call("capset", header, struct.pack("IIIIII", 1 << 21, 1 << 21, 0, 0, 0, 0))
    return True


@attack
def set_user_id():
    """All that could give it more rights is switched off for good."""
    PR_GET_NO_NEW_PRIVS = 39
    status = dict(line.split(":", 1) for line in text("/proc/self/status").splitlines())
    powers = any(int(status[name], 16) for name in ("CapEff", "CapPrm", "CapInh", "CapAmb"))
    return libc.prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1 or powers


# Memory and disk


@attack
def memory():
    return len(bytearray(4 << 30)) > 0


@attack
def memory_together():
    for _ in range(4):
        if os.fork() == 0:
            kept = b"1" * (100 << 20)
            time.sleep(1)
            os._exit(not kept)
    return not any([os.wait()[1] for _ in range(4)])


@attack
def memory_file():
    with open(os.memfd_create("kept"), "wb") as file:
        file.write(bytes(1 << 20))
    return True


@attack
def shared_memory():
    IPC_RMID = 0
    call("shmctl", call("shmget", 0, 1 << 20, 0o1600), IPC_RMID, None)
    return True


@attack
def secret_memory():
    os.close(call("memfd_secret", 0))
    return True


@attack
def locked_memory():
    kept = mmap.mmap(-1, 32 << 20)
    check(libc.mlock(ctypes.c_void_p(ctypes.addressof(ctypes.c_char.from_buffer(kept))), ctypes.c_size_t(32 << 20)))
    return True


def fills(place):
    names = [f"{place}/fill_{os.getpid()}_{n}" for n in range(8)]
    try:
        for name in names:
            with open(name, "wb") as file:
                file.write(bytes(900 << 10))
    finally:
        for name in filter(os.path.exists, names):
            os.unlink(name)
    return True


@attack
def fill_tmp():
    return fills("/tmp")


@attack
def fill_shm():
    return fills("/dev/shm")


@attack
def large_file():
    with open("large", "wb") as file:
        for _ in range(32):
            file.write(bytes(1 << 20))
    return True


@attack
def sparse_file():
    with open("sparse", "wb") as file:
        file.truncate(10 << 30)
    return True


@attack
def many_files():
    place = f"/tmp/many_{os.getpid()}"
    os.mkdir(place)
    try:
        for n in range(600):  # more than fit, where their number is bounded
            os.close(os.open(f"{place}/{n}", os.O_CREAT))
    finally:
        for name in os.listdir(place):
            os.unlink(f"{place}/{name}")
        os.rmdir(place)
    return True


@attack
def deep_folders():
    os.chdir(ABOUT["out"])
    for n in range(1500):
        name = "d" * (200 if n % 2 else 3)
        os.mkdir(name)
        open("file", "w").close()
        os.chdir(name)


@attack
def closed_folders():
    os.makedirs(ABOUT["out"] + "/a/b/c")
    for place in ("/a/b/c", "/a/b", "/a"):
        open(ABOUT["out"] + place + "/file", "w").close()
        os.chmod(ABOUT["out"] + place + "/file", 0)
        os.chmod(ABOUT["out"] + place, 0)


@attack
def odd_names():
    place = os.fsencode(ABOUT["out"])
    for name in (b"\xff\xfe", b"-rf", b"a\nb", b"\x1b[31m", b"*", b" ", b"--help"):
        os.mkdir(place + b"/" + name)
        os.mkdir(place + b"/" + name + b"/" + name)
        open(place + b"/" + name + b"/file", "w").close()


# Time


@attack
def spin():
    while True:
        pass


@attack
def spin_on():
    if os.fork():
        time.sleep(60)
    while True:
        if time.process_time() > 0.3 and os.fork():
            os._exit(0)


@attack
def sleep():
    time.sleep(1000)


@attack
def flood():
    while True:
        os.write(1, b"x" * (1 << 16))
        os.write(2, b"y" * (1 << 16))


@attack
def read():
    return sys.stdin.read() != ""


# Keys, and what may be left for the next


SESSION, USER, USER_SESSION = -3, -4, -5  # KEY_SPEC_…_KEYRING


@attack
def read_key():
    KEYCTL_READ, KEYCTL_SEARCH = 11, 10
    buffer = ctypes.create_string_buffer(64)

    def look(ring):
        key = call("keyctl", KEYCTL_SEARCH, ring, b"user", b"babel_jax_secret", 0)
        call("keyctl", KEYCTL_READ, key, buffer, 64)

    return any_of(*(lambda ring=ring: look(ring) for ring in (SESSION, USER, USER_SESSION)))


@attack
def leave_key():
    return any_of(*(lambda ring=ring: call("add_key", b"user", b"left", b"x", 1, ring) for ring in (SESSION, USER)))


@attack
def request_key():
    call("request_key", b"user", b"babel_jax_secret", None, 0)
    return True


@attack
def list_keys():
    return "babel_jax_secret" in text("/proc/keys")


@attack
def queue():
    call("msgctl", call("msgget", 0, 0o1600), 0, None)
    return True


@attack
def semaphore():
    call("semctl", call("semget", 0, 1, 0o1600), 0, 0, None)
    return True


@attack
def posix_queue():
    O_CREAT_RDWR = os.O_CREAT | os.O_RDWR
    call("mq_open", b"left_by_a_test", O_CREAT_RDWR, 0o600, None)
    call("mq_unlink", b"left_by_a_test")
    return True


def leaves(place):
    os.mkdir(f"{place}/{ABOUT['word']}")
    open(f"{place}/{ABOUT['word']}/file", "w").close()


@attack
def leave_shm():
    leaves("/dev/shm")


@attack
def leave_tmp():
    leaves("/tmp")


# The kernel


@attack
def mount():
    check(libc.mount(b"tmpfs", b"/tmp", b"tmpfs", 0, None))
    return True


@attack
def new_mount():
    return any_of(lambda: call("fsopen", b"tmpfs", 0), lambda: call("open_tree", -100, b"/", 1))


@attack
def unmount():
    MNT_DETACH = 2
    check(libc.umount2(b"/proc", MNT_DETACH))
    return True


@attack
def pivot_root():
    call("pivot_root", b".", b".")
    return True


@attack
def chroot():
    os.mkdir("root")
    os.chroot("root")
    return True


NEW_USER, NEW_NET = 0x10000000, 0x40000000


@attack
def user_namespace():
    return any_of(
        *(lambda flags=flags: check(libc.unshare(flags)) for flags in (NEW_USER, NEW_USER | NEW_NET, NEW_NET))
    )


@attack
def clone_namespace():
    SIGCHLD = 17

    def start(flags):
        if call("clone", flags | SIGCHLD, None, None, None, None) == 0:
            os._exit(0)

    return any_of(lambda: start(NEW_USER), lambda: start(NEW_USER | NEW_NET), lambda: start(NEW_NET))


@attack
def clone3_namespace():
    if call("clone3", struct.pack("8Q", NEW_USER, 0, 0, 0, 17, 0, 0, 0), 64) == 0:
        os._exit(0)
    return True


@attack
def enter_namespace():
    return any_of(
        *(lambda n=n: check(libc.setns(os.open(f"/proc/self/ns/{n}", os.O_RDONLY), 0)) for n in ("net", "mnt", "user"))
    )


@attack
def bpf():
    os.close(call("bpf", 0, struct.pack("IIIII", 1, 4, 4, 1, 0) + bytes(100), 120))
    return True


@attack
def perf():
    PERF_TYPE_SOFTWARE, SIZE = 1, 112
    os.close(call("perf_event_open", struct.pack("IIQ", PERF_TYPE_SOFTWARE, SIZE, 0) + bytes(96), 0, -1, -1, 0))
    return True


@attack
def userfaultfd():
    return any_of(lambda: call("userfaultfd", 0), lambda: call("userfaultfd", 1))


@attack
def io_uring():
    os.close(call("io_uring_setup", 1, ctypes.create_string_buffer(256)))
    return True


@attack
def modules():
    return any_of(
        lambda: call("init_module", b"", 0, b""),
        lambda: call("finit_module", os.open("/dev/null", os.O_RDONLY), b"", 0),
        lambda: call("delete_module", b"none", os.O_NONBLOCK),
    )


@attack
def kexec():
    return any_of(lambda: call("kexec_load", 0, 0, None, 0), lambda: call("kexec_file_load", -1, -1, 0, None, 0))


@attack
def reboot():
    LINUX_REBOOT_CMD_CAD_OFF = 0
    call("reboot", 0xFEE1DEAD, 672274793, LINUX_REBOOT_CMD_CAD_OFF, None)
    return True


@attack
def clock():
    time.clock_settime(time.CLOCK_REALTIME, time.time())
    return True


@attack
def hostname():
    socket.sethostname("renamed")
    return True


@attack
def swap():
    check(libc.swapon(b"/tmp/none", 0))
    return True


@attack
def kernel_log():
    SYSLOG_ACTION_READ_ALL = 3
    return any_of(
        lambda: check(libc.klogctl(SYSLOG_ACTION_READ_ALL, ctypes.create_string_buffer(64), 64)),
        lambda: opens("/dev/kmsg"),
    )


@attack
def ports():
    return any_of(lambda: call("ioperm", 0x80, 1, 1), lambda: call("iopl", 3))


@attack
def entry_32():
    """getpid through int 0x80; where the kernel has no such entry the process dies of it."""
    pid = os.fork()
    if pid == 0:
        code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        code.write(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")  # mov eax, 20; int 0x80; ret
        os._exit(ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))() > 0)
    if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1:
        return True
    raise OSError(errno.ENOSYS, "refused")


@attack
def entry_x32():
    check(libc.syscall(ctypes.c_long(0x40000000 | 39)))
    return True


def all_absent(numbers):
    """A refusal if the kernel seems not to have any of the calls."""
    for number in numbers:
        for arguments in ((-1,) * 6, (0,) * 6):
            try:
                check(libc.syscall(ctypes.c_long(number), *map(ctypes.c_long, arguments)))
                return True
            except OSError as error:
                if error.errno != errno.ENOSYS:
                    return True
    raise OSError(errno.ENOSYS, "all are refused")


@attack
def unknown_calls():
    return all_absent(range(ABOUT["newest"] + 1, ABOUT["newest"] + 100))


@attack
def refused_calls():
    return all_absent(ABOUT["refused"])


def outcome(name):
    ABOUT["word"] += f".{name}"
    try:
        return {True: "LIMIT", False: "held", None: None}[ATTACKS[name]()]
    except (OSError, MemoryError):
        return "refused"
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def apart(name):
    """What becomes of one attack, in a process of its own."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(write, json.dumps(outcome(name)).encode())
        os._exit(0)
    os.close(write)
    with open(read, "rb") as pipe:
        printed = pipe.read(1 << 16)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return json.loads(printed) if printed else f"ended with {status}"


if __name__ == "__main__":
    ABOUT = json.loads(sys.argv[1])
    names = sys.argv[2:]
    print(json.dumps({name: apart(name) if len(names) > 1 else outcome(name) for name in names}))
