"""``marigraph replay --step``: a walk through a job by keys, with a chart of one of its series.

The walk itself is ``marigraph/debugging/walk.py``; here is what it looks like and which key does what.
"""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any, Final

from prompt_toolkit.application import Application as Screen
from prompt_toolkit.document import Document
from prompt_toolkit.filters import Condition as When
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.key_binding import KeyBindings
from prompt_toolkit.key_binding.key_processor import KeyPressEvent
from prompt_toolkit.layout import ConditionalContainer, HSplit, Layout, VSplit, Window
from prompt_toolkit.layout.controls import FormattedTextControl
from prompt_toolkit.layout.dimension import Dimension
from prompt_toolkit.styles import Style
from prompt_toolkit.widgets import TextArea

from domain.errors import DomainError
from eventstore import EventStoreError
from marigraph.cli.chart import chart
from marigraph.cli.output import moment, number
from marigraph.cli.steps import change_lines, hit_text, model_lines, point_text, record_text
from marigraph.debugging.debugger import Debugger, Step
from marigraph.debugging.scope import Condition
from marigraph.debugging.walk import Walk
from marigraph.replay import CannotReplay

STYLE: Final = Style.from_dict(
    {
        "title": "reverse bold",
        "here": "reverse",
        "dim": "ansibrightblack",
        "score": "ansired bold",
        "axis": "ansibrightblack",
        "bounds": "ansiblue",
        "typical": "ansicyan",
        "actual": "ansiwhite bold",
        "outside": "ansired bold",
        "message": "ansiyellow",
    }
)
KEYS: Final = (
    ("n", "next event"),
    ("b", "next bucket"),
    ("a", "next anomaly"),
    ("u", "until"),
    ("p", "back"),
    ("g", "go to"),
    ("s", "series"),
    ("tab", "next series"),
    ("e", "explain"),
    ("q", "quit"),
)
EVENTS_WIDTH = 46
REFUSALS = (DomainError, EventStoreError, CannotReplay)


class Stepper:
    """The screen."""

    def __init__(self, debugger: Debugger, condition: Condition | None = None) -> None:
        self.walk = Walk(debugger, condition)
        self.message = ""
        self._explained: list[str] = []
        self._running: asyncio.Task[None] | None = None
        self._answer: Callable[[str], None] | None = None
        self._prompt = ""
        self._question = TextArea(
            height=1,
            multiline=False,
            prompt=lambda: [("class:message", self._prompt)],
            accept_handler=self._answered,
        )
        self.screen: Screen[None] = Screen(
            layout=Layout(self._layout()), key_bindings=self._keys(), style=STYLE, full_screen=True
        )

    def run(self) -> None:
        """Show the screen until somebody quits."""
        self.screen.run()

    # ----------------------------------------------------------------------------------------------------- keys

    def _keys(self) -> KeyBindings:
        keys = KeyBindings()
        is_asked = When(lambda: self._answer is not None)
        actions: dict[str, Callable[[], None]] = {
            "n": self._next_event,
            "right": self._next_event,
            " ": self._next_event,
            "b": self._next_bucket,
            "down": self._next_bucket,
            "a": lambda: self._start(self._to_anomaly()),
            "u": lambda: self._ask("until: ", self._until, self._condition_text()),
            "p": self._back,
            "left": self._back,
            "g": lambda: self._ask("go to version: ", self._go_to),
            "s": lambda: self._ask("series (VALUE or FIELD=VALUE): ", self._watch),
            "tab": self._next_series,
            "e": self._explain,
        }
        for key, action in actions.items():
            keys.add(key, filter=~is_asked)(self._guarded(action))
        keys.add("q", filter=~is_asked)(lambda event: event.app.exit())
        keys.add("escape", filter=is_asked, eager=True)(lambda _event: self._close_question())
        keys.add("c-c")(self._interrupted)
        return keys

    def _guarded(self, action: Callable[[], None]) -> Callable[[KeyPressEvent], None]:
        """Do what a key is for; what is refused is said at the bottom."""

        def act(_event: KeyPressEvent) -> None:
            if self._running is not None:
                self.message = "still running: Ctrl-C stops it"
                return
            self.message, self._explained = "", []
            self._try(action)

        return act

    def _try(self, action: Callable[[], None]) -> None:
        try:
            action()
        except REFUSALS as error:
            self.message = " ".join(str(error).split())

    def _interrupted(self, event: KeyPressEvent) -> None:
        if self._running is not None:
            self._running.cancel()
        elif self._answer is not None:
            self._close_question()
        else:
            event.app.exit()

    def _next_event(self) -> None:
        if not self.walk.next_event():
            self.message = "the log ends here"

    def _next_bucket(self) -> None:
        if not self.walk.next_bucket():
            self.message = "no later bucket closes in this log"

    def _back(self) -> None:
        if not self.walk.back():
            self.message = "this is the beginning"

    def _go_to(self, text: str) -> None:
        if not text.isascii() or not text.isdigit():
            self.message = f"[{text}] is no version"
            return
        self.walk.go_to(int(text))

    def _watch(self, text: str) -> None:
        self.walk.watch(text)
        if self.walk.series is None:
            self.message = f"no series [{text}] with a level has been there so far"

    def _next_series(self) -> None:
        self.walk.series_index += 1

    def _explain(self) -> None:
        explained = self.walk.explain()
        if explained is None:
            self.message = "there is no record at hand"
            return
        self._explained = [explained.explanation.sentence]
        stages = [*explained.explanation.evidence[0].stages, *explained.explanation.stages]
        self._explained += [
            f"{stage.name.replace('_', ' '):<28}{number(stage.value):>12}  {stage.meaning}" for stage in stages
        ]

    # ------------------------------------------------------------------------------------------------ longer runs

    def _until(self, text: str) -> None:
        self.walk.condition = Condition.of(text)
        self._start(self._to_condition(self.walk.condition))

    def _condition_text(self) -> str:
        return "" if self.walk.condition is None else self.walk.condition.expression.text

    def _to_anomaly(self) -> Iterator[str]:
        for is_reached in self.walk.towards_anomaly():
            yield "" if is_reached else "looking for the next anomaly"
            if is_reached:
                return
        yield "no later anomaly in this log"

    def _to_condition(self, condition: Condition) -> Iterator[str]:
        hit = None
        for hit in self.walk.towards(condition):
            yield "running" if hit is None else f"holds {hit_text(hit)}"
        if hit is None:
            yield "the condition never held"

    def _start(self, work: Iterator[str]) -> None:
        """Do something that takes long, and draw the screen between its parts."""

        async def run() -> None:
            try:
                for self.message in work:
                    self.screen.invalidate()
                    await asyncio.sleep(0)
            except asyncio.CancelledError:
                self.message = "stopped"
            except REFUSALS as error:
                self.message = " ".join(str(error).split())
            finally:
                self._running = None
                self.screen.invalidate()

        self._running = self.screen.create_background_task(run())

    # --------------------------------------------------------------------------------------------------- questions

    def _ask(self, prompt: str, answer: Callable[[str], None], text: str = "") -> None:
        self._answer = answer
        self._question.buffer.document = Document(text)
        self._prompt = prompt
        self.screen.layout.focus(self._question)

    def _answered(self, buffer: Any) -> bool:
        answer, text = self._answer, buffer.text.strip()
        self._close_question()
        if answer is not None:
            self._try(lambda: answer(text))
        return False

    def _close_question(self) -> None:
        self._answer, self.message = None, ""
        self.screen.layout.focus(self._body)

    # ------------------------------------------------------------------------------------------------- what is seen

    def _layout(self) -> HSplit:
        self._body = Window(FormattedTextControl(self._changes, focusable=True), wrap_lines=True)
        chart_window = Window(FormattedTextControl(self._chart), height=lambda: max(self._rows() // 2, 6))
        asked = ConditionalContainer(self._question, When(lambda: self._answer is not None))
        return HSplit(
            [
                Window(FormattedTextControl(self._title), height=1, style="class:title"),
                VSplit(
                    [
                        Window(FormattedTextControl(self._events), width=EVENTS_WIDTH),
                        Window(width=1, char="│", style="class:dim"),
                        HSplit([chart_window, Window(height=1, char="─", style="class:dim"), self._body]),
                    ]
                ),
                Window(
                    FormattedTextControl(lambda: [("class:message", self.message)]),
                    height=Dimension(min=1, max=3),
                    wrap_lines=True,
                    dont_extend_height=True,
                ),
                asked,
                Window(FormattedTextControl(self._help), height=1),
            ]
        )

    def _rows(self) -> int:
        return int(self.screen.output.get_size().rows) - 4

    def _title(self) -> StyleAndTextTuples:
        debugger, bucket = self.walk.debugger, self.walk.bucket
        place = "" if bucket is None else f"  bucket {moment(bucket.result.timestamp_ms)}"
        series = 0 if debugger.model is None else debugger.model.n_series
        where = f" {debugger.job_id}  version {debugger.version} of {debugger.head}{place}"
        return [("", f"{where}  {debugger.job.state}, {series:,} series ")]

    def _events(self) -> StyleAndTextTuples:
        lines: StyleAndTextTuples = []
        steps = self.walk.steps[-max(self._rows(), 1) :]
        for step in steps:
            text = f"{step.version:>6} {step.item.event.type:<19} {_event_text(step):<18}"
            lines += [("class:here" if step is steps[-1] else "", text[:EVENTS_WIDTH]), ("", "\n")]
        return lines or [("class:dim", " before the first event")]

    def _chart(self) -> StyleAndTextTuples:
        size = self.screen.output.get_size()
        label = self.walk.series
        fragments: StyleAndTextTuples = [("class:dim", f"{label or 'no series with a level yet'}")]
        points = self.walk.seen()
        if points:
            last = points[-1]
            fragments[0] = ("class:dim", point_text(last))
            for line in chart(points, size.columns - EVENTS_WIDTH - 2, max(self._rows() // 2, 6) - 1):
                fragments.append(("", "\n"))
                fragments.extend(line)
        return fragments

    def _changes(self) -> StyleAndTextTuples:
        if self._explained:
            return [("", "\n".join(self._explained))]
        step, bucket, record = self.walk.step, self.walk.bucket, self.walk.record
        lines: StyleAndTextTuples = []
        if bucket is not None:
            result = bucket.result
            lines.append(("", f"bucket {moment(result.timestamp_ms)}: score {result.anomaly_score:.1f}, "))
            lines.append(("", f"{result.event_count:,} events, {len(result.records)} records\n"))
        if record is not None:
            text = f"record at hand: {moment(record[0].timestamp_ms)}  {record_text(record[1])}\n"
            lines.append(("class:score", text))
        if step is not None:
            lines.append(("", "\n".join([*change_lines(step.changes), *model_lines(step)])))
        return lines

    def _help(self) -> StyleAndTextTuples:
        fragments: StyleAndTextTuples = []
        for key, what in KEYS:
            fragments += [("class:here", f" {key} "), ("", f" {what}  ")]
        return fragments


def _event_text(step: Step) -> str:
    """Say in a few characters what came of an event."""
    if not step.buckets:
        return ""
    highest = max((record.record_score for each in step.buckets for record in each.result.records), default=0.0)
    return f"{len(step.buckets):,} buckets {highest:.0f}" if highest >= 1.0 else f"{len(step.buckets):,} buckets"
