#!/usr/bin/env bash
# Fetches source code of Debian 12 packages as a corpus: OUT/<language>/<package>/…, for `python -m babel_jax corpus build`.
#
#   launch/fetch_debian_corpus.sh [--full] [--accept-new] [--dry-run] OUT [LANGUAGE …]   (default: python php; also csharp go cpp
#                                                             javascript typescript java c rust)
#   launch/fetch_debian_corpus.sh --pin                       (prints the table of packages with what Debian has today)
#
# debian_packages.tsv, beside this script, says for each package its licence (SPDX; that of most of its files: the exact
# ones are unpacked with it), size and SHA-256. The minimal set is permissive: at least 30 MB of code a language after
# cleaning in the first five, 14 to 51 MB in the others. --full adds more to the first five, with packages under the GPL,
# LGPL and MPL among them: --dry-run shows which.
#
# Needs apt-get and dpkg-deb, not root: apt's state lives in a folder of its own, nothing is installed, no package script
# runs. apt checks every file against the signed index, this script against the table. A package of which Debian has
# another version than the table is left out; --accept-new takes it. What is missing is skipped; the status is then 1 and
# the last lines name it. What is there already is not fetched again. OUT/packages.tsv lists what was fetched.
# To fetch: 16 MB for python and php (175 MB unpacked, 10 seconds at 30 MB/s), 175 MB for the first five, 60 MB for the
# other five; with --full 615 MB.
set -euo pipefail

# shellcheck source=launch/debian_archive.sh
. "$(dirname "$0")/debian_archive.sh"
answer_help "$@"
table=$here/debian_packages.tsv # set, language, package (src: is a source package), licence, bytes, sha256, file
full='' accept_new='' dry_run='' pin=''
while [[ ${1:-} == -* ]]; do
  case $1 in
    --full) full=1 ;;
    --accept-new) accept_new=1 ;;
    --dry-run) dry_run=1 ;;
    --pin) pin=1 full=1 ;;
    *) fail "unknown flag '$1'; known: --full --accept-new --dry-run --pin." ;;
  esac
  shift
done
if [ -z "$pin" ] && [ $# -eq 0 ]; then
  fail "say where: $(basename "$0") [--full] [--accept-new] [--dry-run] OUT [LANGUAGE …]; --help explains."
fi
out=${1:-}
[ $# -eq 0 ] || shift
[ $# -gt 0 ] || set -- python php

rows() { # of a language, in the chosen set
  awk -F '\t' -v full="$full" -v language="$1" '$2 == language && ($1 == "minimal" || full)' "$table"
}
column=language
strip() { :; } # nothing is taken out

languages=$(awk -F '\t' '/^(minimal|full)\t/ && !seen[$2]++ { printf "%s ", $2 }' "$table")
for language in "$@"; do
  case " $languages" in
    *" $language "*) ;;
    *) fail "unknown language '$language'; known: $languages" ;;
  esac
done

if [ -n "$dry_run" ]; then
  for language in "$@"; do rows "$language"; done | awk -F '\t' -v out="$out" '
    { printf "%-7s %-42s %8.1f MB  %s\n", $2, $3, $5 / 1e6, $4; total += $5 }
    $4 ~ /GPL|MPL/ && $4 !~ / OR / { copyleft = copyleft " " $3 }
    END { printf "%.0f MB to fetch to %s; copyleft:%s\n", total / 1e6, out, copyleft ? copyleft : " none" }'
  exit 0
fi

need_debian "\`corpus build\` any folders or tarballs of source files"
# shellcheck disable=SC2119
open_archive
if [ -n "$pin" ]; then
  print_pins
  exit 0
fi
fetch_groups "$@"
say_what_is_there "$@" || exit 1
