"""What a build writes down, as records: its plan, what its tasks say, and what a corpus says of itself. In JSON they are tables
of the same names."""

import dataclasses

from babel_jax.corpus.manifest import Manifest

REBUILD = "copy the corpus again, or build it again (`corpus verify` names all that has changed)"
SPLITS = ("train", "validation")


@dataclasses.dataclass(frozen=True)
class Amount:
    files: int
    bytes: int

    def __add__(self, other: "Amount") -> "Amount":
        return Amount(self.files + other.files, self.bytes + other.bytes)

    def __sub__(self, other: "Amount") -> "Amount":
        return Amount(self.files - other.files, self.bytes - other.bytes)


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What decides what is in a corpus. Where the sources stand does not. JSON, to be compared."""

    settings: dict
    inputs: dict

    @property
    def benchmarks(self) -> str | bool:
        """The hash of the texts that no document may contain; False: there are none."""
        return self.settings["clean"]["decontaminate"]


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a build is to do. pieces: language -> the names of its pieces, in order."""

    wanted: Wanted
    manifest: Manifest
    pieces: dict[str, tuple[str, ...]]
    version: str = ""

    @property
    def row_length(self) -> int:
        """Tokens of a row, T + 1."""
        return self.manifest.max_length + 1

    def record(self) -> dict:
        """As it stands in plan.json, where the order of keys is compared."""
        return {"version": self.version, "wanted": vars(self.wanted)} | {
            "manifest": self.manifest.record(),
            "pieces": self.pieces,
        }


# --- what the tasks of a phase say to the next phases -----------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Cleaned:
    """Of a piece: the number of its source, a hash of all that was read, and what became of it. amount: files, bytes.

    paragraphs: of running text, "found" and each of `prose.REASONS` -> how many paragraphs.
    """

    source: int
    sha256: str
    counts: dict[str, Amount]
    licences: dict[str, int]
    amount: tuple[int, ...] = (0, 0)
    paragraphs: dict[str, Amount] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Unique:
    """Of a language of running text: the paragraphs that are copies of earlier ones, and those that are not."""

    copy: Amount
    kept: Amount


@dataclasses.dataclass(frozen=True)
class Divided:
    """How many projects are trained on, and which ones are held out."""

    train: int
    validation: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Selected:
    """Of a language: what the rules dropped that look at more than one document, and what was redacted in the rest.

    projects: None for a natural language, whose splits the phase `hold_out` makes.
    """

    counts: dict[str, Amount]
    redacted_bytes: int
    redactions: dict[str, int]
    contaminated: dict[str, int]
    projects: Divided | None
    amount: tuple[int, ...] = (0, 0)


@dataclasses.dataclass(frozen=True)
class Aligned:
    """Of two natural languages: how many translations there are, the pairs of words that they confirm, and what became of those
    that dictionaries have: "dictionaries" (all of them), then `word_pairs.REASONS`."""

    translations: int
    pairs: tuple[tuple[str, ...], ...]
    words: dict[str, int]


@dataclasses.dataclass(frozen=True)
class HeldOutLanguage:
    """kept, elsewhere: documents that are in a split, and those that another language is trained on in the disjoint arm."""

    projects: Divided
    kept: Amount
    elsewhere: Amount


@dataclasses.dataclass(frozen=True)
class HeldOut:
    """Of all natural languages. translations: two languages -> split -> how many."""

    languages: dict[str, HeldOutLanguage]
    translations: dict[str, dict[str, int]]


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    sha: str
    vocab_size: int
    document_end: int | None = None


@dataclasses.dataclass(frozen=True)
class Counted:
    documents: int
    bytes: int
    tokens: int


@dataclasses.dataclass(frozen=True)
class Tokenised:
    """Of a piece, by split."""

    train: Counted
    validation: Counted
    amount: tuple[int, ...] = (0, 0)

    def of(self, split: str) -> Counted:
        return getattr(self, split)


@dataclasses.dataclass(frozen=True)
class Written:
    """files: path in the corpus -> sha256."""

    files: dict[str, str]


@dataclasses.dataclass(frozen=True)
class CallSites:
    """pairs: as `here/there`. prompts: language -> how many of each pair. messages: which pairs were rejected, and why."""

    pairs: tuple[str, ...]
    prompts: dict[str, tuple[int, ...]]
    messages: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Mined(Written):
    summary: CallSites


# --- what a corpus says of itself -------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class SourceStats:
    name: str
    documents: int
    bytes: int
    sha256: str
    licences: dict[str, int]


@dataclasses.dataclass(frozen=True)
class SplitStats:
    documents: int
    bytes: int
    tokens: int
    rows: int
    bytes_per_token: float


@dataclasses.dataclass(frozen=True)
class LanguageStats:
    """cleaning: "found", every reason to drop a document, "kept" and "redacted" -> how much.

    paragraphs: of running text, "found", every reason to drop a paragraph and "kept"; empty for code.
    """

    sources: tuple[SourceStats, ...]
    cleaning: dict[str, Amount]
    redactions: dict[str, int]
    contaminated: dict[str, int]
    projects: Divided
    train: SplitStats
    validation: SplitStats
    paragraphs: dict[str, Amount] = dataclasses.field(default_factory=dict)

    def of(self, split: str) -> SplitStats:
        return getattr(self, split)


@dataclasses.dataclass(frozen=True)
class Translations:
    """Of two natural languages. translations: split -> how many. words: as of `Aligned`."""

    translations: dict[str, int]
    words: dict[str, int]


@dataclasses.dataclass(frozen=True)
class Statistics:
    """What was read, dropped and kept, and tokens and rows, by language; call sites by pair of languages (stats.json).

    parallel: by pair of natural languages; a corpus without them says nothing of it.
    """

    languages: dict[str, LanguageStats]
    call_sites: dict[str, CallSites]
    parallel: dict[str, Translations] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Contents:
    """A corpus's manifest.json. files: path -> sha256; content: a hash of all the rest."""

    settings: dict
    languages: tuple[str, ...]
    tokenizer: Vocabulary
    files: dict[str, str]
    content: str

    @property
    def row_length(self) -> int:
        return self.settings["max_length"] + 1

    def definition(self, language: str) -> dict | None:
        """What the file of the user's own language held; None for a language of the package."""
        return self.settings.get("languages", {}).get(language, {}).get("definition")
