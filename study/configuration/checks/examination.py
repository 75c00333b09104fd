"""All checks of a study, each with the paths that it reads, and how their findings come together.

What rests on a part that could not be read is left out. A finding of all arms alike is named once, and one of a value
that is searched only where the defaults do not have it too.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from study.configuration.checks import arms, comparability, data, machine, networks, schedule, storage, teacher, tuning
from study.configuration.checks.findings import Finding, Findings, fault
from study.configuration.checks.subject import Case, Subject
from study.configuration.config import TEACHER, StudyConfig
from study.configuration.searches import search_faults
from study.configuration.trackers.checks import check_trackers


class StudyCheck(NamedTuple):
    """A check of a study as a whole."""

    check: Callable[[Subject], Iterable[Finding]]
    reads: tuple[str, ...]


class CaseCheck(NamedTuple):
    """A check of each trial that a study may run; `reads` are the study's paths, the teacher's are its own."""

    check: Callable[[Subject, Case], Iterable[Finding]]
    reads: tuple[str, ...]


def examine(config: StudyConfig, broken: Sequence[str] = ()) -> Findings:
    """All that is wrong with a study, and all that is hardly meant.

    Args:
        config: the study.
        broken: paths, with dots, at which stands what was not asked for, because that could not be read.
    """
    subject, found = Subject(config, broken), Findings()
    for check, reads in STUDY_CHECKS:
        if subject.reads(*reads):
            found.add(check(subject))
    for case_check in CASE_CHECKS:
        found.add(_over_cases(subject, case_check))
    return found


def _arms(subject: Subject) -> Iterator[Finding]:
    config = subject.given
    for name, reading in subject.readings.items():
        yield from networks.check_weighting(config, name) if subject.reads("data") else ()
        yield from (finding for finding in reading.findings if subject.reads("student.architecture", "data.name"))
        yield from arms.check_searched_twice(config, name)
        yield from arms.check_replicates(config, name)
        yield from arms.check_enqueued(config, name, reading)
        yield from arms.check_budget(config, name) if subject.reads(f"arms.{name}") else ()


def _comparable(subject: Subject) -> Iterator[Finding]:
    spaces = {name: reading.space for name, reading in subject.readings.items() if reading.whole}
    yield from comparability.check_comparable(subject.config, spaces)
    yield from comparability.check_compares(subject.config, spaces)


def _tuning(subject: Subject) -> Iterator[Finding]:
    spaces = {
        name: reading.space for name, reading in subject.readings.items() if not subject.config.arms[name].replicated
    }
    yield from tuning.check_budgets(subject.config)
    yield from tuning.check_objectives(subject.config)
    yield from tuning.check_timed(subject.config, spaces)
    yield from tuning.check_grid(subject.config, spaces)
    yield from tuning.check_matched(subject.config, spaces)
    if all(reading.whole for reading in subject.readings.values()) and subject.reads("arms"):
        yield from tuning.check_equal_tuning(subject.config)


def _memory(subject: Subject) -> Iterable[Finding]:
    return tuning.check_memory(subject.config, distils=subject.distils)


def _teacher(subject: Subject) -> Iterable[Finding]:
    return teacher.check_teacher(subject.config) if subject.distils else ()


def _teacher_folder(subject: Subject) -> Iterable[Finding]:
    return teacher.check_teacher_folder(subject.config) if subject.trains_teacher else ()


def _record(subject: Subject) -> Iterable[Finding]:
    return teacher.check_record(subject.config, subject.teacher_channels) if subject.distils else ()


def _teacher_options(subject: Subject) -> Iterable[Finding]:
    return teacher.check_options(subject.config, distils=subject.distils)


def _sample(subject: Subject) -> Iterable[Finding]:
    return data.check_sample(subject.sample, subject.config.data) if subject.sample else ()


def _groups(subject: Subject) -> Iterable[Finding]:
    return data.check_groups(subject.splits, subject.config.groups)


def _machine(subject: Subject) -> Iterable[Finding]:
    workers = max((case.trial.train.workers for case in subject.cases), default=1)
    return machine.check_machine(workers, subject.config.execution)


STUDY_CHECKS = (
    StudyCheck(lambda subject: subject.splits.findings, ("data", "evaluate_on", "holdout")),
    StudyCheck(_sample, ("data",)),
    StudyCheck(lambda subject: data.check_apart(subject.splits), ("data", "evaluate_on", "holdout")),
    StudyCheck(lambda subject: storage.check_storage(subject.config.storage), ("storage",)),
    StudyCheck(lambda subject: storage.check_checkpoints(subject.config.execution.checkpoints), ("execution",)),
    StudyCheck(
        lambda subject: storage.check_decoded_images(subject.config.execution.decoded_images.folder), ("execution",)
    ),
    StudyCheck(lambda subject: machine.check_execution(subject.config.execution), ("execution",)),
    StudyCheck(lambda subject: check_trackers(subject.config.execution.trackers), ("execution",)),
    StudyCheck(_machine, ("execution", "train.workers", "teacher.train.workers")),
    StudyCheck(_teacher, ("data", "teacher.file", "teacher.model", "teacher.train", "teacher.data", "teacher.task")),
    StudyCheck(_teacher_folder, ("teacher", "data", "student", "augment")),
    StudyCheck(_record, ("teacher", "data.name")),
    StudyCheck(_teacher_options, ("teacher", "arms")),
    StudyCheck(lambda subject: arms.check_names(subject.given), ()),
    StudyCheck(lambda subject: map(fault, search_faults(subject.given)), ("searches",)),
    StudyCheck(_groups, ("data", "evaluate_on", "holdout", "groups")),
    StudyCheck(_arms, ()),
    StudyCheck(_tuning, ("budget", "price", "search", "pruning")),
    StudyCheck(_memory, ("search", "teacher", "arms")),
    StudyCheck(_comparable, ("compares", "data", "evaluate_on", "holdout")),
)


def _images(subject: Subject, case: Case) -> Iterable[Finding]:
    images = subject.splits.trained
    return schedule.check_images(case.trial.train, len(images)) if images else ()


def _crop(subject: Subject, case: Case) -> Iterable[Finding]:
    return data.check_crop(case.trial.augment, subject.sample.sizes) if subject.sample else ()


CASE_CHECKS = (
    CaseCheck(
        lambda _, case: schedule.check_evaluations(case.trial.train), ("train.iterations", "train.evaluate_every")
    ),
    CaseCheck(
        lambda _, case: schedule.check_probes(case.trial.train),
        ("train.probe_every", "train.compile", "train.iterations"),
    ),
    CaseCheck(
        lambda subject, case: schedule.check_batch(case.trial.train, subject.config.execution),
        ("train.batch", "train.workers", "train.freeze_batch_norm", "execution.gpus_per_worker"),
    ),
    CaseCheck(_images, ("train.batch", "data", "holdout")),
    CaseCheck(lambda _, case: schedule.check_optimizer(case.trial.train.optimizer), ("train.optimizer",)),
    CaseCheck(_crop, ("augment", "data")),
    CaseCheck(
        lambda subject, case: machine.check_workers(case.trial.train, subject.config.execution),
        ("train.workers", "execution"),
    ),
    CaseCheck(
        lambda subject, case: machine.check_precision(case.trial.train, subject.config.execution),
        ("train.precision", "execution.gpus_per_worker"),
    ),
    CaseCheck(
        lambda subject, case: machine.check_compile(case.trial, subject.config.execution),
        ("train.compile", "teacher.compile", "execution.gpus_per_worker"),
    ),
    CaseCheck(lambda subject, case: subject.network_findings(case), ("student", "data", "augment.crop")),
)


def _over_cases(subject: Subject, check: CaseCheck) -> Iterator[Finding]:
    """The findings of one check in all trials."""
    of_arms: dict[str, list[Finding]] = {}
    searched: dict[str, list[Finding]] = {}
    for case in subject.cases:
        if not subject.reads(*_own(check.reads, case)):
            continue
        found = list(check.check(subject, case))
        if case.arm == TEACHER:
            yield from (finding.at(TEACHER) for finding in found)
        elif not case.searched:
            of_arms[case.arm] = found
        else:
            new = [finding for finding in found if finding not in of_arms.get(case.arm, ())]
            searched.setdefault(case.where, []).extend(finding.at(_setting(case)) for finding in new)
    yield from _of_arms(of_arms)
    for where, found in searched.items():
        yield from _of_searched(where, found)


def _own(reads: Sequence[str], case: Case) -> list[str]:
    """The paths that are read, of which a teacher has some of its own."""
    if case.arm != TEACHER:
        return [*reads]
    own = {"train": "teacher.train", "student": "teacher.model"}
    return [".".join((own.get(first, first), *below)) for first, *below in (path.split(".") for path in reads)]


def _setting(case: Case) -> str:
    return "at " + ", ".join(f"{path}={value}" for path, value in case.searched.items())


def _of_arms(found: dict[str, list[Finding]]) -> Iterator[Finding]:
    for arm, findings in found.items():
        for finding in findings:
            shared = len(found) > 1 and all(finding in others for others in found.values())
            yield finding if shared else finding.at(f"arms.{arm}")


def _of_searched(where: str, found: list[Finding]) -> Iterator[Finding]:
    """The first fault and the first warning, and how many more there are."""
    for is_fault in (True, False):
        if lines := list(dict.fromkeys(finding for finding in found if finding.is_fault == is_fault)):
            more = f" (and {len(lines) - 1} more of what is searched)" if len(lines) > 1 else ""
            yield lines[0]._replace(text=lines[0].text + more).at(where)
