"""How each language writes the embedded world's programs: sixteen primitives, one token frame, one real file.

The token stream is the same length and aligned in all languages; what a language writes for each token makes source code of
it that the language's own tool runs. A further language is one more `Dialect`.

Identifiers are the words by which a reader of the language would know the function: Python's and PHP's built-ins; .NET's
methods and classes (`System.String`, `Uri`, `WebUtility`, `Convert`, `System.Security.Cryptography`, `System.IO.Hashing`); the
functions of Go's packages `strings`, `html`, `net/url`, `encoding/json` and `hash/…`, where two packages call theirs the same by
another word of the call (`base64.StdEncoding`, `md5.Sum` as `md5`). C++'s standard library has next to none of them, so they
are called as in the libraries that its programs use: Boost's string algorithms (`to_upper_copy`, `to_lower_copy`, `trim_copy`,
`hex`), the standard `reverse_copy`, curl (`curl_easy_escape`), nlohmann's JSON (`dump`), OpenSSL (`MD5`, `SHA1`), zlib (`crc32`,
`adler32`), and plain words for the rest. The preludes give them exactly the meaning of `PRIMITIVES` on printable ASCII.
"""

import base64
import binascii
import codecs
import dataclasses
import hashlib
import html
import json
import re
import urllib.parse
import zlib
from collections.abc import Callable, Sequence

from babel_jax.common.errors import unknown_name

# The world's own interpreter: what each primitive does to a string (printable ASCII in and out). Dialects must agree with it.
PRIMITIVES: dict[str, Callable[[str], str]] = {
    "upper case": str.upper,
    "lower case": str.lower,
    "strip spaces": lambda s: s.strip(" "),
    "reverse": lambda s: s[::-1],
    "capitals": lambda s: re.sub(r"(^|(?<= ))[a-z]", lambda m: m[0].upper(), s),
    "escape markup": lambda s: html.escape(s, quote=False).replace('"', "&quot;"),
    "hexadecimal": lambda s: binascii.hexlify(s.encode()).decode(),
    "base 64": lambda s: base64.b64encode(s.encode()).decode(),
    "url path": lambda s: urllib.parse.quote(s, safe=""),
    "url form": lambda s: urllib.parse.quote_plus(s),
    "rotate letters": lambda s: codecs.encode(s, "rot13"),
    "json": json.dumps,
    "md5": lambda s: hashlib.md5(s.encode()).hexdigest(),
    "sha1": lambda s: hashlib.sha1(s.encode()).hexdigest(),
    "crc32": lambda s: f"{zlib.crc32(s.encode()):08x}",
    "adler32": lambda s: f"{zlib.adler32(s.encode()):08x}",
}

# What programs are run on. Chosen so that different compositions give different results wherever they mean different things.
TEST_INPUTS = ("  Ab c <d> & Ef ", 'say "Hi/ho", jOhn 7', " zebra=0 Quick; brown_fox ")


@dataclasses.dataclass(frozen=True)
class Dialect:
    """One language of the embedded world.

    Attributes:
      identifiers: its name for each primitive, in the order of `PRIMITIVES`.
      define, end: the two tokens of the frame that need not be those of other languages.
      written: the text of each frame token whose text is not the token itself. The comment ends with a full stop, so that
        the token that ends it is no mere white space elsewhere: a program is right where its tokens are.
      prelude: what stands before the function: the primitives under their names.
      check: one assertion that the function gives {expected} for {given}; `tests`: what stands behind the function in a
        file that makes the assertions {checks}.
      quote: a string literal of the language.
      ignores_case: the language knows a function however its letters are cased.
    """

    identifiers: tuple[str, ...]
    define: str
    end: str
    written: dict[str, str]
    prelude: str
    check: str
    tests: str
    quote: Callable[[str], str] = json.dumps
    ignores_case: bool = False


DIALECTS = {
    "python": Dialect(
        identifiers=(
            "upper",
            "lower",
            "strip",
            "reversed",
            "title",
            "escape",
            "hexlify",
            "b64encode",
            "quote",
            "quote_plus",
            "rot13",
            "dumps",
            "md5",
            "sha1",
            "crc32",
            "adler32",
        ),
        define="def",
        end="<end>",
        # The end closes a parenthesis: a program without it is none.
        written={
            "\n": ".\n",
            "def": "def ",
            "f(x):": "f(x):\n",
            "return": "    return (",
            "<end>": ")\n",
        },
        prelude="""\
import base64, binascii, codecs, hashlib, html, json, re, urllib.parse, zlib
from urllib.parse import quote_plus
from json import dumps
upper, lower = str.upper, str.lower
strip = lambda x: x.strip(" ")
reversed = lambda x: x[::-1]
title = lambda x: re.sub(r"(^|(?<= ))[a-z]", lambda m: m[0].upper(), x)
escape = lambda x: html.escape(x).replace("&#x27;", "'")
hexlify = lambda x: binascii.hexlify(x.encode()).decode()
b64encode = lambda x: base64.b64encode(x.encode()).decode()
quote = lambda x: urllib.parse.quote(x, safe="")
rot13 = lambda x: codecs.encode(x, "rot13")
md5 = lambda x: hashlib.md5(x.encode()).hexdigest()
sha1 = lambda x: hashlib.sha1(x.encode()).hexdigest()
crc32 = lambda x: "%08x" % zlib.crc32(x.encode())
adler32 = lambda x: "%08x" % zlib.adler32(x.encode())

""",
        check="assert f({given}) == {expected}\n",
        tests="\n{checks}",
        quote=repr,
    ),
    "php": Dialect(
        identifiers=(
            "strtoupper",
            "strtolower",
            "trim",
            "strrev",
            "ucwords",
            "htmlspecialchars",
            "bin2hex",
            "base64_encode",
            "rawurlencode",
            "urlencode",
            "str_rot13",
            "json_encode",
            "md5",
            "sha1",
            "crc32",
            "adler32",
        ),
        define="function",
        end=";}",
        written={
            "#": "//",
            "\n": ".\n",
            "function": "function ",
            "f(x):": "f($x) {\n",
            "return": "    return ",
            "(x))": "($x))",
            ";}": ";\n}\n",
        },
        prelude="""\
<?php
namespace world;
function trim($x) { return \\trim($x, ' '); }
function ucwords($x) { return \\ucwords($x, ' '); }
function htmlspecialchars($x) { return \\htmlspecialchars($x, ENT_COMPAT); }
function urlencode($x) { return \\str_replace('%7E', '~', \\urlencode($x)); }
function json_encode($x) { return \\json_encode($x, JSON_UNESCAPED_SLASHES); }
function crc32($x) { return \\hash('crc32b', $x); }
function adler32($x) { return \\hash('adler32', $x); }

""",
        check="assert(f({given}) === {expected});\n",
        tests="\n{checks}",
        quote=lambda text: "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'",
        ignores_case=True,
    ),
    "csharp": Dialect(
        identifiers=(
            "ToUpper",
            "ToLower",
            "Trim",
            "Reverse",
            "ToTitleCase",
            "HtmlEncode",
            "ToHexString",
            "ToBase64String",
            "EscapeDataString",
            "UrlEncode",
            "Rot13",
            "Serialize",
            "MD5",
            "SHA1",
            "Crc32",
            "Adler32",
        ),
        define="static",
        end=";}",
        written={
            "#": "//",
            "\n": ".\n",
            "static": "static ",
            "f(x):": "string f(string x) {\n",
            "return": "    return ",
            ";}": ";\n}\n",
        },
        prelude="""\
using System;
using System.Linq;
using System.Net;
using System.Text;
using System.Text.RegularExpressions;

static class World {
static byte[] Bytes(string x) { return Encoding.ASCII.GetBytes(x); }
static string Hexadecimal(byte[] x) { return BitConverter.ToString(x).Replace("-", "").ToLowerInvariant(); }
static string ToUpper(string x) { return x.ToUpperInvariant(); }
static string ToLower(string x) { return x.ToLowerInvariant(); }
static string Trim(string x) { return x.Trim(' '); }
static string Reverse(string x) { return new string(x.Reverse().ToArray()); }
static string ToTitleCase(string x) { return Regex.Replace(x, "(?:^|(?<= ))[a-z]", m => m.Value.ToUpperInvariant()); }
static string HtmlEncode(string x) { return WebUtility.HtmlEncode(x).Replace("&#39;", "'"); }
static string ToHexString(string x) { return Hexadecimal(Bytes(x)); }
static string ToBase64String(string x) { return Convert.ToBase64String(Bytes(x)); }
static string EscapeDataString(string x) { return Uri.EscapeDataString(x); }
static string UrlEncode(string x) { return EscapeDataString(x).Replace("%20", "+"); }
static char Rotated(char x) {
    int first = x & ~31, letter = x & 31;
    return (first == 64 || first == 96) && letter >= 1 && letter <= 26 ? (char)(first + (letter + 12) % 26 + 1) : x;
}
static string Rot13(string x) { return new string(x.Select(Rotated).ToArray()); }
static string Serialize(string x) { return "\\"" + x.Replace("\\\\", "\\\\\\\\").Replace("\\"", "\\\\\\"") + "\\""; }
static string MD5(string x) { return Hexadecimal(System.Security.Cryptography.MD5.Create().ComputeHash(Bytes(x))); }
static string SHA1(string x) { return Hexadecimal(System.Security.Cryptography.SHA1.Create().ComputeHash(Bytes(x))); }
static string Crc32(string x) {
    uint sum = ~0u;
    foreach (byte next in Bytes(x)) {
        sum ^= next;
        for (int bit = 0; bit < 8; bit++) sum = (sum >> 1) ^ ((sum & 1) * 0xEDB88320u);
    }
    return (~sum).ToString("x8");
}
static string Adler32(string x) {
    uint low = 1, high = 0;
    foreach (byte next in Bytes(x)) { low = (low + next) % 65521; high = (high + low) % 65521; }
    return (high << 16 | low).ToString("x8");
}

""",
        check='    if (f({given}) != {expected}) throw new Exception("Assertion failed");\n',
        tests="\npublic static void Main() {\n{checks}}\n}\n",
    ),
    "go": Dialect(
        identifiers=(
            "ToUpper",
            "ToLower",
            "TrimSpace",
            "Reverse",
            "Title",
            "EscapeString",
            "EncodeToString",
            "StdEncoding",
            "PathEscape",
            "QueryEscape",
            "Rot13",
            "Marshal",
            "md5",
            "sha1",
            "ChecksumIEEE",
            "Checksum",
        ),
        define="func",
        end=";}",
        written={
            "#": "//",
            "\n": ".\n",
            "func": "func ",
            "f(x):": "f(x string) string {\n",
            "return": "\treturn ",
            ";}": "\n}\n",
        },
        prelude="""\
package main

import (
	"bytes"
	md5sum "crypto/md5"
	sha1sum "crypto/sha1"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/adler32"
	"hash/crc32"
	"html"
	"net/url"
	"strings"
)

func ToUpper(x string) string   { return strings.ToUpper(x) }
func ToLower(x string) string   { return strings.ToLower(x) }
func TrimSpace(x string) string { return strings.Trim(x, " ") }
func Reverse(x string) string {
	reversed := []byte(x)
	for i := range reversed {
		reversed[i] = x[len(x)-1-i]
	}
	return string(reversed)
}
func Title(x string) string {
	words := strings.Split(x, " ")
	for i, word := range words {
		if word != "" {
			words[i] = strings.ToUpper(word[:1]) + word[1:]
		}
	}
	return strings.Join(words, " ")
}
func EscapeString(x string) string {
	return strings.NewReplacer("&#39;", "'", "&#34;", "&quot;").Replace(html.EscapeString(x))
}
func EncodeToString(x string) string { return hex.EncodeToString([]byte(x)) }
func StdEncoding(x string) string    { return base64.StdEncoding.EncodeToString([]byte(x)) }

// url.PathEscape leaves some marks as they are.
func PathEscape(x string) string  { return strings.ReplaceAll(url.QueryEscape(x), "+", "%20") }
func QueryEscape(x string) string { return url.QueryEscape(x) }
func Rot13(x string) string {
	return strings.Map(func(letter rune) rune {
		switch {
		case 'a' <= letter && letter <= 'z':
			return 'a' + (letter-'a'+13)%26
		case 'A' <= letter && letter <= 'Z':
			return 'A' + (letter-'A'+13)%26
		}
		return letter
	}, x)
}
func Marshal(x string) string {
	var written bytes.Buffer
	encoder := json.NewEncoder(&written)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(x); err != nil {
		panic(err)
	}
	return strings.TrimSuffix(written.String(), "\\n")
}
func md5(x string) string          { return fmt.Sprintf("%x", md5sum.Sum([]byte(x))) }
func sha1(x string) string         { return fmt.Sprintf("%x", sha1sum.Sum([]byte(x))) }
func ChecksumIEEE(x string) string { return fmt.Sprintf("%08x", crc32.ChecksumIEEE([]byte(x))) }
func Checksum(x string) string     { return fmt.Sprintf("%08x", adler32.Checksum([]byte(x))) }

""",
        check='\tif f({given}) != {expected} {\n\t\tpanic("assertion failed")\n\t}\n',
        tests="\nfunc main() {\n{checks}}\n",
    ),
    "cpp": Dialect(
        identifiers=(
            "to_upper_copy",
            "to_lower_copy",
            "trim_copy",
            "reverse_copy",
            "title_case",
            "html_escape",
            "hex",
            "base64_encode",
            "curl_easy_escape",
            "form_urlencode",
            "rot13",
            "dump",
            "MD5",
            "SHA1",
            "crc32",
            "adler32",
        ),
        define="inline",
        end=";}",
        written={
            "#": "//",
            "\n": ".\n",
            "inline": "inline ",
            "f(x):": "std::string f(const std::string& x) {\n",
            "return": "    return ",
            ";}": ";\n}\n",
        },
        prelude="""\
#include <cassert>
#include <cmath>
#include <cstdint>
#include <iostream>
#include <string>

using Text = const std::string&;
bool is_lower(char c) { return c >= 'a' && c <= 'z'; }
bool is_upper(char c) { return c >= 'A' && c <= 'Z'; }
bool is_letter_or_digit(char c) { return is_lower(c) || is_upper(c) || (c >= '0' && c <= '9'); }

template <class Function> std::string each(Text x, Function function) {
    std::string out;
    for (char c : x) out += function(c);
    return out;
}

std::string two_digits(unsigned char c, const char* digits) { return {digits[c >> 4], digits[c & 15]}; }

std::string eight_digits(std::uint32_t value) {
    std::string out;
    for (int shift = 24; shift >= 0; shift -= 8) out += two_digits(value >> shift, "0123456789abcdef");
    return out;
}

std::string to_upper_copy(Text x) {
    return each(x, [](char c) { return is_lower(c) ? char(c - 32) : c; });
}
std::string to_lower_copy(Text x) {
    return each(x, [](char c) { return is_upper(c) ? char(c + 32) : c; });
}
std::string trim_copy(Text x) {
    auto first = x.find_first_not_of(' ');
    return first == std::string::npos ? "" : x.substr(first, x.find_last_not_of(' ') - first + 1);
}
std::string reverse_copy(Text x) { return {x.rbegin(), x.rend()}; }
std::string title_case(Text x) {
    char before = ' ';
    return each(x, [&](char c) {
        bool first = before == ' ';
        before = c;
        return first && is_lower(c) ? char(c - 32) : c;
    });
}
std::string html_escape(Text x) {
    return each(x, [](char c) -> std::string {
        return c == '&' ? "&amp;" : c == '<' ? "&lt;" : c == '>' ? "&gt;" : c == '"' ? "&quot;" : std::string(1, c);
    });
}
std::string hex(Text x) {
    return each(x, [](char c) { return two_digits(c, "0123456789abcdef"); });
}
std::string base64_encode(Text x) {
    const std::string digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string out;
    for (std::size_t i = 0; i < x.size(); i += 3) {
        std::uint32_t three = 0;
        for (std::size_t k = i; k < i + 3; k++) three = three << 8 | (k < x.size() ? (unsigned char)x[k] : 0);
        for (int k = 0; k < 4; k++) out += i + k > x.size() ? '=' : digits[three >> (18 - 6 * k) & 63];
    }
    return out;
}
std::string curl_easy_escape(Text x) {
    return each(x, [](char c) {
        bool plain = is_letter_or_digit(c) || c == '-' || c == '_' || c == '.' || c == '~';
        return plain ? std::string(1, c) : "%" + two_digits(c, "0123456789ABCDEF");
    });
}
std::string form_urlencode(Text x) {
    return each(x, [](char c) { return c == ' ' ? "+" : curl_easy_escape(std::string(1, c)); });
}
std::string rot13(Text x) {
    return each(x, [](char c) {
        char first = is_lower(c) ? 'a' : 'A';
        return is_lower(c) || is_upper(c) ? char(first + (c - first + 13) % 26) : c;
    });
}
std::string dump(Text x) {
    return '"' + each(x, [](char c) { return (c == '"' || c == '\\\\' ? "\\\\" : "") + std::string(1, c); }) + '"';
}

std::uint32_t rotated(std::uint32_t value, int by) { return value << by | value >> (32 - by); }

// The message filled up to whole blocks of 64 bytes; the last eight bytes hold its length in bits.
std::string padded(std::string x, bool low_byte_first) {
    std::uint64_t bits = 8 * x.size();
    x += char(128);
    while (x.size() % 64 != 56) x += char(0);
    for (int k = 0; k < 8; k++) x += char(bits >> 8 * (low_byte_first ? k : 7 - k));
    return x;
}

std::string MD5(Text text) {  // RFC 1321
    const int shifts[4][4] = {{7, 12, 17, 22}, {5, 9, 14, 20}, {4, 11, 16, 23}, {6, 10, 15, 21}};
    const int steps[4][2] = {{0, 1}, {1, 5}, {5, 3}, {0, 7}};
    std::uint32_t state[4] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476};
    const std::string x = padded(text, true);
    for (std::size_t block = 0; block < x.size(); block += 64) {
        std::uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
        for (int i = 0; i < 64; i++) {
            int round = i / 16;
            std::uint32_t mixed = round == 0   ? (b & c) | (~b & d)
                                  : round == 1 ? (d & b) | (~d & c)
                                  : round == 2 ? b ^ c ^ d
                                               : c ^ (b | ~d);
            std::uint32_t word = 0;
            int place = (steps[round][0] + steps[round][1] * i) % 16;
            for (int k = 3; k >= 0; k--) word = word << 8 | (unsigned char)x[block + 4 * place + k];
            mixed += a + word + std::uint32_t(std::floor(4294967296.0 * std::fabs(std::sin(i + 1.0))));
            a = d, d = c, c = b;
            b += rotated(mixed, shifts[round][i % 4]);
        }
        state[0] += a, state[1] += b, state[2] += c, state[3] += d;
    }
    std::string out;
    for (std::uint32_t part : state)
        for (int k = 0; k < 4; k++) out += two_digits(part >> 8 * k, "0123456789abcdef");
    return out;
}
std::string SHA1(Text text) {  // RFC 3174
    std::uint32_t state[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    const std::string x = padded(text, false);
    for (std::size_t block = 0; block < x.size(); block += 64) {
        std::uint32_t word[80] = {};
        for (int i = 0; i < 64; i++) word[i / 4] = word[i / 4] << 8 | (unsigned char)x[block + i];
        for (int i = 16; i < 80; i++) word[i] = rotated(word[i - 3] ^ word[i - 8] ^ word[i - 14] ^ word[i - 16], 1);
        std::uint32_t a = state[0], b = state[1], c = state[2], d = state[3], e = state[4];
        for (int i = 0; i < 80; i++) {
            std::uint32_t mixed = i < 20   ? ((b & c) | (~b & d)) + 0x5a827999
                                  : i < 40 ? (b ^ c ^ d) + 0x6ed9eba1
                                  : i < 60 ? ((b & c) | (b & d) | (c & d)) + 0x8f1bbcdc
                                           : (b ^ c ^ d) + 0xca62c1d6;
            mixed += rotated(a, 5) + e + word[i];
            e = d, d = c, c = rotated(b, 30), b = a, a = mixed;
        }
        state[0] += a, state[1] += b, state[2] += c, state[3] += d, state[4] += e;
    }
    std::string out;
    for (std::uint32_t part : state) out += eight_digits(part);
    return out;
}
std::string crc32(Text x) {
    std::uint32_t sum = ~0u;
    for (unsigned char next : x) {
        sum ^= next;
        for (int bit = 0; bit < 8; bit++) sum = sum >> 1 ^ (sum & 1) * 0xedb88320u;
    }
    return eight_digits(~sum);
}
std::string adler32(Text x) {
    std::uint32_t low = 1, high = 0;
    for (unsigned char next : x) low = (low + next) % 65521, high = (high + low) % 65521;
    return eight_digits(high << 16 | low);
}

""",
        check="    assert(f({given}) == {expected});\n",
        tests="\nint main() {\n{checks}}\n",
    ),
}


def dialect_of(language: str) -> Dialect:
    """The dialect of a language by name; a `UserError` names the nearest known one."""
    if language not in DIALECTS:
        raise unknown_name("language of the embedded world", language, DIALECTS)
    return DIALECTS[language]


def tests(language: str, results: Sequence[str]) -> str:
    """What stands behind a function in a file that asserts that it gives `results` on the test inputs."""
    dialect = dialect_of(language)
    checks = "".join(
        dialect.check.replace("{given}", dialect.quote(given)).replace("{expected}", dialect.quote(expected))
        for given, expected in zip(TEST_INPUTS, results, strict=True)
    )
    return dialect.tests.replace("{checks}", checks)
