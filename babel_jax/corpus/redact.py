"""E-mail addresses, public IP addresses and keys in a text -> fixed placeholders.

The patterns are datatrove's (addresses) and detect-secrets' (keys whose services give them a mark of their own). They are
slow, so each is tried where plain search finds what all its matches contain. Detectors that guess, by the randomness of a
string or by the name of a variable, are left out: in code they hit hashes and test data.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator

from ahocorasick_rs import AhoCorasick
from datatrove.pipeline.formatters.pii import PIIFormatter, public_ip_validator
from detect_secrets.plugins.aws import AWSKeyDetector
from detect_secrets.plugins.azure_storage_key import AzureStorageKeyDetector
from detect_secrets.plugins.basic_auth import BasicAuthDetector
from detect_secrets.plugins.github_token import GitHubTokenDetector
from detect_secrets.plugins.gitlab_token import GitLabTokenDetector
from detect_secrets.plugins.jwt import JwtTokenDetector
from detect_secrets.plugins.mailchimp import MailchimpDetector
from detect_secrets.plugins.openai import OpenAIDetector
from detect_secrets.plugins.pypi_token import PypiTokenDetector
from detect_secrets.plugins.sendgrid import SendGridDetector
from detect_secrets.plugins.slack import SlackDetector
from detect_secrets.plugins.square_oauth import SquareOAuthDetector
from detect_secrets.plugins.stripe import StripeDetector
from detect_secrets.plugins.twilio import TwilioKeyDetector

PLACEHOLDERS = {"key": "<KEY>", "email": "<EMAIL>", "ip_address": "<IP_ADDRESS>"}

# Detector -> texts of which every match has one (in the capitals that people write).
_HINTS = {
    AWSKeyDetector: ("AKIA", "ASIA", "ABIA", "ACCA", "A3T", "aws", "AWS", "Aws"),
    AzureStorageKeyDetector: ("AccountKey=",),
    BasicAuthDetector: ("://",),
    GitHubTokenDetector: ("ghp_", "gho_", "ghu_", "ghs_", "ghr_"),
    GitLabTokenDetector: (
        *("glpat-", "gldt-", "glft-", "glsoat-", "glrt-", "GR1348941"),
        *("glcbt-", "glimt-", "glptt-", "glagent-", "gloas-"),
    ),
    JwtTokenDetector: ("eyJ",),
    MailchimpDetector: tuple(f"-us{digit}" for digit in range(10)),
    OpenAIDetector: ("T3BlbkFJ",),
    PypiTokenDetector: ("pypi-AgE",),
    SendGridDetector: ("SG.",),
    SlackDetector: ("xox", "hooks.slack.com"),
    SquareOAuthDetector: ("sq0csp-",),
    StripeDetector: ("k_live_",),
    TwilioKeyDetector: ("AC", "SK"),
}
_SEARCH = AhoCorasick([hint for hints in _HINTS.values() for hint in hints])
_DETECTORS = [detector for detector, hints in _HINTS.items() for _ in hints]
# Here the pattern's group is the key; of the other detectors the whole match is.
_IN_GROUP = (AWSKeyDetector, BasicAuthDetector)
# Patterns run in windows of a fixed size around the hints: over long texts, some take time with the square of the length.
_CELL, _BEFORE, _BEHIND = 1024, 256, 1024  # characters; a key's hint stands in the cell
_KEY_REST = re.compile(r"(?:[\w+/=-]|\.(?=\w))*")  # some patterns end before the key does
_TEMPLATE = re.compile(r"[<{$]|%[sdv(]")  # "://{user}:{password}@" holds no password
_PRIVATE_KEY = re.compile(
    r"-----BEGIN (?P<kind>[A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?)-----(?P<body>[^-]*+(?:-(?!----)[^-]*+)*+)-----END (?P=kind)-----"
)
_BASE64 = re.compile(r"[A-Za-z0-9+/=]{32,}")

_ADDRESSES = PIIFormatter()
_EMAIL, _IP_ADDRESS = _ADDRESSES.emails_replacer.regex, _ADDRESSES.ip_replacer.regex
_AT = re.compile(r"@(?<=[\w.%+-]@)(?![1-9]x\.)(?=[A-Za-z0-9])", re.ASCII)  # icon@2x.png is no address
_LONGEST_NAME = 64  # characters (RFC 5321)
# The pattern also takes quotes, brackets and operators for parts of a name, which in code stand before it.
_NAME = re.compile(r"[\w.%+-]*\Z", re.ASCII)
_DOMAIN = re.compile(r"[A-Za-z0-9.-]{1,255}")
_DOTS = re.compile(r"\.\d{1,3}\.\d{1,3}\.\d")
_NO_ADDRESS_BEFORE = re.compile(r"[\w.-]\Z|([Vv]ersion|[Ss]ection|RFC)[^\n]{0,30}\Z")
_NO_ADDRESS_BEHIND = re.compile(r"\w|\.\d")


def redact(text: str) -> tuple[str, dict[str, int]]:
    """Replaces what could be someone's address or secret.

    Redacting twice changes nothing more. Left alone are private and reserved IP addresses, those that end in .0 (a
    network's, and nearly always a version number in truth), and private keys whose end is missing.

    Returns:
      (the text with PLACEHOLDERS, their numbers by kind; kinds without any are left out).
    """
    counts = Counter()
    for kind, find in (("key", _private_keys), ("key", _keys), ("email", _emails), ("ip_address", _ip_addresses)):
        # Again, for a key may end where another has begun.
        while spans := list(find(text)):
            counts[kind] += len(spans)
            ends = [0, *(end for _, end in spans)]
            between = (text[end:start] for end, (start, _) in zip(ends, spans, strict=False))
            text = PLACEHOLDERS[kind].join((*between, text[ends[-1] :]))
    return text, dict(counts)


def _private_keys(text: str) -> Iterator[tuple[int, int]]:
    if "PRIVATE KEY" not in text:
        return
    for match in _PRIVATE_KEY.finditer(text):
        # Code that looks for the two marks has code between them.
        if 2 * sum(map(len, _BASE64.findall(match["body"]))) > len("".join(match["body"].split())):
            yield match.span()


def _keys(text: str) -> Iterable[tuple[int, int]]:
    hints = _SEARCH.find_matches_as_indexes(text, overlapping=True)
    spans = []
    for detector, cell in {(_DETECTORS[hint], start // _CELL) for hint, start, _ in hints}:
        first, last = max(0, cell * _CELL - _BEFORE), (cell + 1) * _CELL + _BEHIND
        for pattern in detector.denylist:
            end = 0
            for match in pattern.finditer(text, first, last):
                start, stop = match.span(min(detector in _IN_GROUP, pattern.groups))
                if start >= end and _TEMPLATE.search(text, start, stop) is None:
                    end = _KEY_REST.match(text, stop).end()
                    spans.append((start, end))
    return _apart(spans)


def _apart(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The spans in order, those that overlap as one."""
    merged = []
    for start, stop in sorted(spans):
        if merged and start < merged[-1][1]:
            start, stop = merged[-1][0], max(stop, merged.pop()[1])
        merged.append((start, stop))
    return merged


def _emails(text: str) -> Iterator[tuple[int, int]]:
    end = 0
    for at in _AT.finditer(text):
        name = _NAME.search(text, max(end, at.start() - _LONGEST_NAME), at.start())
        match = _EMAIL.search(text, name.start(), _DOMAIN.match(text, at.end()).end())
        if match is None:
            continue
        # No name of a host: a version behind a module's name, a product of matrices, one with a method or a longer name.
        top = match[0].rpartition(".")[2]
        if top.isalpha() and len(top) > 1 and text[match.end() : match.end() + 1] not in ("(", "[", "_"):
            yield match.span()
            end = match.end()


def _ip_addresses(text: str) -> Iterator[tuple[int, int]]:
    end = 0
    for dots in _DOTS.finditer(text):
        match = _IP_ADDRESS.search(text, max(end, dots.start() - 3), dots.end() + 2)
        if match is None or not match.start() < dots.start() < match.end():
            continue
        start, stop = match.span()
        if (
            public_ip_validator(match[0])
            and not match[0].endswith(".0")
            and not _NO_ADDRESS_BEFORE.search(text, max(0, start - 40), start)
            and not _NO_ADDRESS_BEHIND.match(text, stop)
        ):
            yield start, stop
            end = stop
