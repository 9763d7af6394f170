"""How far a study is: one bar over all of its runs, also those that are not known yet, with the time left; and one a worker."""

import collections
import dataclasses
import math
import sys
import time
from collections.abc import Callable, Hashable, Mapping

from tqdm import tqdm

from babel_jax.measuring.series_plan import duration

BAR = "{desc} {percentage:3.0f}%|{bar:24}| {elapsed}"
TRAINED, MEASURED = "step", "checkpoint"  # keys of the messages in which a run says how far it is
STEPS_OF_A_CHECKPOINT = 20  # that last as long as measuring one does, until that is known


@dataclasses.dataclass(frozen=True)
class Length:
    """How long a run is: its steps and the checkpoints that are measured. ends_after: steps after which a criterion may end it,
    again and again (0: it has none)."""

    steps: int
    checkpoints: int
    ends_after: int = 0


class TimeLeft:
    """What runs have done and have still to do, in seconds of one worker.

    A step and a checkpoint last as long as those seen so far; what comes on top of them (starting, compiling) is as much as
    in the runs that are done. A run that a criterion may end lasts as long as the others of its kind that have ended, or else as
    long again as it has lasted.
    """

    def __init__(self, kind_of: Callable[[Hashable], Hashable]):
        """kind_of: run -> what it has in common with those of other seeds."""
        self.lengths: dict[Hashable, Length] = {}
        self._kind_of = kind_of
        self._done = {TRAINED: collections.Counter(), MEASURED: collections.Counter()}
        self._seen = {TRAINED: [0.0, 0], MEASURED: [0.0, 0]}  # seconds, and of how many
        self._last: dict[Hashable, tuple[str, int, float]] = {}
        self.over: dict[Hashable, float | None] = {}  # finished here, with the seconds that it took; None: before

    def update(self, run: Hashable, what: str, count: int, now: float) -> None:
        """`count` steps or checkpoints of a run are done; `now`: seconds of any clock."""
        before, then, when = self._last.get(run, (what, count, now))
        if before == what and count > then:
            self._seen[what][0] += now - when
            self._seen[what][1] += count - then
        self._last[run] = what, count, now
        self._done[what][run] = count

    def finish(self, run: Hashable, seconds: float | None) -> None:
        """A run is done: all of it, but for steps that a criterion has saved. seconds: that it took; None: it was done before."""
        length = self.lengths[run]
        if not length.ends_after or not self._done[TRAINED][run]:
            self._done[TRAINED][run] = length.steps
        self._done[MEASURED][run] = length.checkpoints
        self.over[run] = seconds

    def share_done(self) -> float:
        """Of all that is to be done, from 0 to 1."""
        done = sum(self._seconds(self._done[TRAINED][run], self._done[MEASURED][run]) for run in self.lengths)
        left = sum(map(self._left, self.lengths))
        return done / (done + left) if done else 0.0

    def seconds(self) -> float | None:
        """That are left; None: nothing is known yet."""
        if not (self._seen[TRAINED][1] or self._seen[MEASURED][1]):
            return None
        return self._on_top() * sum(map(self._left, self.lengths))

    def _left(self, run) -> float:
        if run in self.over:
            return 0.0
        steps, checkpoints = self._done[TRAINED][run], self._done[MEASURED][run]
        return self._seconds(max(self._expected(run) - steps, 0), self.lengths[run].checkpoints - checkpoints)

    def _expected(self, run) -> float:
        """Steps of a run that is not done."""
        length, steps = self.lengths[run], self._done[TRAINED][run]
        if not length.ends_after or self._done[MEASURED][run]:
            return length.steps
        ended = [self._done[TRAINED][other] for other in self.over if self._kind_of(other) == self._kind_of(run)]
        expected = sum(ended) / len(ended) if ended else 2 * steps
        return min(max(expected, steps + length.ends_after), length.steps)

    def _seconds(self, steps: float, checkpoints: float) -> float:
        """Of so much work, on average; in steps where not even a step's time is known."""
        (of_steps, step_count), (of_checkpoints, count) = self._seen[TRAINED], self._seen[MEASURED]
        checkpoint = of_checkpoints / count if count else None
        step = of_steps / step_count if step_count else (checkpoint or STEPS_OF_A_CHECKPOINT) / STEPS_OF_A_CHECKPOINT
        return steps * step + checkpoints * (step * STEPS_OF_A_CHECKPOINT if checkpoint is None else checkpoint)

    def _on_top(self) -> float:
        """How much longer the runs that are done took than their steps and checkpoints."""
        timed = [run for run, seconds in self.over.items() if seconds]
        work = sum(self._seconds(self._done[TRAINED][run], self._done[MEASURED][run]) for run in timed)
        return max(sum(self.over[run] for run in timed) / work, 1.0) if work else 1.0


class Board:
    """The progress bars: one for the study, one a worker."""

    def __init__(self, workers: int, kind_of: Callable[[Hashable], Hashable]):
        """kind_of: as of `TimeLeft`."""
        interval = 0.5 if sys.stderr.isatty() else 15
        style = dict(dynamic_ncols=True, file=sys.stderr, mininterval=interval)
        self.study = tqdm(total=1.0, desc="study", bar_format=BAR + "{postfix}", **style)
        row = dict(leave=False, bar_format=BAR + "<{remaining}{postfix}")
        self.rows = [tqdm(total=1, position=1 + i, **row, **style) for i in range(workers)]
        self.row_of: dict[Hashable, int] = {}
        self.workers, self.left = workers, TimeLeft(kind_of)
        self._took: dict[Hashable, float] = {}
        self._shown = -math.inf  # when the study's bar was drawn last

    def plan(self, lengths: Mapping[Hashable, Length]) -> None:
        """What is to be done, also what is not known yet; when it is, this is called again."""
        self.left.lengths = dict(lengths)

    def update(self, run: Hashable, message: dict) -> None:
        """Shows what a run reports; see `jobs.execute`."""
        row = self.rows[self.row_of.setdefault(run, self._free_row())]
        if "seconds" in message:
            self._took[run] = sum(message["seconds"].values())
        elif "epochs" in message and len(self.left.lengths) == 1:  # those of a study are in each run's DONE
            epochs = ", ".join(f"{source} {count:.2f}" for source, count in message["epochs"].items())
            self.study.write(f"{run}: epochs at its end: {epochs}", file=sys.stderr)
        elif TRAINED in message:
            loss = "not finite" if message["loss"] is None else f"{message['loss']:.3f}"  # of a step that was skipped
            detail = f"loss {loss}, {message['tokens_per_second']:,.0f} tokens/s"
            self._show(row, f"  {run}: training", message[TRAINED], message["steps"], detail)
            self._advance(run, TRAINED, message[TRAINED])
        elif MEASURED in message:
            done, total = message[MEASURED], message["checkpoints"]
            self._show(row, f"  {run}: measuring", done, total, f"checkpoint {done} of {total}")
            self._advance(run, MEASURED, done)

    def finish(self, run: Hashable) -> None:
        self.left.finish(run, self._took.pop(run, None))
        self.row_of.pop(run, None)
        self._show_study(time.monotonic())

    def _advance(self, run, what, count):
        now = time.monotonic()
        self.left.update(run, what, count, now)
        self._show_study(now)

    def _show_study(self, now):
        done, runs, seconds = len(self.left.over), len(self.left.lengths), self.left.seconds()
        text = f"run {done} of {runs}"
        if seconds and done < runs:
            text += f", about {duration(seconds / min(self.workers, runs - done))} left"
        self.study.n = self.left.share_done()
        self.study.set_postfix_str(text, refresh=False)
        if now >= self._shown + self.study.mininterval or done == runs:
            self.study.refresh()  # tqdm's own throttle waits for steps as large as the largest so far
            self._shown = now

    def _show(self, row: tqdm, what: str, done: int, total: int, detail: str) -> None:
        if row.desc != what:  # another run or phase: its time left is its own
            row.reset(total=total)
            row.set_description_str(what, refresh=False)
        row.n = done
        row.set_postfix_str(detail)

    def _free_row(self) -> int:
        return min(set(range(len(self.rows))) - set(self.row_of.values()), default=0)

    def close(self) -> None:
        for bar in (*self.rows, self.study):
            bar.close()
