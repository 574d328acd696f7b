"""How the store, delivery and this host are: a line for each check, with what it means and what to do.

What is `look` works, and wants a person's eyes in a while; what is `bad` loses or hides something until somebody acts.
The limits between them are the constants below.
"""

import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.exc import DBAPIError

from accounting import budget_checks, symptoms
from accounting.errors import AccountingError
from accounting.sheets import counted, instant
from accounting.sources import Source
from accounting.spend import UnpricedModel
from accounting.symptoms import (
    Aside,
    Bench,
    Clocks,
    JobSeen,
    JournalsSeen,
    Lacking,
    ProvidersSeen,
    SourcesSeen,
    StoreSeen,
    Unfinished,
    Unrolled,
    Zones,
)
from accounting.verdicts import BAD, LOOK, OK, Check, Verdict

UNDELIVERED_LOOK, UNDELIVERED_BAD = timedelta(minutes=5), timedelta(hours=1)
"""Since the start of the oldest call that is in a journal and not in the store; a long call takes minutes by itself."""

ORPHANED_BAD = timedelta(hours=1)
"""Since the start of the oldest call in a journal whose process is gone: a scheduler would have delivered it."""

UNROLLED_LOOK = timedelta(hours=1)
"""Since the oldest batch came that is in no sum yet. Reports roll up by themselves, so it is never bad."""

OVERDUE_LOOK = timedelta(minutes=5)
"""Since a job of the scheduler fell due."""

CLOCK_LOOK, CLOCK_BAD = timedelta(seconds=2), timedelta(seconds=60)
"""Between this host's clock and the database's, or behind the latest report of another host."""

LOG_LOOK, LOG_BAD = 64 * 2**20, 2**30
"""Bytes of SQLite's log, which is copied into the file at 4 MB unless somebody reads on and on."""

FULL_LOOK = 0.8
"""The part of `ACCOUNTING_JOURNAL_MAX_MB` that a journal fills."""

OLDEST_POSTGRESQL = 14


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check came to."""

    check: str
    verdict: Verdict


def examine(bench: Bench) -> Iterator[Finding]:
    """A finding a check, one by one. Where the store can't be used, what is in it is left out."""
    is_usable = True
    for check in CHECKS:
        if is_usable or check.name in OF_HOST:
            finding = Finding(check.name, found(check, bench))
            is_usable = is_usable and not (check.name == "store" and finding.verdict.state is BAD)
            yield finding


def found(check: Check, bench: Bench) -> Verdict:
    """What the check finds. One that can't be made is bad: what it would have said is hidden."""
    try:
        return check.judge(check.look(bench), bench.now)
    except AccountingError as error:  # says itself what to do
        return Verdict(BAD, str(error))
    except DBAPIError as error:
        said = f"The database refused: {' '.join(str(error.orig).split())}."
        return Verdict(BAD, said, "A backup, a migration or another program may hold it: end that, and look again.")
    except Exception as error:  # noqa: BLE001 - the others go on
        said = f"This check failed by a fault of its own ({type(error).__name__}: {error})."
        return Verdict(BAD, said, "The others stand. Please report it.")


def store(seen: StoreSeen, _now: datetime) -> Verdict:
    version = ".".join(map(str, seen.version))
    if seen.is_postgresql:
        said = f"{seen.name} can be reached and has schema {seen.schema}; PostgreSQL {version}."
        if seen.version[0] < OLDEST_POSTGRESQL:
            advice = f"Upgrade the server to {OLDEST_POSTGRESQL} or newer: older ones are not tested."
            return Verdict(BAD, said, advice)
        return Verdict(OK, said)
    said = f"{seen.name} can be read and has schema {seen.schema}; SQLite {version}."
    if has_race(seen.version):
        return Verdict(
            LOOK,
            f"{said} This SQLite can corrupt a file that two programs write and checkpoint at once; this program "
            "takes care not to, others that open the file may not.",
            "Let no other program write to the file, or use Python with SQLite 3.51.3 or newer.",
        )
    return Verdict(OK, said)


def has_race(version: tuple[int, ...]) -> bool:
    """Whether SQLite has the bug of sqlite.org/wal.html#walresetbug, mended in 3.51.3, 3.50.7 and 3.44.6."""
    return version < (3, 51, 3) and not (3, 50, 7) <= version < (3, 51) and not (3, 44, 6) <= version < (3, 45)


def log(seen: int | None, _now: datetime) -> Verdict:
    if seen is None:
        return Verdict(OK, "PostgreSQL looks after its own log.")
    said = f"SQLite's log holds {_megabytes(seen)}."
    if seen < LOG_LOOK:
        return Verdict(OK, said)
    why = f"{said} It can't be copied into the file while somebody reads on and on."
    return Verdict(
        BAD if seen >= LOG_BAD else LOOK,
        why,
        "End what has read from the file for long, like a forgotten sqlite3 or a stuck report.",
    )


def writers(are_kept_waiting: bool, _now: datetime) -> Verdict:
    if not are_kept_waiting:
        return Verdict(OK, "Nobody keeps others from writing.")
    seconds = f"{symptoms.PATIENCE.total_seconds():g} s"
    said = f"Somebody has kept all others from writing for {seconds}; a write takes a tenth of a second."
    return Verdict(LOOK, said, "If it lasts, find who holds the file that ends in .lock (fuser) and end that.")


def sources(seen: SourcesSeen, now: datetime) -> Verdict:
    """Who reports here. One that is silent holds totals back, and one with missing numbers has lost calls."""
    live = [source for source in seen.telling if source.closed_at is None]
    silent = [source for source in live if source.is_silent(now)]
    said = f"{counted(len(live) - len(silent), 'journal')} live, {len(silent)} silent, {seen.closed} closed."
    if silent:
        first = min(silent, key=lambda source: source.seen_at)
        advice = (
            "Start its program or `accounting work` on its host: they deliver what it holds. If it is gone for good: "
            f'accounting sources close {str(first.journal)[:13]} --why "…"'
        )
        state = BAD if any(source.open or source.backlog for source in silent) else LOOK
        return Verdict(state, f"{said} {_silent(first)}", advice)
    if not seen.telling and not seen.closed:
        return Verdict(OK, "No journal has reported yet.")
    return Verdict(OK, said)


def lost(seen: SourcesSeen, _now: datetime) -> Verdict:
    gaps = [source for source in seen.telling if source.missing]
    if not gaps:
        return Verdict(OK, "No number of a journal is missing.")
    worst = max(gaps, key=lambda source: source.missing)
    calls = counted(sum(source.missing for source in gaps), "call")
    said = f"{calls} never came, most of them of journal {worst.journal} on {worst.host} ({worst.missing:,})."
    advice = (
        "If its file is still on that host, start its program or `accounting work` there; see accounting sources list"
    )
    return Verdict(BAD, said, advice)


def faults(seen: SourcesSeen, _now: datetime) -> Verdict:
    steps: Counter[str] = Counter()
    for source in seen.telling:
        if source.closed_at is None:
            steps.update(source.faults)
    if not +steps:
        return Verdict(OK, "No step of metering has failed in a live journal.")
    failed = ", ".join(f"{step} {count:,}×" for step, count in steps.most_common())
    told = "; ".join(_OF_BUDGETS[step] for step in sorted(steps) if step in _OF_BUDGETS)
    said = f"Metering failed at {failed}; calls went on unless a budget refused them{': ' if told else ''}{told}."
    return Verdict(LOOK, said, "Each program logs the first of each step, under the logger `accounting`.")


_OF_BUDGETS = {
    "budgets.away": "the store could not be asked in time whether a call fits, and the budget's --when-away decided",
    "budgets.unknown": (
        "nobody could say which budgets there are, and calls passed unless ACCOUNTING_BUDGETS_REQUIRED is true"
    ),
    "budgets.start": "nobody can ask the store at all",
    "budgets.release": "what is set aside for calls that were not sent was not given back, and will be held",
    "budgets.keep": "which budgets there are could not be written down for programs that begin while the store is away",
    "on_budget": "a program's callback failed, or takes too long",
    "budgets.states": "programs were not told where their budgets stand",
    "budgets.refresh": "budgets could not be read again, and the last known ones went on",
}
"""What it means that asking budgets failed, by the step."""


def undelivered(seen: SourcesSeen, now: datetime) -> Verdict:
    """How far delivery is behind, of journals that are heard of."""
    live = [source for source in seen.telling if source.closed_at is None and not source.is_silent(now)]
    starts = [source.oldest_undelivered_at for source in live if source.oldest_undelivered_at is not None]
    calls = sum(source.open + source.backlog for source in live)
    if not starts:
        return Verdict(OK, "Every call that began has been delivered.")
    age = now - min(starts)
    said = f"{counted(calls, 'call')} not delivered yet or still open, the oldest begun {_ago(age)}."
    state = BAD if age >= UNDELIVERED_BAD else LOOK if age >= UNDELIVERED_LOOK else OK
    advice = "See which journal holds them: accounting sources list; its program's log says why, under `accounting`."
    return Verdict(state, said, "" if state is OK else advice)


def unrolled(seen: Unrolled, now: datetime) -> Verdict:
    if seen.since is None:
        return Verdict(OK, "Everything delivered is in the sums.")
    age = now - seen.since
    waiting = f"{counted(seen.calls, 'call')} in {counted(seen.batches, 'batch', 'batches')}"
    said = f"{waiting} not in the sums yet, the oldest for {_for(age)}."
    if age < UNROLLED_LOOK:
        return Verdict(OK, said)
    return Verdict(LOOK, said, "accounting rollup, or keep accounting work running. A report rolls up by itself.")


def jobs(seen: Sequence[JobSeen], now: datetime) -> Verdict:
    """What the scheduler did last, and what it should have done by now."""
    if all(job.last is None for job in seen):
        return Verdict(OK, "No scheduler has run; it is needed for orphaned journals alone: accounting work")
    if failed := [job.last for job in seen if job.last is not None and job.last.state == "failed"]:
        said = "; ".join(f"{run.job} failed at {instant(run.ended_at)}: {run.detail}" for run in failed)
        return Verdict(BAD, f"{said}.", "Mend what it says; the next run takes over what this one left.")
    late = [job for job in seen if job.due_at is not None and job.due_at <= now - OVERDUE_LOOK]
    if late:
        said = "; ".join(f"{job.name} was due {_ago(now - job.due_at)}" for job in late if job.due_at is not None)
        return Verdict(LOOK, f"{said}: no scheduler runs.", "accounting work")
    return Verdict(
        OK, "; ".join(f"{job.name} last ran at {instant(job.last.started_at)}" for job in seen if job.last) + "."
    )


def aside(seen: Aside, _now: datetime) -> Verdict:
    if not seen.rejected and not seen.conflicts:
        return Verdict(OK, "No delivered call was put aside.")
    said = f"{counted(seen.rejected, 'rejected call')} and {counted(seen.conflicts, 'conflict')} are in no total."
    names = [name for name, number in (("rejected", seen.rejected), ("conflicts", seen.conflicts)) if number]
    return Verdict(LOOK, said, "See and settle them: " + ", ".join(f"accounting {name} list" for name in names))


def restatements(seen: Sequence[Unfinished], now: datetime) -> Verdict:
    if not seen:
        return Verdict(OK, "No restatement is unfinished.")
    said = "; ".join(
        f"{one.kind} by {one.who}, begun {_ago(now - one.began_at)}, {counted(one.changed, 'call')} changed"
        for one in seen
    )
    return Verdict(
        LOOK, f"Not ended: {said}.", "If nobody is at it, give the same command again: it goes on where it stopped."
    )


def restored(seen: datetime | None, _now: datetime) -> Verdict:
    if seen is None:
        return Verdict(OK, "No backup was put in place of the books lately.")
    return Verdict(
        LOOK,
        f"The books came back from a backup that was complete until {instant(seen)}; journals may still send what it "
        "lacks, so totals are not called complete beyond that.",
        "To hurry the journals of ended processes: accounting deliver, on each host.",
    )


def unpriced(seen: Sequence[UnpricedModel], _now: datetime) -> Verdict:
    days = f"in the sums of the last {symptoms.UNPRICED_DAYS.days} days"
    if not seen:
        return Verdict(OK, f"Every call {days} that used something has a rate.")
    models = ", ".join(f"{one.provider}/{one.model} ({counted(one.calls, 'call')})" for one in seen[:3])
    more = f" and {len(seen) - 3} more" if len(seen) > 3 else ""
    calls = sum(one.calls for one in seen)
    said = f"{counted(calls, 'call')} {days} {'has' if calls == 1 else 'have'} no rate: {models}{more}."
    why = shlex.join(["accounting", "rates", "explain", seen[0].model, "--provider", seen[0].provider])
    return Verdict(
        LOOK, said, f"{why}. Once it has a rate, by accounting rates add, load or import, these get it, too."
    )


def clocks(seen: Clocks, _now: datetime) -> Verdict:
    """Leases, silence and completeness compare times of several machines."""
    off = max(abs(seen.ahead or timedelta(0)), seen.behind_reports)
    state = BAD if off > CLOCK_BAD else LOOK if off > CLOCK_LOOK else OK
    if state is OK:
        return Verdict(
            OK, "This host's clock agrees with " + ("the reports'." if seen.ahead is None else "the database's.")
        )
    if seen.ahead is not None and abs(seen.ahead) >= seen.behind_reports:
        where = "ahead of" if seen.ahead > timedelta(0) else "behind"
        said = f"This host's clock is {_for(abs(seen.ahead))} {where} the database's."
    else:
        said = f"A report is {_for(seen.behind_reports)} ahead of this host's clock."
    return Verdict(
        state, f"{said} Calls are billed by these clocks.", "Set the clocks of both hosts by NTP (timedatectl)."
    )


def zones(seen: Zones, _now: datetime) -> Verdict:
    if seen.unknown:
        said = f"No rules for {', '.join(seen.unknown)} (tzdata {seen.tzdata}): days of the books can't be told."
        return Verdict(BAD, said, "pip install -U tzdata")
    return Verdict(OK, f"Every zone of the books is known (tzdata {seen.tzdata}).")


def providers(seen: ProvidersSeen, _now: datetime) -> Verdict:
    if seen.trouble:
        said = f"{seen.trouble} Until it can be read, meter() raises, and whoever catches that goes unmetered."
        return Verdict(BAD, said, "Mend it; or do without: move it away, or unset ACCOUNTING_PROVIDERS.")
    own = f"those of {seen.file}" if seen.is_there else f"none of your own, as there is no {seen.file}"
    return Verdict(OK, f"Providers go by the shipped list and {own}.")


def journals(seen: JournalsSeen, _now: datetime) -> Verdict:
    """Whether calls on this host can be written down, and how much room there is for them."""
    if seen.refusal:
        said = f"No journal can be begun in {seen.directory}: {seen.refusal}. Programs of this user go unmetered."
        return Verdict(BAD, said, "Give this user write access there, or set ACCOUNTING_JOURNAL_DIR to another folder.")
    total = sum(each.bytes for each in seen.seen)
    live = sum(each.is_owned for each in seen.seen)
    said = f"{counted(len(seen.seen), 'journal')} in {seen.directory}, {live} in use, {_megabytes(total)} in all."
    if troubled := [each for each in seen.seen if each.trouble]:
        names = "; ".join(f"{each.file.name}: {each.trouble}" for each in troubled)
        return Verdict(
            BAD, f"{said} Can't be read: {names}.", "Upgrade the program, or keep the file aside: calls may be in it."
        )
    fullest = max((each.bytes for each in seen.seen), default=0)
    if fullest < FULL_LOOK * seen.limit:
        return Verdict(OK, said)
    full = f"{said} One holds {_megabytes(fullest)} of {_megabytes(seen.limit)}, and takes no calls beyond."
    return Verdict(
        BAD if fullest >= seen.limit else LOOK, full, "Make the store reachable, or raise ACCOUNTING_JOURNAL_MAX_MB."
    )


def orphans(seen: JournalsSeen, now: datetime) -> Verdict:
    """Calls in journals whose process is gone: somebody must take them up."""
    waiting = [each for each in seen.seen if each.waiting]
    if not waiting:
        return Verdict(OK, "No call waits in a journal without an owner.")
    calls = counted(sum(each.waiting for each in waiting), "call")
    oldest = min((each.oldest for each in waiting if each.oldest is not None), default=now)
    said = (
        f"{calls} in {counted(len(waiting), 'journal')} whose process is gone, the oldest begun {_ago(now - oldest)}."
    )
    return Verdict(BAD if now - oldest >= ORPHANED_BAD else LOOK, said, "accounting deliver")


def elsewhere(seen: JournalsSeen, _now: datetime) -> Verdict:
    others = seen.elsewhere or {}
    if not others:
        return Verdict(OK, "No call on this host waits for another store.")
    said = "; ".join(f"{counted(calls, 'call')} for {url}" for url, calls in others.items())
    first = shlex.quote(next(iter(others)))
    advice = f"If that URL was a mistake: accounting deliver --meant-for {first}"
    return Verdict(LOOK, f"Calls on this host wait for another store than this: {said}.", advice)


def kept(seen: Lacking, _now: datetime) -> Verdict:
    """Calls that can be sent once more and must be, as the books lack them."""
    others = seen.elsewhere or {}
    if not seen.here and not others:
        return Verdict(OK, "The books lack no call that a journal on this host could send again.")
    said = [f"{counted(seen.here, 'call')} that were delivered to it before it was restored"] if seen.here else []
    said += [f"{counted(calls, 'call')} that went to {url}, where its books came from" for url, calls in others.items()]
    commands = ["accounting deliver --replay"] if seen.here else []
    commands += [f"accounting deliver --meant-for {shlex.quote(url)}" for url in others]
    lacks = f"The store lacks {' and '.join(said)}; ended programs on this host still keep them."
    return Verdict(BAD if seen.here else LOOK, lacks, "; ".join(commands))


CHECKS = (
    Check("store", symptoms.store, store),
    Check("log", symptoms.log_bytes, log),
    Check("writers", symptoms.writers_wait, writers),
    Check("sources", symptoms.sources_seen, sources),
    Check("lost", symptoms.sources_seen, lost),
    Check("faults", symptoms.sources_seen, faults),
    Check("delivery", symptoms.sources_seen, undelivered),
    Check("rollup", symptoms.unrolled, unrolled),
    Check("jobs", symptoms.jobs_seen, jobs),
    Check("aside", symptoms.aside, aside),
    Check("restatements", symptoms.unfinished, restatements),
    Check("restored", symptoms.restored, restored),
    Check("unpriced", symptoms.unpriced, unpriced),
    *budget_checks.CHECKS,
    Check("clock", symptoms.clocks, clocks),
    Check("zones", symptoms.zones, zones),
    Check("providers", symptoms.providers_seen, providers),
    Check("journals", symptoms.journals, journals),
    Check("orphans", symptoms.journals, orphans),
    Check("elsewhere", symptoms.journals, elsewhere),
    Check("kept", symptoms.lacking, kept),
)

OF_HOST = ("store", "providers", "journals", "orphans", "elsewhere")
"""What can be looked at without a store."""


def _silent(source: Source) -> str:
    held = f" with {counted(source.open + source.backlog, 'call')}" if source.open or source.backlog else ""
    return (
        f"Not heard of since {instant(max(source.seen_at, source.first_seen_at))}: journal {source.journal} on "
        f"{source.host}{held}. Totals are not complete until it comes back."
    )


def _ago(age: timedelta) -> str:
    return f"{_for(age)} ago"


def _for(age: timedelta) -> str:
    """`4 s`, `12 min`, `3 h`, `5 days`: the largest unit of which there are two."""
    seconds = max(age.total_seconds(), 0)
    for unit, size in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _megabytes(number: int) -> str:
    return f"{number / 2**20:,.1f} MB"
