"""`accounting work`: the scheduler in the foreground; `rollup`, `deliver` and `learn` do its jobs once."""

import logging
import shlex
import signal
from dataclasses import replace
from datetime import timedelta
from typing import Annotated

import typer

from accounting import delivery, learning
from accounting.cli.books import books, counting, err, now, out, roll_up
from accounting.cli.stopping import stop_signal
from accounting.scheduler import JOBS, Desk, Job, Run, ringing
from accounting.settings import Settings
from accounting.sheets import counted, instant, say
from accounting.store import named, open_engine


def work() -> None:
    """Roll up and deliver what ended processes left behind, until stopped (Ctrl-C or SIGTERM)."""
    logging.getLogger("apscheduler").setLevel(logging.ERROR)  # a ring during a long run is no event
    settings = Settings()
    jobs = tuple(_timed(job, settings) for job in JOBS)
    with books() as engine, stop_signal(signal.SIGINT, signal.SIGTERM) as stopped:
        say(err(), f"Working on {named(engine)}: {', '.join(f'{job.name} every {_every(job)}' for job in jobs)}.")
        with ringing(Desk(engine, settings.store_url, now), jobs, _tell):
            while not stopped.wait(1.0):
                pass
        say(err(), "Stopped.")


def rollup() -> None:
    """Add delivered calls to the spend tables, once. Reports do this by themselves."""
    with books() as engine:
        rolled = roll_up(engine)
    say(out(), f"Rolled up {counted(rolled.calls, 'call')} from {counted(rolled.batches, 'batch', 'batches')}.")


def learn() -> None:
    """Learn from the newest calls how many tokens their bytes are, once; see accounting doctor --estimates."""
    with books() as engine:
        learned = learning.learn(engine, now)
    places = counted(learned.lines, "line")
    say(out(), f"Learned {places} and {counted(learned.sizes, 'size')} from {counted(learned.calls, 'call')}.")


def deliver(
    meant_for: Annotated[
        str | None, typer.Option(metavar="URL", help="Deliver what was to go to the store at this URL, a mistyped one.")
    ] = None,
    replay: Annotated[
        bool, typer.Option("--replay", help="Send all calls again that are still kept, whatever the store has of them.")
    ] = False,
) -> None:
    """Hand over to the store what ended processes left in their journals, once.

    Calls that they delivered and the store has lost since, being restored from a backup, are brought back as well.
    """
    url = Settings().store_url
    open_engine(url).dispose()  # refuses a URL that can't be used, also where no journal would try it
    with counting("Delivering") as told:
        drained = delivery.deliver_orphans(url, told, meant_for, asking_every=timedelta(0), again=replay)
    say(out(), f"Delivered {counted(drained.calls, 'call')} from {counted(drained.journals, 'journal')}.")
    for other, calls in delivery.waiting_for_others(url).items():
        say(out(), f"Waiting for another store: {counted(calls, 'call')}, for {other}. If that URL was a mistake:")
        say(out(), f"    accounting deliver --meant-for {shlex.quote(other)}")


def _timed(job: Job, settings: Settings) -> Job:
    return replace(job, every=timedelta(seconds=settings.rollup_seconds)) if job.name == "rollup" else job


def _every(job: Job) -> str:
    return f"{job.every.total_seconds():g} s"


def _tell(run: Run) -> None:
    """A line for a run that did something or failed; nothing for the many that found nothing to do."""
    if run.state != "done" or run.detail:
        say(err(), f"{instant(run.ended_at)} {run.job} {run.state}: {run.detail}")
