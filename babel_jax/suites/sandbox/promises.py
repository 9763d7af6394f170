"""What the sandbox promises against each attack, at each level, where root starts the programs and where a user does.

The tests run every attack at every level and compare; `doctor` says what is not promised where it runs; the table stands
in README.md beside this file.
"""

import dataclasses

from babel_jax.common.errors import unknown_name

HELD, REFUSED, LIMIT = "held", "refused", "LIMIT"
MEANING = {
    HELD: "the attack is carried out and has no effect outside or behind the program",
    REFUSED: "the call that it needs fails",
    LIMIT: "it succeeds; this is not promised",
}
FILTER, FILTER_AT_RLIMITS, GROUPS = "filter", "filter at rlimits", "groups"
NEEDS = {
    FILTER: "only with libseccomp",
    FILTER_AT_RLIMITS: "at rlimits only with libseccomp",
    GROUPS: "only with control groups",
}


@dataclasses.dataclass(frozen=True)
class Promise:
    """What becomes of one attack.

    Attributes:
      name: of the attack in the tests.
      attack: what it does, in words.
      levels: level -> what becomes of it where root starts the program, and where another user does.
      needs: a key of NEEDS: without it LIMIT; or "".
    """

    family: str
    name: str
    attack: str
    levels: dict[str, tuple[str, str]]
    needs: str = ""

    def at(self, level: str, *, root: bool, filter: bool, groups: bool) -> str:
        """HELD, REFUSED or LIMIT; filter, groups: whether there are a filter of system calls, and control groups.

        Raises:
          UserError: unknown level.
        """
        if level not in self.levels:
            raise unknown_name("sandbox level", level, self.levels)
        needed = {"": True, FILTER: filter, FILTER_AT_RLIMITS: filter or level != "rlimits", GROUPS: groups}
        return self.levels[level][not root] if needed[self.needs] else LIMIT


def _row(family: str, name: str, attack: str, results: str, needs: str = "") -> Promise:
    """results: a word for bubblewrap, unshare and rlimits; of one letter, or of two where root and a user differ."""
    words = {"H": HELD, "R": REFUSED, "L": LIMIT}
    levels = zip(("bubblewrap", "unshare", "rlimits"), results.split(), strict=True)
    return Promise(family, name, attack, {level: (words[word[0]], words[word[-1]]) for level, word in levels}, needs)


PROMISES = (
    _row("network", "tcp_caller", "connects to a server of this machine", "R R R", FILTER_AT_RLIMITS),
    _row("network", "tcp_outside", "connects to another machine", "R R R", FILTER_AT_RLIMITS),
    _row("network", "udp_outside", "sends a packet to another machine", "R R R", FILTER_AT_RLIMITS),
    _row("network", "dns", "looks up a name", "R R R", FILTER_AT_RLIMITS),
    _row("network", "raw_socket", "makes packets of its own", "R R R"),
    _row("network", "abstract_socket", "connects to an abstract UNIX socket outside", "R R R", FILTER_AT_RLIMITS),
    _row("network", "unix_socket", "connects to a UNIX socket in a folder outside", "R R R", FILTER_AT_RLIMITS),
    _row("network", "vsock", "opens a socket to the virtual machine's host (AF_VSOCK)", "R R R", FILTER),
    _row("network", "netlink", "opens a socket to the kernel (AF_NETLINK)", "R R R", FILTER),
    _row("network", "kernel_crypto", "opens a socket to the kernel's ciphers (AF_ALG)", "R R R", FILTER),
    _row("network", "other_families", "opens a socket of any other family", "R R R", FILTER),
    _row("network", "other_protocols", "opens a socket of other protocols than TCP and UDP", "R R R", FILTER),
    _row("network", "wide_family", "hides a family behind upper bits that the kernel ignores", "R R R", FILTER),
    _row("files", "read_secret", "reads a file that its owner, the caller, has closed to others", "R R RL"),
    _row("files", "read_open", "reads a file outside that everybody may read", "R R L"),
    _row("files", "read_passwd", "reads /etc/passwd", "R R L"),
    _row("files", "read_shadow", "reads /etc/shadow", "R R R"),
    _row("files", "read_by_link", "reads a closed file through a symbolic link", "R R RL"),
    _row("files", "read_by_process", "reads a closed file through /proc/PID/root of the caller", "R R RL"),
    _row("files", "read_descriptors", "finds a file of the caller among its open ones", "H H H"),
    _row("files", "read_environment", "finds the caller's environment in its own", "H H H"),
    _row("files", "read_environments", "finds the caller's environment in /proc", "H H HL"),
    _row("files", "write_open", "writes into a folder outside that everybody may write", "R R L"),
    _row("files", "write_given", "writes into a folder that it was given to read", "R R RL"),
    _row("files", "write_system", "writes into /usr", "R R R"),
    _row("files", "lure_caller", "leaves links to files outside for the caller to follow", "H H H"),
    _row("files", "device", "makes a device", "R R R"),
    _row("files", "memory_device", "opens the machine's memory and disks", "R R R"),
    _row("files", "sysfs", "writes the kernel's settings in /sys", "R R R"),
    _row("files", "sysctl", "writes the kernel's settings in /proc/sys", "R R R"),
    _row("files", "sysrq", "opens /proc/sysrq-trigger", "R R R"),
    _row("files", "fifo", "writes to a named pipe outside", "R R L"),
    _row("files", "handle", "opens a file by its handle", "R R R", FILTER),
    _row("terminal", "terminal", "writes to a terminal of the caller", "R R RL"),
    _row("terminal", "own_terminal", "opens the caller's terminal as its own (/dev/tty)", "R R R"),
    _row("terminal", "keyboard", "types into a terminal (TIOCSTI)", "R R R", FILTER),
    _row("terminal", "console", "types into a console (TIOCLINUX)", "R R R", FILTER),
    _row("processes", "kill_caller", "sends the caller a signal", "R R RL"),
    _row("processes", "slow_caller", "changes the caller's priority", "R R RL"),
    _row("processes", "stop_group", "stops all of its process group", "H H H"),
    _row("processes", "trace_caller", "traces the caller (ptrace)", "R R R", FILTER),
    _row("processes", "trace_first", "traces the first process", "R R R", FILTER),
    _row("processes", "trace_parent", "traces its own parent", "R R R", FILTER),
    _row("processes", "first_memory", "opens the memory of the first process", "R R R"),
    _row("processes", "first_limits", "raises the limits of the first process", "R R R"),
    _row("processes", "caller_memory", "opens the memory of the caller", "R R RL"),
    _row("processes", "read_memory", "reads another process (process_vm_readv)", "R R R", FILTER),
    _row("processes", "write_memory", "writes another process (process_vm_writev)", "R R R", FILTER),
    _row("processes", "descriptor", "takes an open file of another process (pidfd_getfd)", "R R R", FILTER),
    _row("processes", "fork_bomb", "starts 200 processes", "R R R"),
    _row("processes", "threads", "starts 2,000 threads", "R R R"),
    _row("processes", "daemon", "stays behind in a session of its own", "H H H"),
    _row("processes", "bare_daemon", "the same without its environment", "H H HL"),
    _row("processes", "priority", "raises its priority", "R R R"),
    _row("processes", "real_time", "asks for real-time scheduling", "R R R"),
    _row("processes", "own_limits", "raises its own limits", "R R R"),
    _row("processes", "capabilities", "gives itself a capability", "R R R"),
    _row("processes", "set_user_id", "gains by programs that are set-user-ID", "H H H"),
    _row("memory", "memory", "allocates 4 GiB", "R R R"),
    _row("memory", "memory_together", "allocates more than the limit in several processes", "H H H", GROUPS),
    _row("memory", "memory_file", "keeps memory in memfd_create", "R R R", FILTER),
    _row("memory", "shared_memory", "keeps memory in System V shared memory", "R R R", FILTER),
    _row("memory", "secret_memory", "keeps memory in memfd_secret", "R R R", FILTER),
    _row("memory", "locked_memory", "locks 32 MiB in memory", "R R R"),
    _row("memory", "fill_tmp", "fills /tmp beyond its size", "R R L"),
    _row("memory", "fill_shm", "fills /dev/shm beyond its size", "R R L"),
    _row("disk", "large_file", "writes a file beyond the limit", "R R R"),
    _row("disk", "sparse_file", "makes a sparse file of 10 GiB", "R R R"),
    _row("disk", "many_files", "makes empty files in /tmp without end", "L R L"),
    _row("disk", "deep_folders", "leaves 1,500 nested folders with long names", "H H H"),
    _row("disk", "closed_folders", "leaves folders without permissions", "H H H"),
    _row("disk", "odd_names", "leaves names that cannot be decoded, or begin with a dash", "H H H"),
    _row("time", "spin", "computes for ever", "H H H"),
    _row("time", "spin_on", "computes on in children of children", "H H H"),
    _row("time", "sleep", "sleeps for ever", "H H H"),
    _row("time", "flood", "prints without end, on both streams", "H H H"),
    _row("time", "read", "waits for input", "H H H"),
    _row("keys", "read_key", "reads a secret from the caller's session keyring", "R R R", FILTER),
    _row("keys", "leave_key", "leaves a key for the next program", "R R R", FILTER),
    _row("keys", "request_key", "has the kernel look for a key", "R R R", FILTER),
    _row("keys", "list_keys", "finds the caller's keys in /proc/keys", "R H HL"),
    _row("left for the next", "queue", "leaves a System V message queue", "R R R", FILTER),
    _row("left for the next", "semaphore", "leaves a System V semaphore", "R R R", FILTER),
    _row("left for the next", "posix_queue", "leaves a POSIX message queue", "R R R", FILTER),
    _row("left for the next", "leave_shm", "leaves a file in /dev/shm", "H H HL"),
    _row("left for the next", "leave_tmp", "leaves a file in /tmp", "H H HL"),
    _row("kernel", "mount", "mounts a file system", "R R R"),
    _row("kernel", "new_mount", "mounts with the newer calls (fsopen, open_tree)", "R R R"),
    _row("kernel", "unmount", "unmounts /proc", "R R R"),
    _row("kernel", "pivot_root", "changes the root directory of its namespace", "R R R"),
    _row("kernel", "chroot", "changes its own root directory", "R R R"),
    _row("kernel", "user_namespace", "makes a user namespace (unshare)", "R R R", FILTER_AT_RLIMITS),
    _row("kernel", "clone_namespace", "starts a process in new namespaces (clone)", "R R R", FILTER_AT_RLIMITS),
    _row("kernel", "clone3_namespace", "the same by clone3", "R R R", FILTER_AT_RLIMITS),
    _row("kernel", "enter_namespace", "enters another process's namespace (setns)", "R R R"),
    _row("kernel", "bpf", "loads a program into the kernel (bpf)", "R R R", FILTER),
    _row("kernel", "perf", "counts events of the kernel (perf_event_open)", "R R R", FILTER),
    _row("kernel", "userfaultfd", "holds the kernel up in page faults (userfaultfd)", "R R R", FILTER),
    _row("kernel", "io_uring", "makes calls without making them (io_uring)", "R R R", FILTER),
    _row("kernel", "modules", "loads a module", "R R R"),
    _row("kernel", "kexec", "loads another kernel", "R R R"),
    _row("kernel", "reboot", "restarts the machine", "R R R"),
    _row("kernel", "clock", "sets the clock", "R R R"),
    _row("kernel", "hostname", "renames the machine", "R R R"),
    _row("kernel", "swap", "switches swapping on", "R R R"),
    _row("kernel", "kernel_log", "reads the kernel's messages", "R R R"),
    _row("kernel", "ports", "reaches the machine's ports (ioperm)", "R R R"),
    _row("kernel", "entry_32", "makes calls through the 32-bit entry of the kernel", "R R R", FILTER),
    _row("kernel", "entry_x32", "makes calls by their x32 numbers", "R R R", FILTER),
    _row("kernel", "unknown_calls", "makes calls that are newer than libseccomp", "R R R", FILTER),
    _row("kernel", "refused_calls", "makes each call that the filter refuses", "R R R", FILTER),
)


def limits(level: str, *, root: bool, filter: bool, groups: bool) -> list[str]:
    """What is not held back at a level, in words.

    Raises:
      UserError: unknown level.
    """
    return [row.attack for row in PROMISES if row.at(level, root=root, filter=filter, groups=groups) == LIMIT]


def table() -> str:
    """All promises, in Markdown."""
    levels = list(PROMISES[0].levels)
    lines = [f"| | attack | {' | '.join(levels)} | |", "|---|---|" + "---|" * (len(levels) + 1)]
    family = ""
    for row in PROMISES:
        cells = [root if root == user else f"{root}, {user}" for root, user in row.levels.values()]
        shown = row.family if row.family != family else ""
        lines.append(f"| {' | '.join((shown, row.attack, *cells, NEEDS.get(row.needs, '')))} |")
        family = row.family
    return "\n".join(lines)
