"""How completions are asked for and written: as text by a model's own tokenizer, or as the tokens of the embedded world."""

import dataclasses
import zlib
from typing import ClassVar

import numpy as np

from babel_jax.common.errors import UserError, unknown_name
from babel_jax.common.material import Material
from babel_jax.corpus.tokenizer import Tokenizer
from babel_jax.measuring import programs, sampling
from babel_jax.measuring.reading import subject_of
from babel_jax.model import placement
from babel_jax.probes.subject import Subject
from babel_jax.suites import judge, likelihood, world_problems
from babel_jax.suites.problems import Problem, check_variant, prompt_text
from babel_jax.suites.stops import Stopper, cut
from babel_jax.training import preemption

KEPT_AT_ONCE = 256  # problems whose completions are written to the file together: what a crash can cost


@dataclasses.dataclass(frozen=True)
class Options(sampling.Sampling):
    """How problems are posed, how completions are drawn and judged; all of it stands in `about.json`.

    Attributes:
      variant: of the prompt, see `problems.VARIANTS`.
      k: numbers of tries that pass@k is reported for.
      compat: None, or the peer whose rule judges, see judge.py.
      likelihood: also the bits per byte of the reference solutions, for models too small to pass; with `samples` 0 only them.
    """

    variant: str = "raw"
    k: tuple[int, ...] = (1,)
    compat: str | None = None
    likelihood: bool = False

    def __post_init__(self):
        """What cannot be done is refused before hours have gone into writing."""
        super().__post_init__()
        if not self.samples and not self.likelihood:
            raise UserError("with --samples=0 nothing is left to do; add --likelihood, or write samples.")
        if min(self.k, default=0) < 1:
            raise UserError("--k names no number of tries; give numbers from 1 on, such as --k=1,10.")
        if self.samples and max(self.k) > self.samples:
            raise UserError(f"pass@{max(self.k)} needs {max(self.k)} samples a problem; add --samples={max(self.k)}.")
        if self.compat not in judge.RULES:
            raise unknown_name("compat rule", self.compat, judge.COMPAT)
        check_variant(self.variant)


@dataclasses.dataclass(frozen=True)
class Completion:
    """A completion of a problem, written here or elsewhere.

    Attributes:
      suite, language: of the problem; None where `task_id` alone names it.
      sample: which of the problem's, from 0; None: its order counts.
      ended: why writing it ended: "stop", "block", "length", "no_room", "document_end"; "given": it was made elsewhere.
      tokens: how many were written; None where that is not known.
    """

    task_id: str
    completion: str
    suite: str | None = None
    language: str | None = None
    sample: int | None = None
    ended: str = "given"
    tokens: int | None = None

    NAMES: ClassVar = ("suite", "language", "task_id", "sample", "completion", "ended", "tokens")

    def record(self) -> dict:
        """As it stands in a file."""
        return {name: getattr(self, name) for name in self.NAMES}


class TextWriter:
    """Completions as text, by the model's own tokenizer."""

    def __init__(self, tokenizer: Tokenizer):
        self.tokenizer, self.fingerprint = tokenizer, tokenizer.sha

    def check(self, options: Options, model) -> None:
        """Raises `UserError` where the tokenizer is not the model's."""
        if self.tokenizer.vocab_size != model.vocab_size:
            raise UserError(
                f"the tokenizer has {self.tokenizer.vocab_size} tokens and the model {model.vocab_size}; "
                "give the --corpus that the model was trained on."
            )

    def write(self, params, model, asked: list[Problem], options: Options, written, progress) -> None:
        """Appends the completions of all `asked` to `written`, problems of like length together."""
        subject = Subject(params, model, self.tokenizer.document_end, placement.batch_rows(params, 1))
        prompts = [self.tokenizer.encode(prompt_text(problem, options.variant)) for problem in asked]
        order = np.argsort([len(prompt) for prompt in prompts], kind="stable")
        for start in range(0, len(order), KEPT_AT_ONCE):
            preemption.check()
            chosen = order[start : start + KEPT_AT_ONCE]
            so_far = _part_of(progress, start * options.samples, len(order) * options.samples)
            mine, its_prompts = [asked[i] for i in chosen], [prompts[i] for i in chosen]
            written.append(self._some(subject, mine, its_prompts, options, so_far))

    def _some(self, subject: Subject, asked, prompts, options: Options, progress) -> list[Completion]:
        texts = [prompt_text(problem, options.variant) for problem in asked]
        stoppers = {}  # (problem, sample) -> its stopper, how many characters it was fed

        def text_of(which, ids) -> str:
            return self.tokenizer.decode([*prompts[which], *ids])[len(texts[which]) :]

        def finished(which, sample, ids) -> bool:
            if (which, sample) not in stoppers:
                problem = asked[which]
                stoppers[which, sample] = Stopper(problem.language, texts[which], problem.stops, problem.block), 0
            stopper, fed = stoppers[which, sample]
            text = text_of(which, ids).rstrip("\ufffd")  # a character whose bytes have not all come
            stoppers[which, sample] = stopper, len(text)
            return stopper.feed(text[fed:])

        streams = [stream(problem) for problem in asked]
        drawn = sampling.write(subject, prompts, options, finished=finished, streams=streams, progress=progress)
        completions = []
        for which, (problem, samples) in enumerate(zip(asked, drawn, strict=True)):
            for sample, ids in enumerate(samples):
                written = text_of(which, ids)
                kept, why = cut(problem.language, texts[which], written, problem.stops, problem.block)
                limit = min(options.new_tokens, subject.model.max_length - len(prompts[which]))
                ended = why or ("no_room" if limit < 1 else "length" if len(ids) >= limit else "document_end")
                about = (problem.suite, problem.language, sample, ended, len(ids))
                completions.append(Completion(problem.task_id, kept, *about))
        return completions

    def likelihood(self, params, model, asked: list[Problem], options: Options, progress) -> list[dict]:
        """Rows of the reference solutions, see `likelihood.rows`."""
        subject = Subject(params, model, self.tokenizer.document_end)
        losses = likelihood.solution_losses(subject, self.tokenizer, asked, options.variant, progress)
        return likelihood.rows(losses, options.variant)


def _part_of(progress, before: int, of: int):
    """What is called for a part of the work, where `progress` is called for the whole."""
    return lambda doing, done, _: progress(doing, before + done, of)


def stream(problem: Problem) -> int:
    """The number of a problem's random stream: it does not depend on which other problems are asked."""
    return zlib.crc32(f"{problem.suite}/{problem.language}/{problem.task_id}".encode())


class WorldWriter:
    """Completions of the embedded world's problems: greedy tokens, then the text that they stand for."""

    def __init__(self, embedded, material: Material):
        self.embedded, self.material = embedded, material
        self.fingerprint = material.fingerprint

    def check(self, options: Options, model) -> None:
        """Raises `UserError` where the options ask for what has no meaning here."""
        if options.temperature or options.likelihood or options.variant != "raw":
            raise UserError(
                "the embedded world's programs are written greedily after one prompt and scored by running; "
                "leave --temperature, --likelihood and --variant out."
            )

    def write(self, params, model, asked: list[Problem], options: Options, written, progress) -> None:
        for language in dict.fromkeys(problem.language for problem in asked):
            subject = subject_of(params, model, self.material)
            tokens_QxA = programs.completions(subject, self.material.problems, language)
            texts = world_problems.completions(self.embedded, language, tokens_QxA)
            size = tokens_QxA.shape[1]
            written.append(
                [
                    Completion(p.task_id, texts[p.number], p.suite, language, sample=0, ended="length", tokens=size)
                    for p in asked
                    if p.language == language
                ]
            )
            progress("writing", len(written.completions), len(asked))
