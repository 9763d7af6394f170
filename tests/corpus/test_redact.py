import random
import string

import pytest
from helpers.growth import grows_faster
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
        ("8.8.8.8-8.8.4.4 8.8.8.8/8.8.4.4", "<IP_ADDRESS>-<IP_ADDRESS> <IP_ADDRESS>/<IP_ADDRESS>"),
        ("8.8.8.8,8.8.4.4;9.9.9.9|1.1.1.1", "<IP_ADDRESS>,<IP_ADDRESS>;<IP_ADDRESS>|<IP_ADDRESS>"),
        ("8.8.8.8 - 8.8.4.4, 8.8.8.8..8.8.4.4", "<IP_ADDRESS> - <IP_ADDRESS>, <IP_ADDRESS>..<IP_ADDRESS>"),
        ("10.0.0.1-8.8.8.8, 10.0.0.2 and 8.8.4.4", "10.0.0.1-<IP_ADDRESS>, 10.0.0.2 and <IP_ADDRESS>"),
        ("8.8.8.8:53, [8.8.8.8]:53, 8.8.8.8/32", "<IP_ADDRESS>:53, [<IP_ADDRESS>]:53, <IP_ADDRESS>/32"),
        (r'say("to\n8.8.8.8\n")', r'say("to\n<IP_ADDRESS>\n")'),
        ("服务器8.8.8.8的", "服务器<IP_ADDRESS>的"),
        ("DNS_SERVER = '8.8.8.8'  # verify", "DNS_SERVER = '<IP_ADDRESS>'  # verify"),
        ("IP version 4: 8.8.8.8, dns.google/8.8.4.4", "IP version 4: <IP_ADDRESS>, dns.google/<IP_ADDRESS>"),
        ("ping -v 8.8.8.8 # conversion 8.8.8.8", "ping -v <IP_ADDRESS> # conversion <IP_ADDRESS>"),
        ("# version 2 of the resolver asks 8.8.8.8", "# version 2 of the resolver asks <IP_ADDRESS>"),
        ("version 1.2.3.4 of 8.8.8.8", "version 1.2.3.4 of <IP_ADDRESS>"),
        ("dig @2606:4700:4700::1111", "dig @<IP_ADDRESS>"),
        ("http://[2a00:1450:4001:81B::200E]:8080/", "http://[<IP_ADDRESS>]:8080/"),
        ("2606:4700:0:0:0:0:0:1111, 2600::/29", "<IP_ADDRESS>, <IP_ADDRESS>/29"),
        ("2606::1-2606::ff;2620:fe::fe%eth0", "<IP_ADDRESS>-<IP_ADDRESS>;<IP_ADDRESS>%eth0"),
        ("ip6:2001:4860:4000::/36 2606:4700::1: timeout", "ip6:<IP_ADDRESS>/36 <IP_ADDRESS>: timeout"),
        ("::ffff:8.8.8.8 ::ffff:808:808 64:ff9b::8.8.8.8", "<IP_ADDRESS> <IP_ADDRESS> <IP_ADDRESS>"),
        ("2002:808:808::1 2606:4700::8.8.8.8", "<IP_ADDRESS> <IP_ADDRESS>"),
        ("64:ff9b::808:808 0:0:0:0:0:FFFF:0808:0808", "<IP_ADDRESS> <IP_ADDRESS>"),
        (
            "8.8.8.8:53-8.8.4.4:53, 9.9.9.9/24-1.1.1.1/24",
            "<IP_ADDRESS>:53-<IP_ADDRESS>:53, <IP_ADDRESS>/24-<IP_ADDRESS>/24",
        ),
        ("2606::1..2606::ff ip == '8.8.8.8'", "<IP_ADDRESS>..<IP_ADDRESS> ip == '<IP_ADDRESS>'"),
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
        "1.2.840.113549 1.3.6.1 2.5.29.15 2.5.4.3; oid = '1.2.3.4'; policyOid: 1.2.3.4; ASN.1 1.2.3.4",
        "version 4.18.0.25; Chrome/90.0.4430.93 Chrome/90.0.44.93; min_ver = '1.2.3.4'; fileVer=1.2.3.4; __version__ = '1.2.3.4'",
        '[assembly: AssemblyVersion ("1.0.3.4")] new Version("1.0.3.4"); Version.Parse("1.0.3.4"); <Version>1.0.3.4</Version>',
        "version_compare($v, '1.2.3.4', '<'); PHP_VERSION >= '1.2.3.4'; versions 1.2.3.4, 1.2.3.5 and 1.2.3.6; v 1.2.3.4",
        "1.2.3.4-beta 1.2.3.4-1ubuntu1 1.2.3.4+dfsg lib-1.2.3.4 1.2.3.4.tar.gz; firmware 1.2.3.4; clauses 21.1.3.1, 21.1.3.2",
        "a==1.2.3.4; openssl >= 1.2.3.4, <= 1.2.3.5; gem 'b', '~> 1.2.3.4'; ISO/IEC 9899:1999 6.5.2.3",
        "64:ff9b::a00:1 0:0:0:0:0:ffff:a00:1 a::ffff:808:808 164:ff9b::808:808",
        "239.255.255.250 224.0.0.1 192.0.2.1 198.51.100.7 203.0.113.7 100.64.0.1 01.02.03.04 8.8.8.256 8.8.8.0",
        "a::b::c std::dec::x dead::beef Foo::bar ::abcd::; x[2000::2], x[i, 2000::2], x[2048::]",
        "12:34:56 2021:12:31 12:34:56 00:1a:2b:3c:4d:5e 20:01:0d:b8:85:a3:00:01 2606:4700:1:2:3:4:5:6:7:8",
        "::1 fe80::1%eth0 2001:db8::1 [2001:db8::1]:443 ff02::1 ::ffff:10.0.0.1 2002:a00:1::1 fc00::1 3fff::1 2001::1 4000::1",
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
    *("8.8.8.8", "-", "/", ",", ":", "::", "2606:4700::1", "2600", "version ", "v"),
]


@settings(max_examples=100, deadline=None)
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
    assert not grows_faster(redact, lambda length: opening * (length // len(opening)), 200_000)


def test_keys_that_follow_each_other_without_end_take_no_longer():
    """4 MB of them: with the square of the length, it would be a minute and a half."""
    assert not grows_faster(redact, lambda length: KEYS["github"] * (length // len(KEYS["github"])), 4_000_000)
