# Fails if a linked C++ program defines what the tests take for the library's: nm -C PROGRAM | awk -f symbols.awk NAMES -
#
# NAMES: the functions of the C and C++ libraries, one a line. One of the program's with such a name (extern "C" memcmp,
# __cxa_throw) would be called in place of the library's, by the library too; a static link would refuse it as defined twice.
# A comparison of the library's types alone (operator== of two vectors of int) would be preferred to the library's own.

function forged(name) {
    print "error: the program defines " name ", which is the library's" > "/dev/stderr"
    failed = 1
    exit 1
}

BEGIN { of_collections = "^std::operator *(==|!=)\\(std::(__cxx11::)?(vector|basic_string|list|deque|map|set|multi|unordered_|array|pair|tuple)" }

FNR == NR { library[$0]; next }

$2 !~ /^[TtWui]$/ { next }

{
    kind = $2
    name = $0
    sub(/^[^ ]* . /, "", name)
}

name in library && kind != "t" { forged(name) }

match(name, /operator *(==|!=)[(<]/) {
    scope = substr(name, 1, RSTART - 1)
    returns = sub(/^.* /, "", scope)
    types = substr(name, RSTART + RLENGTH - 1)
    gsub(/(std|__gnu_cxx)::[A-Za-z_0-9:]+/, "", types)
    gsub(/unsigned|signed|const|bool|wchar_t|char16_t|char32_t|char|short|int|long|float|double|true|false/, "", types)
    if (types ~ /[A-Za-z_]/) next
    if (scope == "" || scope ~ /namespace\)::$/) forged(name)
    if (scope == "std::" && (kind ~ /[Tt]/ || !returns && name ~ of_collections)) forged(name)
}

END { exit failed }
