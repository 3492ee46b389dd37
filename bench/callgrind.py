"""Reads callgrind's files: instructions by stage of a command, and who allocates.

Each instruction counts for the innermost source file of ours that it was compiled from, which line tables tell
even where functions are inlined into each other. Code of libraries counts for those who call it.
"""

import collections
import re
import subprocess

# The first pattern that matches `file function` of our own code decides.
STAGES = (
    ("hop", r"^server/(hop|mesh|inbox|message|parcels|requests|lane_shell)\b"
            r"|^server/(turn|dispatch|connection) .*(hop|place_remote|assemble|take_parts)"),
    ("commit", r"^store/|^lane/(commit|journal)\b|^server/commit\b"),
    ("parse", r"^resp/(request|inline|args|error)\b|^resp/number .*(parse|digit|scan|exact)|^server/input\b"),
    ("reply", r"^resp/|^server/turn\b"),
    ("route", r"^business/|^command/(table|keyspec|mod)\b|^server/(dispatch|admission|split_commands|timing|plans|exec|prefetch)\b"),
    ("execute", r"^(command|lane|series|aggregate|clock)\b"),
)
# The same for functions of libraries that stand for themselves.
LIBRARIES = (("commit", r"rocksdb"),)
LAST_STAGE = "sockets, executor"
EXECUTOR = r"glommio|io_uring|^server/|^metrics/"
ORDER = ("parse", "route", "execute", "commit", "reply", "hop", LAST_STAGE)
ALLOCATORS = {"malloc", "calloc", "realloc", "memalign", "aligned_alloc", "posix_memalign"}
# What only exists because of valgrind.
SHIM = "ring_wait.so"
FOREIGN_SOURCE = re.compile(r"/registry/src/|/rustc/|/rust/deps/")
OWN_SOURCE = re.compile(r"(?:^|/)src/(.+)\.rs:")
# Chains of callers are followed so far.
CALLERS_MAX = 40


class Profile:
    """Self costs by place, and for each function from where it was called: how often and at which cost.

    A place is (function, object, address).
    """

    def __init__(self, path):
        self.costs = collections.Counter()
        self.calls = collections.defaultdict(collections.Counter)
        self.call_costs = collections.defaultdict(collections.Counter)
        with open(path, errors="replace") as file:
            self._read(file, {}, {})

    def _read(self, lines, names, objects):
        function = owner = callee = times = None
        address = 0
        for line in lines:
            line = line.rstrip("\n")
            if line.startswith("fn="):
                function = decoded(line[3:], names)
            elif line.startswith("ob="):
                owner = decoded(line[3:], objects)
            elif line.startswith("cfn="):
                callee = decoded(line[4:], names)
            elif line.startswith("cob="):
                decoded(line[4:], objects)
            elif line.startswith("calls="):
                times = int(line[6:].split()[0])
            elif line[:1] in "0+-*" and line:
                address, cost = position(line, address)
                place = function, owner, address
                if times is None:
                    self.costs[place] += cost
                else:
                    self.calls[callee][place] += times
                    self.call_costs[callee][place] += cost
                    times = None


def decoded(text, names):
    """A name that is written whole once and as its number from then on, without callgrind's mark of recursion."""
    number, _, name = text.partition(" ")
    if name:
        names[number] = re.sub(r"'\d+$", "", name)
    return names.get(number, number)


def position(line, address):
    """(address, cost) of a line of costs."""
    place, _, cost = line.split()
    if place[0] == "+":
        address += int(place[1:], 0)
    elif place[0] == "-":
        address -= int(place[1:], 0)
    elif place != "*":
        address = int(place, 0)
    return address, int(cost)


class Sources:
    """Which function of ours an address of the server was compiled from, `file function`, or None."""

    def __init__(self, binary, running):
        self.binary, self.running, self.known = binary, running, {}

    def resolve(self, profile):
        """Learns all addresses of a profile."""
        places = [*profile.costs, *(place for places in profile.calls.values() for place in places)]
        wanted = {address for _, owner, address in places if owner == self.running} - self.known.keys()
        command = ["addr2line", "--exe", self.binary, "--addresses", "--inlines", "--functions", "--demangle"]
        asked = "".join(f"{address:#x}\n" for address in sorted(wanted))
        printed = subprocess.run(command, input=asked, capture_output=True, text=True, check=True).stdout
        address = function = None
        for line in printed.splitlines():
            if re.fullmatch(r"0x[0-9a-f]+", line):
                address, function = int(line, 16), None
                self.known[address] = None
            elif function is None:
                function = line
            else:
                found = None if FOREIGN_SOURCE.search(line) else OWN_SOURCE.search(line)
                if found and self.known[address] is None:
                    self.known[address] = f"{found[1]} {function}"
                function = None

    def of(self, place):
        """The function of ours, or None."""
        return self.known.get(place[2]) if place[1] == self.running else None

    def stage(self, place):
        """The stage that a place belongs to, None if that is its caller's."""
        own = self.of(place)
        patterns = STAGES if own else LIBRARIES
        name = own or place[0]
        if found := next((stage for stage, pattern in patterns if re.search(pattern, name)), None):
            return found
        return LAST_STAGE if re.search(EXECUTOR, name) else None


def by_stage(profile, sources):
    """Instructions by stage; libraries' are divided among their callers by what the calls of each took."""
    sources.resolve(profile)
    stages, waiting = collections.Counter(), collections.Counter()
    for place, cost in profile.costs.items():
        if place[1].endswith(SHIM):
            continue
        if stage := sources.stage(place):
            stages[stage] += cost
        else:
            waiting[place[0]] += cost
    for stage, cost in climb(waiting, profile.call_costs, sources.stage).items():
        stages[stage or LAST_STAGE] += cost
    return stages


def allocations(profile, sources):
    """Calls of allocators by who wanted the memory: a function of ours, or a library."""
    sources.resolve(profile)
    waiting = collections.Counter({name: sum(profile.calls[name].values()) for name in ALLOCATORS})
    # One allocator that calls another allocates once.
    for name in ALLOCATORS:
        inner = [place for place in profile.calls[name] if place[0] in ALLOCATORS]
        for place in inner:
            waiting[name] -= profile.calls[name].pop(place)

    def wanted_by(place):
        if own := sources.of(place):
            return own
        library = re.search(r"rocksdb|glommio", place[0])
        return {"rocksdb": "RocksDB"}.get(library[0], library[0]) if library else None

    found = climb(+waiting, profile.calls, wanted_by)
    return collections.Counter({name or "unknown": count for name, count in found.items()})


def climb(waiting, edges, owner_of):
    """Passes what functions have to those of their callers that `owner_of` knows; the rest is None's."""
    owned = collections.Counter()
    for _ in range(CALLERS_MAX):
        above = collections.Counter()
        for function, amount in waiting.items():
            callers = edges.get(function)
            total = sum(callers.values()) if callers else 0
            if not total:
                owned[None] += amount
                continue
            for place, weight in callers.items():
                owner = owner_of(place)
                if owner is None:
                    above[place[0]] += amount * weight / total
                else:
                    owned[owner] += amount * weight / total
        waiting = above
        if sum(waiting.values()) < 1:
            break
    owned[None] += sum(waiting.values())
    return +owned
