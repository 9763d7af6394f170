"""Public IP addresses in source code, distinguished from what looks like them: versions, sections, object identifiers.

`ipaddress` says which addresses are public; this module says where one begins and ends, and what is not an address.
"""

import ipaddress
import re
from collections.abc import Iterator

# What Python's versions do not agree on. The rest of IPv6 but _UNICAST and _TRANSLATED is nobody's.
_NOT_PUBLIC = tuple(
    map(ipaddress.ip_network, ("192.0.0.0/24", "64:ff9b:1::/48", "2001::/23", "2002::/16", "3fff::/20"))
)
_UNICAST, _TRANSLATED = ipaddress.ip_network("2000::/3"), ipaddress.ip_network("64:ff9b::/96")

# All begin with the first mark in an address, which is found fast.
_V4 = re.compile(r"\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}(?![0-9A-Za-z_]|\.[0-9])")
_V4_FIRST = re.compile(r"(?:(?<![0-9A-Za-z_.])|(?<=\\[abfnrtv])|(?<=[0-9]\.\.))[0-9]{1,3}\Z")
_V6_BEFORE_V4 = re.compile(r"[0-9A-Fa-f:]{1,38}:\Z")
_V6 = re.compile(
    r":(?:(?:(?<=[23][0-9A-Fa-f]{3}:)[0-9A-Fa-f]{0,4}|(?<=64:)[Ff]{2}9[Bb])(?::[0-9A-Fa-f]{0,4}){1,6}"
    r"|(?:(?<=0:)(?:0{1,4}:){4}|:)[Ff]{4}:[0-9A-Fa-f]{1,4}:[0-9A-Fa-f]{1,4})"
    r"(?![0-9A-Za-z_]|\.[0-9]|::|:[0-9A-Fa-f]{1,4}(?![0-9A-Za-z_]))"
)
_V6_FIRST = re.compile(r"[0-9A-Fa-f]{0,4}\Z")
# A colon before it may be another's (ip6:2600::), not its own.
_V6_START = re.compile(
    r"(?:\A|[^0-9A-Za-z_.:]|\\[abfnrtv]|[G-Zg-z_][0-9A-Fa-f]{0,4}:|[^0-9A-Za-z_:]:|[0-9A-Fa-f:]\.\.)\Z"
)
_SLICE = re.compile(r"[\w)\]]\[|[^\[]\]\Z")  # around the 2000::2 of x[2000::2]

# Words before a number of four parts that is not an address.
_OTHER_NUMBER = re.compile(
    r"""(?:
    (?:
        (?<!con)(?<!\bip)(?<!\bip[ _-])version[a-z_]* | (?:(?<![a-z])ver|(?-i:Ver))s?(?![a-z])
        | (?:(?<![a-z])|(?-i:(?<=[a-z])(?=O)))oids?(?![a-z]) | object\ ?identifier | asn\.?1(?![0-9])
    )
    (?:[^\w\n]{0,12}\b(?:is|be|must|should|number|string|to|from|since|until|than|or|and|at|least|of|as|new)\b){0,3}
    [^\w\n]{0,12}(?:\w{1,20}[^\w\n]{1,6})?
    | (?:sections?|\bsect?\.|clauses?|chapters?|paragraph)[^\w\n]{1,4}
    | /iec\ [0-9][-0-9:]{2,12}[^\w\n]{1,4} | (?:[<>~]=|~>)\ ?["']?
    | (?<===)  # library==1.2.3.4
    | (?:release|firmware|revision|build|§)[^\w\n]{0,4}
    | \b(?:(?:rfc|dwarf|ecma|c)[\ -]?[0-9]+|c\+\+[0-9]*)[^\w\n]{0,4} | \biso[-/0-9:a-z+\ ]{0,12}[^\w\n]{0,4}
    | (?<![a-z-])v\.?\ ?
    | (?<![/.0-9A-Za-z_-])(?-i:[A-Z])[a-z]+/  # Chrome/1.2.3.4
    | [0-9A-Za-z_]-  # library-1.2.3.4
    )\Z""",
    re.IGNORECASE | re.VERBOSE | re.ASCII,
)
_OTHER_SUFFIX = re.compile(r"[-+~][0-9]*[A-Za-z]|\.(?:tar|zip|orig|jar|dll|exe|so|gem|whl|deb|rpm|nupkg)\b")
# Two numbers with no more than this between, a port or prefix before it, are of one kind.
_AND = re.compile(r"(?:[:/][0-9]{1,5})?[^0-9A-Za-z_]{1,16}(?:(?:and|or|to|till|until|through)[^0-9A-Za-z_]{1,4})?\Z")
# Object identifiers of four parts that could be addresses, by how they begin.
_OBJECTS = ("2.5.", "2.23.140.", "1.3.6.1", "1.3.14.", "1.3.36.", "1.3.101.", "1.3.132.")


def public_addresses(text: str) -> Iterator[tuple[int, int]]:
    """Where the public IPv4 and IPv6 addresses of a text stand, in order, as (start, end); ports and prefixes are not in it.

    An IPv4 address that ends in .0 does not count: it is a network's, and nearly always a version number in truth. Not public are
    private, reserved and multicast addresses and those that are set aside for documentation.
    """
    end = 0
    for start, stop in sorted([*_v4(text), *_v6(text)]):
        if start >= end:
            yield start, stop
            end = stop


def _v4(text):
    last, is_address = 0, False  # of the number of four parts before: its end, and what it was
    for match in _V4.finditer(text):
        first = _V4_FIRST.search(text, max(0, match.start() - 3), match.start())
        address = first and _parsed(text[first.start() : match.end()])
        if address is None:
            continue
        start, stop = first.start(), match.end()
        if last == 0 or start - last > 32 or _AND.match(text[last:start]) is None:
            is_address = not _OTHER_NUMBER.search(text, max(0, start - 60), start) and not _OTHER_SUFFIX.match(
                text, stop
            )
        last = stop
        if not is_address or text.startswith(_OBJECTS, start):
            continue
        longer = _V6_BEFORE_V4.search(text, max(0, start - 39), start)
        whole = longer and _parsed(text[longer.start() : stop])
        if whole is not None and _V6_START.search(text, max(0, longer.start() - 8), longer.start()):
            start, address = longer.start(), whole
        if _is_public(address) and not text.endswith(".0", start, stop):
            yield start, stop


def _v6(text):
    for match in _V6.finditer(text):
        start, stop = match.span()
        start = _V6_FIRST.search(text, max(0, start - 4), start).start()
        if text[stop - 1] == ":" and text[stop - 2] != ":":
            stop -= 1  # the colon behind an address is punctuation
        address = _parsed(text[start:stop])
        if address is None or not _is_public(address) or not _V6_START.search(text, max(0, start - 8), start):
            continue
        if text.count(":", start, stop) > 2 or not _SLICE.search(
            text[max(0, start - 2) : start] + text[stop : stop + 1]
        ):
            yield start, stop


def _parsed(address):
    try:
        return ipaddress.ip_address(address)
    except ValueError:
        return None


def _is_public(address):
    if address.version == 6:
        inside = address.ipv4_mapped or address.sixtofour
        if address in _TRANSLATED:
            inside = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inside is not None:
            return _is_public(inside)
        if address not in _UNICAST:
            return False
    return address.is_global and not address.is_multicast and not any(address in network for network in _NOT_PUBLIC)
