#!/usr/bin/env bash
# Fetches texts in natural languages from Debian 12 packages as a corpus: OUT/<language>/<package>/…, for configs/corpora/natural.py.
#
#   launch/fetch_natural_corpus.sh [--all] [--accept-new] [--dry-run] OUT LANGUAGE …           (of en de fr es ru zh ja)
#   launch/fetch_natural_corpus.sh --pin                      (prints the table of packages with what Debian has today)
#
# Manuals, help, games and Bibles, mostly translations of each other. Packages that hold several of the languages lie in
# OUT/several, word lists of languages that are asked for in OUT/dictionaries, places and their capitals in OUT/facts.
# natural_packages.tsv, beside this script, says for each package its languages, its licence (that of most of its files: the
# exact ones are unpacked with it), size and SHA-256. --all adds larger and less even ones, the novels of a game and the
# descriptions of all of Debian's packages, which have no licence of their own, among them. --dry-run shows which.
#
# Needs apt-get and dpkg-deb, not root: apt's state lives in a folder of its own, nothing is installed, no package script
# runs. apt checks every file against the signed index, this script against the table (but for the descriptions, which Debian
# changes often). A package of which Debian has another version than the table is left out; --accept-new takes it. What is
# missing is skipped; the status is then 1 and the last lines name it. What is there already is not fetched again. Images,
# sounds and PDFs are not kept. OUT/packages.tsv lists what was fetched.
# To fetch: 128 MB for en and de, 180 MB for all seven languages; with --all 750 MB and 1,040 MB.
set -euo pipefail

# shellcheck source=launch/debian_archive.sh
. "$(dirname "$0")/debian_archive.sh"
answer_help "$@"
table=$here/natural_packages.tsv # set, languages, package, licence, bytes, sha256, file
all='' accept_new='' dry_run='' pin=''
while [[ ${1:-} == -* ]]; do
  case $1 in
    --all) all=1 ;;
    --accept-new) accept_new=1 ;;
    --dry-run) dry_run=1 ;;
    --pin) pin=1 all=1 ;;
    *) fail "unknown flag '$1'; known: --all --accept-new --dry-run --pin." ;;
  esac
  shift
done
if [ -z "$pin" ] && [ $# -lt 2 ]; then
  fail "say where and what: $(basename "$0") [--all] [--accept-new] [--dry-run] OUT LANGUAGE …; --help explains."
fi
out=${1:-}
[ $# -eq 0 ] || shift
known=$(awk -F '\t' '/^(strict|all)\t/ && $2 !~ /,/ && !seen[$2]++ { printf "%s ", $2 }' "$table")
for language in "$@"; do
  case " $known" in
    *" $language "*) ;;
    *) fail "unknown language '$language'; known: $known" ;;
  esac
done
asked=$*

rows() { # of a group: a language, several, dictionaries (of languages that are all asked for), facts
  awk -F '\t' -v all="$all" -v group="$1" -v asked="$asked" '
    BEGIN { split(asked, words, " "); for (i in words) wanted[words[i]] = 1 }
    !/^#/ && ($1 == "strict" || all) {
      number = split($2, languages, ","); count = 0
      is = $3 ~ /^(dict|trans|wordnet)-/ ? "dictionaries" : $3 ~ /^kgeography-/ ? "facts" : number > 1 ? "several" : $2
      # The dictionaries of Russian are small but for the German one: from English they are reached by way of German.
      for (i = 1; i <= number; i++)
        count += languages[i] in wanted || (is == "dictionaries" && languages[i] == "de" && "ru" in wanted)
      if (is == group && (is == "dictionaries" ? count == number : count)) print
    }' "$table"
}
column=folder
strip() { # FOLDER
  find "$1" -type f -regextype posix-extended \
    -iregex '.*\.(png|jpe?g|gif|svgz?|ico|xpm|webp|ogg|wav|mp[34]|ttf|woff2?|eot|pdf|epub|css|js)' -delete
  find "$1" -type d -empty -delete
}
groups=("$@" several dictionaries facts)

if [ -n "$dry_run" ]; then
  for group in "${groups[@]}"; do rows "$group" | sed "s/^[^\t]*/$group/"; done | awk -F '\t' -v out="$out" '
    { printf "%-12s %-30s %8.1f MB  %s\n", $1, $3, $5 / 1e6, $4; total += $5 }
    END { printf "%.0f MB to fetch to %s\n", total / 1e6, out }'
  [ -z "$all" ] || echo "and the descriptions of Debian's packages, 1 to 10 MB a language (without a licence of their own)"
  exit 0
fi

need_debian "\`corpus build\` any folders of HTML pages, manual pages or plain texts"
locales=${asked// /,}
locales=${locales/zh/zh_CN}
if [ -n "$all" ] && [ -z "$pin" ]; then
  open_archive -o "Acquire::Languages=$locales" -o Acquire::GzipIndexes=false # images of Docker keep the lists packed
else
  open_archive
fi
if [ -n "$pin" ]; then
  print_pins
  exit 0
fi

describe() { # language: keeps apt's list of what packages are, in that language
  local from to=$out/$1/package-descriptions
  if [ -d "$to" ]; then
    echo "$1: package-descriptions is there"
    return
  fi
  from=$(find "$work/lists" -name "*_i18n_Translation-${1/zh/zh*CN}") # the file says zh%5fCN
  if [ ! -s "$from" ]; then
    echo "$1: package-descriptions could not be fetched, skipped" >&2
    missing+=("$1/package-descriptions")
    return
  fi
  mkdir -p "$work/tree" "$out/$1" && rm -rf "${work:?}/tree/"*
  cp "$from" "$work/tree/Translation-$1"
  (cd "$work/tree" && sha256sum "Translation-$1") | list "$1" package-descriptions "without one of their own"
  mv "$work/tree" "$to"
  echo "$1: package-descriptions fetched (without a licence of their own)"
}

fetch_groups "${groups[@]}"
if [ -n "$all" ]; then
  for language in "$@"; do describe "$language"; done
fi
say_what_is_there "${groups[@]}" || exit 1
