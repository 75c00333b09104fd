"""Which outputs of a study's teacher its trials record and read: what at least two of them read, and the disk takes.

A plan decides how long a study takes, and no number of it: at an iteration at which a trial reads more than is there,
it runs the teacher itself.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from study.configuration.checks.teacher import unwritable
from study.configuration.config import StudyConfig
from study.configuration.identity import on_gpus
from study.configuration.prices import teacher_network
from study.configuration.recordings.readers import key_of
from study.configuration.recordings.shared import SharedOutputs, Taps, shared_outputs
from study.configuration.recordings.wording import Decision, Space, plan_lines
from trainers.config import TeacherFile, TrialConfig, identity
from trainers.data.fingerprint import is_known
from trainers.registry import module_of
from trainers.teachers.recordings.catalog import RecordingEntry, catalog
from trainers.teachers.recordings.key import of_trial
from trainers.teachers.recordings.plan import RecordingPlan

FOLDER = "recordings"
"""Below the folder of the teachers, or of the study."""
FREE_SHARE = 0.1
"""Of the disk, as far as it is free or holds recordings, that these may take by default."""


@dataclass(frozen=True)
class StudyRecordings:
    """What the trials of a study record and read of their teacher.

    Attributes:
        plans: by `key_of` the trials that have them.
        lines: what a person is told: what is recorded where and how large it gets, or why nothing is.
        on_gpu: whether the trials run on GPUs.
        decisions: what is recorded of each sequence of batches.
    """

    plans: Mapping[str, RecordingPlan] = field(default_factory=dict)
    lines: tuple[str, ...] = ()
    on_gpu: bool = False
    decisions: tuple[Decision, ...] = ()

    @property
    def bytes(self) -> int:
        """Of all recordings when they are whole."""
        return sum(decision.outputs.size(decision.recorded) for decision in self.decisions)

    def live_share(self, at_a_time: int) -> float:
        """Share of the steps of trials with a teacher at which it computes.

        Args:
            at_a_time: trials that run side by side: the first ones all compute.
        """
        read = spared = 0.0
        for outputs, _, recorded in self.decisions:
            trials = sum(readers.trials for readers in outputs.readers)
            read += sum(readers.trials * max(readers.taps.values()) for readers in outputs.readers)
            spared += outputs.spared(recorded) * (1 - min(at_a_time, trials) / trials)
        return 1 - spared / read if read else 1.0

    def of(self, trial: TrialConfig) -> RecordingPlan | None:
        """What a trial records and reads; None where nothing."""
        return self.plans.get(key_of(trial, on_gpu=self.on_gpu)) if self.plans and trial.teacher is not None else None


NO_RECORDINGS = StudyRecordings()


def recordings_folder(config: StudyConfig, folder: Path) -> Path:
    """Where the recordings of a study in `folder` lie."""
    if config.teacher.record.folder is not None:
        return Path(config.teacher.record.folder).absolute()
    shared = Path(config.teacher.folder).absolute() / FOLDER
    return folder.absolute() / FOLDER if unwritable(shared) else shared


def plan_recordings(config: StudyConfig, folder: Path, teacher: TeacherFile | None = None) -> StudyRecordings:
    """Plan the recordings of a study.

    Args:
        config: the study.
        folder: the study's; it need not exist.
        teacher: the file of its teacher, where that is there already and may have been recorded.
    """
    if not (config.any_needs_teacher and config.teacher.record.on):
        return NO_RECORDINGS
    if unknown := _unknown_images(config):
        return StudyRecordings(lines=(unknown,))
    found = shared_outputs(config, teacher_network(config))
    asked = teacher and config.teacher.run_as_asked(teacher)
    space = _space(config, recordings_folder(config, folder), list(found.values()), asked)
    decisions: dict[str, Decision] = {}
    left = space.left
    for key, outputs in found.items():
        wanted = _allowed(config, outputs.shared_taps())
        recorded = outputs.fitting(wanted, left)
        left -= outputs.size(recorded)
        decisions[key] = Decision(outputs, wanted, recorded)
    plans = {key: _plan(config, space, decision) for key, decision in decisions.items()}
    lines = tuple(plan_lines(list(decisions.values()), space, config.teacher.record.taps))
    return StudyRecordings(plans, lines, on_gpus(config), tuple(decisions.values()))


def _unknown_images(config: StudyConfig) -> str | None:
    """What to say of a dataset of which nothing tells whether its images have changed."""
    try:
        if is_known(module_of(config.data).Dataset(config.data, "train")):
            return None
    except ValueError:  # it is not there, which others say
        return None
    return (
        f"teacher's outputs: not recorded, because nothing tells whether images of {config.data.name} have changed: "
        "its Dataset has neither `files` nor `drawn`"
    )


def _plan(config: StudyConfig, space: Space, decision: Decision) -> RecordingPlan:
    """What trials record; where that is nothing, they still read what others have recorded."""
    taps = decision.recorded or _allowed(config, decision.outputs.read_taps())
    return RecordingPlan(folder=str(space.folder), taps=taps, max_bytes=space.quota if decision.recorded else 0)


def _allowed(config: StudyConfig, taps: Taps) -> Taps:
    named = config.teacher.record.taps
    return {tap: length for tap, length in taps.items() if named is None or tap in named}


def _space(config: StudyConfig, place: Path, outputs: Sequence[SharedOutputs], teacher: TeacherFile | None) -> Space:
    entries, most = catalog(place), config.teacher.record.max_gib
    if why := unwritable(place):
        return Space(place, 0, 0, why)
    there = next(folder for folder in (place, *place.parents) if folder.exists())
    usable = shutil.disk_usage(there).free + sum(entry.bytes for entry in entries)
    quota = int(FREE_SHARE * usable if most is None else most * 2**30)
    keys = [of_trial(shared.readers[0].trial, on_gpu=on_gpus(config)) for shared in outputs]
    others = sum(entry.bytes for entry in entries if not any(_is_of(entry, key, teacher) for key in keys))
    return Space(place, quota, max(0, quota - others))


def _is_of(entry: RecordingEntry, key: Mapping[str, object], teacher: TeacherFile | None) -> bool:
    """Whether a recording is of this key and teacher, on whatever machine."""
    if teacher is None or entry.key.get("teacher") != identity(teacher):
        return False
    return all(entry.key.get(name) == value for name, value in key.items())
