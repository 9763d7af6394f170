"""What the runs of a study are called: the only place that puts a name together or takes one apart.

| name | run |
|---|---|
| `primary_climb`, `primary_only`, `multilingual`, … | a role alone |
| `continual`, `continual_php` | a role in a new language; with several new languages the name says which |
| `predictor_primary`, `predictor_php` | as `primary_only` and `continual`, but trained as the mixes are: what predicts them |
| `replay_0.2500`, `replay_0.2500_php` | a continual run with that share of the primary |
| `mix_0.3500` | a from-scratch mix with that share of the new languages |
| `mix_algorithm1_loss`, `mix_unimax_equal_epochs`, `mix_swarm_03` | a from-scratch mix of a candidate, see candidates.py |
| `mix` | a from-scratch mix of a mixture file |
"""

import dataclasses
import re
from collections.abc import Sequence

PER_LANGUAGE = (
    "continual",
    "control",
    "new_only",
    "predictor",
    "replay",
)  # with several new languages there is one of each
OF_PRIMARY = ("primary_climb", "primary_only", "predictor_primary")
ROLES = (*OF_PRIMARY, *PER_LANGUAGE, "multilingual", "multilingual_optimized", "mix")
EQUAL_EPOCHS = "_equal_epochs"
SWARM = "swarm_"
ALGORITHM1 = "algorithm1_"
SCHEDULE = "schedule"
PEAK_TOKENS = "peak_tokens"
ADO = "ado"
_SHARE = re.compile(r"[01](\.[0-9]{1,4})?")  # names have four digits


@dataclasses.dataclass(frozen=True)
class RunName:
    """A run's name in parts; `str` puts them together, `parse` takes them apart.

    Attributes:
      role: see `ROLES`; a name that this grammar does not know (an imported model's, a user's) is a role of its own.
      language: the new language; "" where the name says none: a study of one new language, or a run of all of them.
      share: of the new languages (a mix), or of the primary (replay), to four digits; None where the name has none.
      candidate: by which a mix was made, such as "algorithm1_loss" or "swarm_03"; "" for a plain share or a mixture file.
      equal_epochs: whether a candidate is trained until it has seen the primary as often as the original mix has.
    """

    role: str
    language: str = ""
    share: float | None = None
    candidate: str = ""
    equal_epochs: bool = False

    def __str__(self) -> str:
        share = "" if self.share is None else f"{self.share:.4f}"
        candidate = self.candidate + EQUAL_EPOCHS * self.equal_epochs
        return "_".join(part for part in (self.role, share, candidate, self.language) if part)

    @property
    def mix(self) -> str:
        """A mix's name among the mixes, by which its mixture file and summary.json call it: all but the role."""
        return str(self).removeprefix("mix").removeprefix("_")

    @property
    def is_swarm(self) -> bool:
        """Whether it is one of the random mixes that a mixing law is fitted to; each is trained with one seed."""
        return self.role == "mix" and self.candidate.startswith(SWARM)

    @property
    def is_online(self) -> bool:
        """Whether it is the mix that chooses its weights while it trains."""
        return self.role == "mix" and self.mix == ADO

    @property
    def is_share(self) -> bool:
        """Whether it is a mix of nothing but a share, the same to its end."""
        return self.role == "mix" and self.share is not None

    @property
    def source(self) -> str:
        """Of a mix that Algorithm 1 asks for: which share it was read off, such as "loss"; "" of all others."""
        return self.candidate.removeprefix(ALGORITHM1) if self.candidate.startswith(ALGORITHM1) else ""

    @property
    def is_optimised(self) -> bool:
        """Whether it is what the optimiser asks for: by tokens at the peak, by Algorithm 1, or a schedule."""
        return bool(self.source) or self.candidate in (PEAK_TOKENS, SCHEDULE)

    def in_language(self, language: str) -> "RunName":
        """The same run in one of several new languages; "": as in a study of one."""
        return dataclasses.replace(self, language=language)


def parse(name: str, languages: Sequence[str] = ()) -> RunName:
    """The parts of a run's name, whichever it is.

    `languages`: the new languages of its study; where there are several, names end in one of them.
    """
    if name in OF_PRIMARY:
        return RunName(name)
    role = next((role for role in ("mix", *PER_LANGUAGE) if name == role or name.startswith(f"{role}_")), None)
    if role is None:
        return RunName(name)
    rest, language = name[len(role) + 1 :], ""
    if role != "mix" and len(languages) > 1:
        fitting = [one for one in languages if rest == one or rest.endswith(f"_{one}")]
        language = max(fitting, key=len, default="")
        rest = rest.removesuffix(language).removesuffix("_")
    if _SHARE.fullmatch(rest) and float(rest) <= 1:
        return RunName(role, language, float(rest))
    candidate = rest.removesuffix(EQUAL_EPOCHS)
    return RunName(role, language, None, candidate, candidate != rest)


def mix(name: str) -> RunName:
    """The run of a mix that is called so among the mixes: a share, or a candidate."""
    return parse(f"mix_{name}")


def mix_of_share(share: float) -> RunName:
    """The from-scratch mix in which the new languages have this share."""
    return RunName("mix", share=round(share, 4))


def swarm(number: int) -> RunName:
    """The random mix of this number, from 0."""
    return RunName("mix", candidate=f"{SWARM}{number:02d}")
