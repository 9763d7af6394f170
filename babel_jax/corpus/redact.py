"""E-mail addresses, public IP addresses and keys in a text -> fixed placeholders.

The patterns are datatrove's (e-mail addresses) and detect-secrets' (keys whose services give them a mark of their own). They
are slow, so each is tried where plain search finds what all its matches contain. Detectors that guess, by the randomness of a
string or by the name of a variable, are left out: in code they hit hashes and test data.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator

from ahocorasick_rs import AhoCorasick
from datatrove.pipeline.formatters.pii import PIIFormatter
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

from babel_jax.corpus.addresses import public_addresses

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
_PRIVATE_KEY = re.compile(r"-----BEGIN (?=(?P<kind>[A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?)-----)")
_BASE64 = re.compile(r"[A-Za-z0-9+/=]{32,}")

_EMAIL = PIIFormatter().emails_replacer.regex
_AT = re.compile(r"@(?<=[\w.%+-]@)(?![1-9]x\.)(?=[A-Za-z0-9])", re.ASCII)  # icon@2x.png is no address
_LONGEST_NAME = 64  # characters (RFC 5321)
# The pattern also takes quotes, brackets and operators for parts of a name, which in code stand before it.
_NAME = re.compile(r"[\w.%+-]*\Z", re.ASCII)
_DOMAIN = re.compile(r"[A-Za-z0-9.-]{1,255}")


def redact(text: str) -> tuple[str, dict[str, int]]:
    """Replaces what could be someone's address or secret.

    Redacting twice changes nothing more. Left alone are IP addresses that are not public, those that end in .0 (a
    network's, and nearly always a version number in truth), and private keys whose end is missing.

    Returns:
      (the text with PLACEHOLDERS, their numbers by kind; kinds without any are left out).
    """
    counts = Counter()
    for kind, find in (("key", _private_keys), ("key", _keys), ("email", _emails), ("ip_address", public_addresses)):
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
    end = 0
    for match in _PRIVATE_KEY.finditer(text):
        start = match.end("kind") + len("-----")
        stop, mark = text.find("-----", start), f"-----END {match['kind']}-----"
        if match.start() < end or not text.startswith(mark, stop):
            continue
        body, end = text[start:stop], stop + len(mark)
        # Code that looks for the two marks has code between them.
        if 2 * sum(map(len, _BASE64.findall(body))) > len("".join(body.split())):
            yield match.start(), end


def _keys(text: str) -> Iterable[tuple[int, int]]:
    hints = _SEARCH.find_matches_as_indexes(text, overlapping=True)
    spans, rest = [], (0, 0)
    places = {(start // _CELL, _DETECTORS[hint]) for hint, start, _ in hints}
    for cell, detector in sorted(places, key=lambda place: (place[0], place[1].__name__)):
        first, last = max(0, cell * _CELL - _BEFORE), (cell + 1) * _CELL + _BEHIND
        for pattern in detector.denylist:
            end = 0
            for match in pattern.finditer(text, first, last):
                start, stop = match.span(min(detector in _IN_GROUP, pattern.groups))
                if start >= end and _TEMPLATE.search(text, start, stop) is None:
                    if not rest[0] <= stop <= rest[1]:  # keys may follow each other without end
                        rest = _KEY_REST.match(text, stop).span()
                    end = rest[1]
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
