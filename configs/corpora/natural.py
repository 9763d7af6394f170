"""Natural languages from Debian's packages: manuals, help, games and Bibles in English, German, French, Spanish, Russian, Chinese
and Japanese.

The packages that launch/fetch_natural_corpus.sh fetched, of the languages that the argument names, the primary one first (all
seven: en,de,fr,es,ru,zh,ja), each with its licence. The texts are translations of each other, and a text that is held out is
held out in all languages. Names in the manifest are those of the works, the same in all languages: libreoffice-help, manpages …

Cost: 128 MB to fetch for en and de, 180 MB for all seven; then minutes of two CPU cores and less than 3 GiB of memory.
Expected, in MB after the cleaning: en 18, de 12, fr 11, es 10, ru 11, zh 4, ja 12; with what --all fetches, more.
  bash launch/fetch_natural_corpus.sh runs/natural en de
  python -m babel_jax corpus build --manifest=configs/corpora/natural.py:en,de --out=runs/corpora/natural
or packages that lie elsewhere than in runs/natural:
  python -m babel_jax corpus build --manifest=configs/corpora/natural.py:my/packages,en,ru --out=runs/corpora/en_ru
or with facts, 80 places with their capitals (see configs/natural.py, whose study asks them; en, de, fr, es and ru): 48 are
stated in the primary's text alone, and a fact that another language states already is not one of them:
  python -m babel_jax corpus build --manifest=configs/corpora/natural.py:en,de,facts --out=runs/corpora/facts
or, so that no training text of one language has its translation in that of another:
  python -m babel_jax corpus build --manifest=configs/corpora/natural.py:en,de,disjoint --out=runs/corpora/disjoint
Its statistics, in documents and in paragraphs:
  python -m babel_jax corpus stats runs/corpora/natural
"""

import fnmatch
import glob
from pathlib import Path

PACKAGES = Path(__file__).parents[2] / "launch" / "natural_packages.tsv"
FACTS = "facts"  # of an argument
# Language -> how packages call it: {posix} of gettext and Mallard, {code} and {man} of folders, {region} of books, {help} of
# LibreOffice, {catalogue} of the translations that hold it (of English, the originals of a translation).
CALLED = {
    "en": dict(posix="C", code="en", man="", region="en-US", help="en-US", catalogue="fr"),
    "de": dict(posix="de", code="de", man="/de", region="de-DE", help="de", catalogue="de"),
    "fr": dict(posix="fr", code="fr", man="/fr", region="fr-FR", help="fr", catalogue="fr"),
    "es": dict(posix="es", code="es", man="/es", region="es-ES", help="es", catalogue="es"),
    "ru": dict(posix="ru", code="ru", man="/ru", region="ru-RU", help="ru", catalogue="ru"),
    "zh": dict(posix="zh_CN", code="zh_CN", man="/zh_CN", region="zh-CN", help="zh-CN", catalogue="zh_CN"),
    "ja": dict(posix="ja", code="ja", man="/ja", region="ja-JP", help="ja", catalogue="ja"),
}
# (work, format, its packages, where in them). Of a paragraph that stands in several works the first one is kept.
WORKS = (
    ("libreoffice-help", "html", "libreoffice-help-*", "usr/share/libreoffice/help/{help}/text"),
    ("debian-handbook", "html", "debian-handbook", "usr/share/doc/debian-handbook/html/{region}"),
    ("debian-reference", "html", "debian-reference-*", "usr/share/debian-reference"),
    ("installation-guide", "html", "installation-guide-amd64", "usr/share/doc/installation-guide-amd64/{code}"),
    ("gnome-user-docs", "mallard", "gnome-user-docs", "usr/share/help/{posix}"),
    ("manpages", "man", "manpages*", "usr/share/man{man}"),
    ("freeciv", "mo", "freeciv-data", "usr/share/locale/{catalogue}/LC_MESSAGES/*.mo"),
    ("bible", "sword", "sword-text-*", "usr/share/sword/modules/texts/ztext/*"),
    # of --all
    ("gimp-help", "html", "gimp-help-*", "usr/share/gimp/2.0/help/{code}"),
    ("aptitude-doc", "html", "aptitude-doc-*", "usr/share/doc/aptitude/html/{code}"),
    ("debian-faq", "html", "debian-faq*", "usr/share/doc/debian/FAQ{man}"),
    ("debian-edu-doc", "html", "debian-edu-doc-*", "usr/share/doc/debian-edu-doc-*"),
    ("developers-reference", "html", "developers-reference*", "usr/share/developers-reference{man}"),
    ("maint-guide", "html", "maint-guide*", "usr/share/doc/maint-guide*/html"),
    ("lilypond-doc", "html", "lilypond-doc-html*", "usr/share/doc/lilypond/html/Documentation"),
    ("gnucash-guide", "html", "gnucash-docs", "usr/share/doc/gnucash-docs/gnucash-guide-{code}"),
    ("git-doc", "html", "git-doc", "usr/share/doc/git-doc"),
    ("postgresql-doc", "html", "postgresql-doc-*", "usr/share/doc/postgresql-doc-*/html"),
    ("python-doc", "html", "python3*-doc", "usr/share/doc/python3*/html"),
    ("linux-doc", "html", "linux-doc-*", "usr/share/doc/linux-doc-*/html/translations{man}"),
    ("wesnoth", "mo", "wesnoth-*", "usr/share/games/wesnoth/*/locale/{catalogue}/LC_MESSAGES/*.mo"),
    ("package-descriptions", "apt_descriptions", "package-descriptions", ""),
)
# (file of a package, language of the headwords, of the translations). German is a bridge to Russian, whose own are small.
DICTIONARIES = (
    ("trans-de-en/usr/share/trans/de-en", "de", "en"),
    ("dict-freedict-eng-fra/usr/share/dictd/freedict-eng-fra.index", "en", "fr"),
    ("dict-freedict-fra-eng/usr/share/dictd/freedict-fra-eng.index", "fr", "en"),
    ("dict-freedict-eng-spa/usr/share/dictd/freedict-eng-spa.index", "en", "es"),
    ("dict-freedict-spa-eng/usr/share/dictd/freedict-spa-eng.index", "es", "en"),
    ("dict-freedict-eng-rus/usr/share/dictd/freedict-eng-rus.index", "en", "ru"),
    ("dict-freedict-deu-rus/usr/share/dictd/freedict-deu-rus.index", "de", "ru"),
    ("dict-freedict-deu-fra/usr/share/dictd/freedict-deu-fra.index", "de", "fr"),
    ("dict-freedict-deu-spa/usr/share/dictd/freedict-deu-spa.index", "de", "es"),
)
BRIDGE = "de"
ARMS = ("parallel", "disjoint")
NOUNS = {"en": "wordnet-base/usr/share/wordnet/index.noun"}  # which the small dictionaries do not mark


def get_config(argument: str = "") -> dict:
    """The packages that were fetched, each with its licence; those of the strict licences as long as none was.

    `argument`: languages, the arm if it is not parallel, `facts`, and the folder of the packages if it is not runs/natural, with
    commas between them.
    """
    words = [word for word in argument.split(",") if word and word != FACTS]
    chosen = [word for word in words if word in CALLED] or list(CALLED)
    arm = "disjoint" if "disjoint" in words else "parallel"
    folder, *more = [word for word in words if word not in (*CALLED, *ARMS)] or ["runs/natural"]
    if more:
        raise ValueError(f"'{folder}' and '{more[0]}' are no languages of it, and only one can be the folder")
    made = dict(
        vocab_size=8192,
        max_length=256,
        languages={language: _language(language, Path(folder)) for language in chosen},
        arm=arm,
        dictionaries=_dictionaries(chosen, Path(folder) / "dictionaries"),
        clean=dict(licence=False),  # the table names what is fetched
    )
    if FACTS in argument.split(","):
        # As often as a run needs that sees a third of the text.
        places = str(Path(folder) / "facts" / "kgeography-data")
        made["facts"] = dict(kind="kgeography", path=places, number=80, shared=0.4, times=1500)
        made["prompts_per_pair"] = 8  # which its study reads at every checkpoint
    return made


def _language(language: str, folder: Path) -> dict:
    nouns = folder / "dictionaries" / NOUNS.get(language, "-")
    return dict(sources=_sources(language, folder)) | (dict(nouns=str(nouns)) if nouns.is_file() else {})


def _dictionaries(chosen: list[str], folder: Path) -> list[dict]:
    """Those that were fetched; without any there are no pairs of words, but all else."""
    return [
        dict(path=str(folder / file), headwords=headwords, translations=translations)
        for file, headwords, translations in DICTIONARIES
        if {headwords, translations} <= {*chosen, BRIDGE} and (folder / file).is_file()
    ]


def _sources(language: str, folder: Path) -> list[dict]:
    rows = [line.split("\t") for line in PACKAGES.read_text().splitlines() if not line.startswith("#")]
    rows = [row for row in rows if language in row[1].split(",")]
    strict, there = [], []
    for work, form, packages, where in WORKS:
        held = [row for row in rows if fnmatch.fnmatch(row[2], packages)]
        place = "several" if any("," in row[1] for row in held) else language
        path = str(folder / place / packages / where.format(**CALLED[language]))
        form = "mo_english" if (form, language) == ("mo", "en") else form
        source = dict(name=work, format=form, path=path)
        if held:  # the descriptions of packages have no licence of their own
            source["licence"] = sorted({row[3] for row in held})
        if any(row[0] == "strict" for row in held):
            strict.append(source)
        if glob.glob(path):
            there.append(source)
    return there or strict
