import random
import string
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from babel_jax.corpus.redact import redact

LETTERS = string.ascii_letters + string.digits


def made(characters, length):
    """A secret that stands nowhere: put together here, so that no scanner of this repository finds one."""
    return "".join(random.Random(length).choices(characters, k=length))


def private_key(kind="RSA ", breaks="\n", lines=12):
    body = breaks.join(made(LETTERS + "+/", 64) for _ in range(lines))
    return f"-----BEGIN {kind}PRIVATE KEY-----{breaks}{body}{breaks}-----END {kind}PRIVATE KEY-----"


SLACK = "xox" + "b-1234-5678-" + "abcdef"
KEYS = {
    "aws id": "AK" + "IA" + made(string.ascii_uppercase, 16),
    "azure": "Account" + "Key=" + made(LETTERS, 88),
    "github": "gh" + "p_" + made(LETTERS, 36),
    "gitlab": "gl" + "pat-" + made(LETTERS, 20),
    "gitlab runner": "glc" + "bt-" + made(LETTERS, 20),
    "json web token": "ey" + "JhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiIxMjM0NTYifQ." + made(LETTERS, 43),
    "mailchimp": made("0123456789abcdef", 32) + "-us12",
    "openai": "sk-" + made(LETTERS, 20) + "T3Blbk" + "FJ" + made(LETTERS, 20),
    "pypi": "pypi-" + "AgEIcHlwaS5vcmc" + made(LETTERS, 80),
    "sendgrid": "SG" + "." + made(LETTERS, 22) + "." + made(LETTERS, 43),
    "slack": SLACK,
    "slack hook": "https://hooks.slack" + ".com/services/T12345678/B12345678/" + made(LETTERS, 24),
    "square": "sq0" + "csp-" + made(LETTERS, 43),
    "stripe": "sk_" + "live_" + made(LETTERS, 24),
    "twilio": "SK" + made("0123456789abcdef", 32),
    "private key": private_key(),
    "private key in a string": private_key(breaks="\\n"),
    "private key put together": private_key("", '\\n" +\n    "'),
    "PGP key": private_key("PGP ").replace("PRIVATE KEY", "PRIVATE KEY BLOCK"),
}


@pytest.mark.parametrize("kind", KEYS)
def test_keys(kind):
    text = f'import os\nsecret = "{KEYS[kind]}"\nprint(os.name)\n'
    assert redact(text) == ('import os\nsecret = "<KEY>"\nprint(os.name)\n', {"key": 1})


def test_the_key_alone_goes_where_the_pattern_has_more():
    secret = made(LETTERS, 40)
    assert redact(f'aws_secret_key = "{secret}"') == ('aws_secret_key = "<KEY>"', {"key": 1})
    assert redact("a = 'mysql://root:s3cret@db.host.org/x'") == ("a = 'mysql://root:<KEY>@db.host.org/x'", {"key": 1})
    assert redact("'redis://h:p%40ss@cache'") == ("'redis://h:<KEY>@cache'", {"key": 1})


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("# Ada Lovelace <ada.lovelace+code@mail.example.org>.", "# Ada Lovelace <<EMAIL>>."),
        ("send(to='ada@lovelace.org')", "send(to='<EMAIL>')"),
        ('{"mail":"ada@lovelace.org","x":1}', '{"mail":"<EMAIL>","x":1}'),
        ("ada@lovelace.org,bob@lovelace.org", "<EMAIL>,<EMAIL>"),
        ("connect('95.26.244.94', 80)", "connect('<IP_ADDRESS>', 80)"),
        ("http://95.26.244.94:8080/", "http://<IP_ADDRESS>:8080/"),
        ("from 95.26.244.94 to 8.8.8.8.", "from <IP_ADDRESS> to <IP_ADDRESS>."),
    ],
)
def test_addresses(text, redacted):
    assert redact(text)[0] == redacted


def test_counts_by_kind():
    text = f"a@lovelace.org b@lovelace.org 95.26.244.94 {SLACK}"
    assert redact(text) == ("<EMAIL> <EMAIL> <IP_ADDRESS> <KEY>", {"key": 1, "email": 2, "ip_address": 1})
    assert redact("x = 1\n") == ("x = 1\n", {})


@pytest.mark.parametrize(
    "text",
    [
        "@property\ndef f(self): return a@b, a @ b.T, x@y.T, x@y.dot(z), x@y.to_numpy, x@y.values[0]",
        "background: url('icon@2x.png')",
        "/** @param string $name @see Foo::bar() */",
        "github.com/russross/blackfriday@v2.0.0",
        "127.0.0.1 10.0.0.1 192.168.1.1 0.0.0.0 255.255.255.255 169.254.1.1 300.1.2.3",
        'Version=4.0.0.0, AssemblyVersion("1.2.3.4"), library-1.2.3.4.tar v1.2.3.4 1.2.3.4.5',
        'FrameworkName = ".NET 4.5.1.0"; Assembly("mscorlib", "4.0.0.0")',
        "OID 1.3.6.1.4.1.311.2 and RFC 7540, Section 8.1.2.2",
        "f'{scheme}://{user}:{password}@{host}' '%s://%s:%s@%s'",
        'if "-----BEGIN RSA PRIVATE KEY-----" in text:\n'
        '    first, endOfThePrivateKeyOfTheCertificate = text.find(self.open), text.find("-----END RSA PRIVATE KEY-----")',
        "deadbeef" * 8,
        "xox = 3; draws(aws)",
    ],
)
def test_code_is_left_alone(text):
    assert redact(text) == (text, {})


PARTS = [
    *KEYS.values(),
    *("ada@lovelace.org", "95.26.244.94", "://u:p@", "@", ".", "a", "<KEY>", "1.2", " ", "\n", '"', "-----BEGIN "),
]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(PARTS) | st.text(max_size=3), max_size=8).map("".join))
def test_redacting_twice_changes_nothing_more(text):
    once = redact(text)[0]
    assert redact(once)[0] == once


@pytest.mark.parametrize("before", [0, 1000, 1020, 2030])
@pytest.mark.parametrize("kind", KEYS)
def test_a_key_may_stand_anywhere_in_a_long_line(kind, before):
    text = "é" * before + f'"{KEYS[kind]}"' + "é" * 3000
    assert redact(text) == ("é" * before + '"<KEY>"' + "é" * 3000, {"key": 1})


def test_a_long_web_token_goes_whole():
    token = "ey" + "JhbGciOiJIUzI1NiJ9." + made(LETTERS, 3000) + "." + made(LETTERS, 43)
    assert redact(f"t = '{token}'")[0] == "t = '<KEY>'"


@pytest.mark.parametrize(
    "opening",
    ["a@", "1.1.", "eyJ", "://a:", "-----BEGIN PRIVATE KEY-----", "A3T", "xoxb-1-", "sk-T3BlbkFJ", "aws key '"],
)
def test_time_grows_with_the_text_and_no_faster(opening):
    """200 kB of the openings of a pattern: with the square of the length, it would be minutes."""
    start = time.process_time()
    redact(opening * (200_000 // len(opening)))
    assert time.process_time() - start < 6
