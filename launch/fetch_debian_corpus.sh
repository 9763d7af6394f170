#!/usr/bin/env bash
# Fetches source code of Debian 12 packages as a corpus: OUT/<language>/<package>/…, for `python -m babel_jax corpus build`.
#
#   launch/fetch_debian_corpus.sh [--dry-run] OUT [LANGUAGE …]      (default: python php; also csharp go cpp)
#
# Needs apt-get and dpkg-deb, no root: apt's state lives in a folder of its own, nothing is installed, no package script
# runs. apt checks every file against the signed index; OUT/packages.tsv records the version and SHA-256 of what came.
# All packages are permissively licensed (PSF, BSD, MIT, Apache-2.0, BSL-1.0); their licence files are unpacked with them.
# A package that is missing is reported and skipped; one that is already there is not fetched again.
# python and php: 16 MB to fetch, 175 MB unpacked, 10 seconds at 30 MB/s.
set -euo pipefail

packages() { # of a language; src: is the upstream tarball of a source package
  case $1 in
    python) echo libpython3.11-minimal libpython3.11-stdlib libpython3.11-testsuite python3-sympy ;;
    php) echo src:symfony src:php-laravel-framework ;;
    csharp) echo src:newtonsoft-json src:nunit src:dnlib src:mono ;;
    go) echo golang-1.19-src ;;
    cpp) echo libboost1.81-dev src:abseil src:z3 ;;
    *)
      echo "error: unknown language '$1'; known: python php csharp go cpp" >&2
      exit 2
      ;;
  esac
}

dry_run=
if [ "${1:-}" = --dry-run ]; then
  dry_run=1
  shift
fi
if [ $# -eq 0 ] || [ "${1#-}" != "$1" ]; then
  echo "usage: $0 [--dry-run] OUT [LANGUAGE …]" >&2
  exit 2
fi
out=$1
shift
[ $# -gt 0 ] || set -- python php
for language in "$@"; do packages "$language" > /dev/null; done
if [ -n "$dry_run" ]; then
  for language in "$@"; do
    for package in $(packages "$language"); do echo "would fetch $package to $out/$language/${package#src:}"; done
  done
  exit 0
fi

keyring=/usr/share/keyrings/debian-archive-keyring.gpg
for need in apt-get dpkg-deb tar sha256sum "$keyring"; do
  if ! command -v "$need" > /dev/null && [ ! -r "$need" ]; then
    echo "error: $need is missing: this script needs Debian or Ubuntu with debian-archive-keyring; elsewhere give" \
      "\`corpus build\` any folders or tarballs of source files" >&2
    exit 2
  fi
done

mkdir -p "$out"
out=$(cd "$out" && pwd)
work=$(mktemp -d "$out/.fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/sources.d"
cat > "$work/sources.d/debian.sources" << END
Types: deb deb-src
URIs: http://deb.debian.org/debian
Suites: bookworm
Components: main
Signed-By: $keyring
END
cat > "$work/apt.conf" << END
Dir::State::Lists "$work/lists";
Dir::Cache "$work/cache";
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "$work/sources.d";
APT::Sandbox::User "$(id -un)";
Acquire::Languages "none";
Acquire::Retries "3";
END
export APT_CONFIG=$work/apt.conf
apt-get -q update

fetch() { # language package: leaves OUT/language/package, or fails and leaves nothing
  local language=$1 package=$2 name=${2#src:} files file
  mkdir -p "$work/got" "$work/tree" "$out/$language"
  rm -rf "${work:?}/got/"* "${work:?}/tree/"*
  cd "$work/got"
  if [ "$package" = "$name" ]; then
    apt-get -q download "$name" || return 1
    files=(*.deb)
    dpkg-deb -x "${files[0]}" "$work/tree" || return 1
  else
    # Only the upstream tarballs: one missing packaging file must not fail the whole source package.
    apt-get -q source --download-only --tar-only "$name" || return 1
    files=(*.orig*.tar.*[!c])
    for file in "${files[@]}"; do tar -xf "$file" --no-same-owner -C "$work/tree" || return 1; done
  fi
  mv "$work/tree" "$out/$language/$name" || return 1
  for file in "${files[@]}"; do
    printf '%s\t%s\t%s\t%s\n' "$language" "$name" "$file" "$(sha256sum "$file" | cut -d' ' -f1)" >> "$out/packages.tsv"
  done
}

missing=()
for language in "$@"; do
  for package in $(packages "$language"); do
    if [ -d "$out/$language/${package#src:}" ]; then
      echo "$language: ${package#src:} is there"
    elif (fetch "$language" "$package"); then
      echo "$language: ${package#src:} fetched"
    else
      echo "$language: ${package#src:} could not be fetched, skipped" >&2
      missing+=("$package")
    fi
  done
done
for language in "$@"; do
  if [ -d "$out/$language" ]; then echo "$language: $(du -sh "$out/$language" | cut -f1) in $out/$language"; fi
done
[ ${#missing[@]} -eq 0 ] || echo "missing: ${missing[*]}"
