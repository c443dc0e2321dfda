"""The picture of the mesh in the terminal."""

from __future__ import annotations

from rich import box
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from examples.demo.access_logs import AccessLogs, Line, percentile
from examples.demo.layout import EDGE, NODES, Layout, Node
from examples.demo.load import Load
from examples.demo.story import Story
from examples.demo.watch import Watch

TOLD = 8
"""Lines of what has happened."""


class View:
    """Renders what the others know."""

    def __init__(self, layout: Layout, logs: AccessLogs, watch: Watch, story: Story, load: Load) -> None:
        self._layout = layout
        self._logs = logs
        self._watch = watch
        self._story = story
        self._load = load

    def picture(self) -> RenderableType:
        found = self._story.seen.followed
        if found is not None and self._story.scene.startswith("one request"):
            text = Text("\n".join(found.text()), no_wrap=True, overflow="ellipsis")
            return Group(self._services(), Panel(text, title="one request, hop by hop"))
        return Group(self._services(), self._timeline())

    def _services(self) -> Table:
        url = f"http://127.0.0.1:{self._layout.ports['gateway']}"
        table = Table(
            title=f"a mesh of pyproxy: {url} -> shop -> catalog -> stock",
            caption=f"{self._story.scene}\n{self._load.requests} requests, {self._load.errors} failed; Ctrl-C ends it",
            box=box.SIMPLE_HEAD,
            padding=(0, 1, 0, 0),
        )
        for name in ("proxy", "share", "of service", "p50", "p99", "5xx", "state", "certificate"):
            right = name in ("share", "p50", "p99", "5xx")
            table.add_column(name, justify="right" if right else "left", no_wrap=True)
        came = self._logs.last(lambda line: line.direction in ("gateway", "inbound"))
        by_node = {node: [line for line in came if line.proxy == node.name] for node in NODES}
        for node, lines in by_node.items():
            whole = sum(len(of) for other, of in by_node.items() if other.service == node.service)
            table.add_row(*self._row(node, lines, len(lines) / whole if whole else 0.0))
        return table

    def _row(self, node: Node, lines: list[Line], share: float) -> list[RenderableType]:
        times = [line.fields["duration_ms"] or 0 for line in lines]
        failed = sum(line.failed for line in lines)
        certificate = self._watch.certificates.get(node.name)
        address = f"127.0.0.1:{self._layout.ports.get(f'{node.key}_proxy', 0)}"
        out = address in self._watch.ejected
        return [
            Text(node.name, style="cyan"),
            f"{share:.0%}",
            "█" * round(share * 10),
            f"{percentile(times, 0.5)} ms",
            f"{percentile(times, 0.99)} ms",
            Text(str(failed), style="red" if failed else ""),
            Text("ejected", style="bold red") if out else Text("gateway" if node is EDGE else "serving", style="green"),
            "" if certificate is None else f"{certificate.serial[:8]}… {certificate.hours_left:.0f} h left",
        ]

    def _timeline(self) -> Panel:
        told = [one for one in self._watch.events if one.time >= self._story.began]
        happened = [(time, "demo", text) for time, text in self._story.told]
        happened += [(one.time[11:23], one.proxy, f"{one.kind}: {one.message}") for one in told]
        lines = Text("\n", no_wrap=True, overflow="ellipsis").join(
            Text.assemble((time, "dim"), "  ", (who.ljust(13), "cyan"), text)
            for time, who, text in sorted(happened)[-TOLD:]
        )
        return Panel(lines, title="what just happened", height=TOLD + 2)
