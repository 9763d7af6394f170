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

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=launch/common.sh
. "$here/common.sh"
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
packages() { rows "$1" | cut -f 3 | uniq; }
licence() { rows "$1" | awk -F '\t' -v package="$2" '$3 == package { print $4; exit }'; }
pinned() { rows "$1" | awk -F '\t' -v package="$2" '$3 == package { print $6 "  " $7 }'; }

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

keyring=${KEYRING:-/usr/share/keyrings/debian-archive-keyring.gpg}
for need in apt-get dpkg-deb tar sha256sum "$keyring"; do
  if ! command -v "$need" > /dev/null && [ ! -r "$need" ]; then
    fail "$need is missing: this script needs Debian or Ubuntu with debian-archive-keyring; elsewhere give" \
      "\`corpus build\` any folders or tarballs of source files"
  fi
done

if [ -n "$pin" ]; then
  work=$(mktemp -d)
else
  mkdir -p "$out"
  out=$(cd "$out" && pwd)
  work=$(mktemp -d "$out/.fetch.XXXXXX") # on the disk of OUT: a package is moved to its place when it is whole
fi
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/sources.d"
cat > "$work/sources.d/debian.sources" << END
Types: deb deb-src
URIs: http://deb.debian.org/debian
Suites: bookworm
Components: main
Signed-By: $keyring
END
# The table's architecture, whatever this machine's is: nothing is run.
cat > "$work/apt.conf" << END
Dir::State::Lists "$work/lists";
Dir::Cache "$work/cache";
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "$work/sources.d";
APT::Architecture "amd64";
APT::Architectures "amd64";
APT::Sandbox::User "$(id -un)";
APT::Update::Error-Mode "any";
Acquire::Languages "none";
Acquire::Retries "3";
END
export APT_CONFIG=$work/apt.conf
if ! apt-get -q update >&2; then
  fail "Debian's index could not be fetched (see above); mend the network and run again."
fi

get() { # package, and --print-uris to list its files (URI, name, bytes, SHA256:…) instead of fetching them here
  case $1 in
    # Only the upstream tarballs: one missing packaging file must not fail the whole source package.
    src:*) apt-get -qq source --only-source --tar-only "${2:---download-only}" "${1#src:}" ;;
    *) apt-get -qq download ${2:+"$2"} "$1" ;;
  esac
}

indexed() { # package: what Debian has of it today
  get "$1" --print-uris | sed -n "s/^'.*' \([^ ]*\) \([0-9]*\) SHA256:\([0-9a-f]*\)$/\2\t\3\t\1/p"
}

if [ -n "$pin" ]; then
  sed '/^[^#]/,$d' "$table"
  grep -v '^#' "$table" | cut -f 1-4 | uniq | while IFS=$'\t' read -r set language package licence; do
    if files=$(indexed "$package") && [ -n "$files" ]; then
      while read -r file; do printf '%s\t%s\t%s\t%s\t%s\n' "$set" "$language" "$package" "$licence" "$file"; done <<< "$files"
    else
      echo "error: Debian has no package $package" >&2
    fi
  done
  exit 0
fi

fetch() { # language package: leaves OUT/language/package; or nothing, with status 1 (missing) or 3 (not what is pinned)
  local language=$1 package=$2 name=${2#src:} index file
  mkdir -p "$work/got" "$work/tree"
  rm -rf "${work:?}/got/"* "${work:?}/tree/"*
  cd "$work/got"
  index=$(indexed "$package" | awk -F '\t' '{ print $2 "  " $3 }') && [ -n "$index" ] || return 1
  [ -n "$accept_new" ] || [ "$index" = "$(pinned "$language" "$package")" ] || return 3
  get "$package" || return 1
  sha256sum --check --quiet <<< "$index" || return 1
  while read -r _ file; do
    case $file in
      *.deb) dpkg-deb -x "$file" "$work/tree" ;;
      *) tar -xf "$file" --no-same-owner -C "$work/tree" ;;
    esac || return 1
  done <<< "$index"
  # The list first: a package that is there is in it.
  {
    printf 'language\tpackage\tlicence\tsha256\tfile\n'
    [ ! -e "$out/packages.tsv" ] || awk -F '\t' -v language="$language" -v package="$name" \
      'NR > 1 && !($1 == language && $2 == package)' "$out/packages.tsv"
    while read -r sum file; do
      printf '%s\t%s\t%s\t%s\t%s\n' "$language" "$name" "$(licence "$language" "$package")" "$sum" "$file"
    done <<< "$index"
  } > "$work/packages.tsv" && mv "$work/packages.tsv" "$out/packages.tsv" || return 1
  mkdir -p "$out/$language" && mv "$work/tree" "$out/$language/$name"
}

missing=() changed=()
for language in "$@"; do
  for package in $(packages "$language"); do
    if [ -d "$out/$language/${package#src:}" ]; then
      echo "$language: ${package#src:} is there"
      continue
    fi
    status=0
    (fetch "$language" "$package") || status=$?
    case $status in
      0) echo "$language: ${package#src:} fetched ($(licence "$language" "$package"))" ;;
      3)
        echo "$language: ${package#src:} is not what is pinned, left out" >&2
        changed+=("$language/${package#src:}")
        ;;
      *)
        echo "$language: ${package#src:} could not be fetched, skipped" >&2
        missing+=("$language/${package#src:}")
        ;;
    esac
  done
done
for language in "$@"; do
  if [ -d "$out/$language" ]; then echo "$language: $(du -sh "$out/$language" | cut -f1) in $out/$language"; fi
done
[ ${#missing[@]} -eq 0 ] || echo "missing: ${missing[*]}"
[ ${#changed[@]} -eq 0 ] || echo "of another version than in debian_packages.tsv (--accept-new takes them): ${changed[*]}"
[ $((${#missing[@]} + ${#changed[@]})) -eq 0 ] || exit 1
