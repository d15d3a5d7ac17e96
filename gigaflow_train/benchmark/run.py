"""One benchmark from the request to its files: results.json, tables of the scenes, report.html, failure bundles."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from gigaflow_train.benchmark import drivers, published, report_page, results, route_suite, scene_suites, table, town_suites
from gigaflow_train.benchmark.request import SCENE_SUITES, Request
from gigaflow_train.benchmark.results import Outcome

Advance = Callable[[float], None]


def run(request: Request, console: Console) -> dict[str, Any]:
    """Drive the policy and what it is compared with, write all files into the directory, and show the table.

    After Ctrl-C that is what was done until then, and nothing more is driven.
    """
    request.out.mkdir(parents=True, exist_ok=True)
    outcome = _driven(request, request.policy, console)
    baselines: dict[str, Outcome] = {}
    interrupted = outcome.interrupted
    for name in request.baselines:
        if name != request.policy and not interrupted:
            baselines[name] = _driven(request._replace(keep=0), name, console)
            interrupted = baselines[name].interrupted
    policy = drivers.identity(request.policy)._asdict()
    others = published.of(request.suite)
    content = results.document(request.suite, policy, settings(request), outcome, baselines, others)
    paths = results.write(request.out, content)
    paths.append(report_page.write(request.out, content, outcome.clips))
    title = f"{request.suite}: {request.policy}"
    console.print(
        table.table(title, request.policy, outcome.figures, {name: one.figures for name, one in baselines.items()}, others)
    )
    if request.suite == "robustness":
        console.print(table.checks(outcome.scenes))
    if outcome.left_out:
        first = outcome.left_out[0]
        console.print(escape(f"{len(outcome.left_out)} left out, the first: {first['scene']}: {first['reason']}"))
    console.print(escape(f"wrote {', '.join(path.name for path in paths)} to {request.out}"), soft_wrap=True)
    return content


def settings(request: Request) -> dict[str, Any]:
    """A request as JSON has it."""
    return {name: str(value) if isinstance(value, Path) else value for name, value in request._asdict().items()}


def _driven(request: Request, policy: str, console: Console) -> Outcome:
    with progress(console, f"{request.suite}: {policy}") as advance:
        if request.suite == "longform":
            return town_suites.run_longform(request, policy, advance)
        if request.suite == "robustness":
            return town_suites.run_robustness(request, policy, advance)
        if request.suite in SCENE_SUITES:
            return scene_suites.run(request, policy, advance)
        return route_suite.run(request, policy, advance)


@contextmanager
def progress(console: Console, what: str) -> Iterator[Advance]:
    """A bar on a terminal; call what it yields with the share that is done."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"), TimeElapsedColumn(),
               TimeRemainingColumn())  # fmt: skip
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(escape(what), total=1.0)
        yield lambda share: bar.update(task, completed=share)
