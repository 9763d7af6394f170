# shellcheck shell=bash disable=SC2034,SC2119,SC2120,SC2154
# Sourced by fetch_debian_corpus.sh and fetch_natural_corpus.sh: Debian's packages, fetched and unpacked without root.
#
# apt works in a folder of its own; nothing is installed and no package script runs. A table pins what is fetched, beside the
# script: set, language, package (src: is a source package), licence, bytes, sha256, file. Each script sets, before it calls what
# is here: table, out, accept_new; and says what it fetches by three functions of its own:
#   rows GROUP          the table's rows of a group; a package of it lies in OUT/GROUP/PACKAGE
#   column              what OUT/packages.tsv calls the first column, which holds the group
#   strip FOLDER        takes out of an unpacked package what is not wanted

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=launch/common.sh
. "$here/common.sh"
[ "${BASH_SOURCE[0]}" != "$0" ] || answer_help "$@"

packages() { rows "$1" | cut -f 3 | uniq; }
licence() { rows "$1" | awk -F '\t' -v package="$2" '$3 == package { print $4; exit }'; }
pinned() { rows "$1" | awk -F '\t' -v package="$2" '$3 == package { print $6 "  " $7 }'; }

need_debian() { # what to do elsewhere
  local need
  keyring=${KEYRING:-/usr/share/keyrings/debian-archive-keyring.gpg}
  for need in apt-get dpkg-deb tar sha256sum "$keyring"; do
    if ! command -v "$need" > /dev/null && [ ! -r "$need" ]; then
      fail "$need is missing: this script needs Debian or Ubuntu with debian-archive-keyring; elsewhere give" "$1"
    fi
  done
}

# Makes the folder that apt works in, `work`, in OUT (or, to pin, elsewhere), and fetches the index; further arguments go to apt.
open_archive() {
  if [ -n "${pin:-}" ]; then
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
  if ! apt-get -q "$@" update >&2; then
    fail "Debian's index could not be fetched (see above); mend the network and run again."
  fi
}

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

print_pins() { # the table with what Debian has today
  sed '/^[^#]/,$d' "$table"
  grep -v '^#' "$table" | cut -f 1-4 | uniq | while IFS=$'\t' read -r set language package licence; do
    if files=$(indexed "$package") && [ -n "$files" ]; then
      while read -r file; do printf '%s\t%s\t%s\t%s\t%s\n' "$set" "$language" "$package" "$licence" "$file"; done <<< "$files"
    else
      echo "error: Debian has no package $package" >&2
    fi
  done
}

list() { # group package licence, and lines of "sha256  file" from the standard input: writes it down in OUT/packages.tsv
  {
    printf '%s\tpackage\tlicence\tsha256\tfile\n' "$column"
    [ ! -e "$out/packages.tsv" ] || awk -F '\t' -v group="$1" -v package="$2" \
      'NR > 1 && !($1 == group && $2 == package)' "$out/packages.tsv"
    while read -r sum file; do printf '%s\t%s\t%s\t%s\t%s\n' "$1" "$2" "$3" "$sum" "$file"; done
  } > "$work/packages.tsv" && mv "$work/packages.tsv" "$out/packages.tsv"
}

fetch() { # group package: leaves OUT/group/package; or nothing, with status 1 (missing) or 3 (not what is pinned)
  local group=$1 package=$2 name=${2#src:} index file
  mkdir -p "$work/got" "$work/tree"
  rm -rf "${work:?}/got/"* "${work:?}/tree/"*
  cd "$work/got" || return 1
  index=$(indexed "$package" | awk -F '\t' '{ print $2 "  " $3 }') && [ -n "$index" ] || return 1
  [ -n "$accept_new" ] || [ "$index" = "$(pinned "$group" "$package")" ] || return 3
  get "$package" || return 1
  sha256sum --check --quiet <<< "$index" || return 1
  while read -r _ file; do
    case $file in
      *.deb) dpkg-deb -x "$file" "$work/tree" ;;
      *) tar -xf "$file" --no-same-owner -C "$work/tree" ;;
    esac || return 1
  done <<< "$index"
  strip "$work/tree" || return 1
  # The list first: a package that is there is in it.
  list "$group" "$name" "$(licence "$group" "$package")" <<< "$index" || return 1
  mkdir -p "$out/$group" && mv "$work/tree" "$out/$group/$name"
}

# Fetches all packages of the groups that are not there, and says of each what became of it.
missing=() changed=()
fetch_groups() {
  local group package status
  for group in "$@"; do
    for package in $(packages "$group"); do
      if [ -d "$out/$group/${package#src:}" ]; then
        echo "$group: ${package#src:} is there"
        continue
      fi
      status=0
      (fetch "$group" "$package") || status=$?
      case $status in
        0) echo "$group: ${package#src:} fetched ($(licence "$group" "$package"))" ;;
        3)
          echo "$group: ${package#src:} is not what is pinned, left out" >&2
          changed+=("$group/${package#src:}")
          ;;
        *)
          echo "$group: ${package#src:} could not be fetched, skipped" >&2
          missing+=("$group/${package#src:}")
          ;;
      esac
    done
  done
}

# The last lines: what lies where, and what does not. The status is 1 if anything is missing.
say_what_is_there() {
  local group
  for group in "$@"; do
    if [ -d "$out/$group" ]; then echo "$group: $(du -sh "$out/$group" | cut -f1) in $out/$group"; fi
  done
  [ ${#missing[@]} -eq 0 ] || echo "missing: ${missing[*]}"
  [ ${#changed[@]} -eq 0 ] ||
    echo "of another version than in $(basename "$table") (--accept-new takes them): ${changed[*]}"
  [ $((${#missing[@]} + ${#changed[@]})) -eq 0 ]
}
