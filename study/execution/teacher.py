"""The teacher of one study: named by its file, reused by the content of what trained it, or trained first."""

import json
import os
import shutil
import socket
from collections.abc import Callable, Mapping
from pathlib import Path

from optuna.trial import TrialState

from study.configuration.checks.teacher import refuse_unwritable_folder, unwritable
from study.configuration.config import SHIPPED_TEACHERS, StudyConfig
from study.folder import TEACHER_NOTE
from study.ledger.ledger import ArmLedger
from study.ledger.objectives import miou_of
from study.saved import TeacherNote, read_saved
from trainers.config import TeacherFile, content_hash, plain
from trainers.registry import module_of
from trainers.teachers import teacher as teachers
from trainers.teachers.from_checkpoint import export


class StudyTeacher:
    """Says which file the trials of a study distil from, and when they may start.

    Args:
        config: the study.
        folder: the study's.
        say: shows a line to the user.

    Raises:
        ValueError: where the file that the study names, or had before, is not there or does not fit; or where the
            teacher has to be trained and could not be kept.
    """

    def __init__(self, config: StudyConfig, folder: Path, say: Callable[[str], None]) -> None:
        self._config, self._note, self._say = config, folder / TEACHER_NOTE, say
        self._file: TeacherFile | None = None
        self._approved = False
        if not config.any_needs_teacher:
            return
        known = self._known()
        # one that lies elsewhere now may be named anew, and is still the same
        path = Path(known["path"]) if known and not config.teacher.file else config.teacher_path
        if known or config.teacher.file or path.exists():
            self._use(self._for_all(path), expected=known.get("sha256") if known else config.teacher.sha256)
        else:  # before it is trained, not after
            refuse_unwritable_folder(config)

    def _for_all(self, path: Path) -> Path:
        """A shipped teacher copied to where teachers are kept, which every machine of a cluster sees; others as is."""
        folder = Path(self._config.teacher.folder)
        if path.parent != SHIPPED_TEACHERS or unwritable(folder):
            return path
        folder.mkdir(parents=True, exist_ok=True)
        kept = folder / path.name
        writing = kept.with_suffix(f".{socket.gethostname()}.{os.getpid()}.writing")
        shutil.copyfile(path, writing)
        return writing.replace(kept)

    def _known(self) -> TeacherNote | None:
        if not self._note.exists():
            return None
        known = read_saved(self._note, TeacherNote, remedy="remove it, and resume: the teacher is found again")
        self._refuse_another(known.get("trained_by"))
        return known

    def _refuse_another(self, trained_by: str | None) -> None:
        """Raise ValueError where the study's configuration has come to train another teacher than it has."""
        if self._config.teacher.file is None and trained_by not in (None, content_hash(self._config.teacher_trial())):
            raise ValueError(
                "teacher: must stay what trained the teacher of this study while it lasts, but teacher.model, "
                f"teacher.train or what they share with the arms has changed since {self._note} was written; put it "
                "back, or start another study"
            )

    @property
    def file(self) -> TeacherFile | None:
        """The teacher's file, None while there is none."""
        return self._file

    @property
    def must_train(self) -> bool:
        """Whether the study has to train its teacher."""
        return self._config.any_needs_teacher and self._file is None

    def _use(self, path: Path, expected: str | None) -> None:
        teacher = teachers.load(path, class_names=self._config.class_names, expected_sha256=expected)
        data = module_of(self._config.data).Dataset(self._config.data, "val")
        misfit = teachers.probe(teacher, data)
        if misfit:
            self._say(f"warning: {misfit}")
        self._file = TeacherFile(path=str(path), sha256=teachers.sha256(path))
        note = {
            **plain(self._file),
            "miou_percent": teacher.card.miou_percent,
            "trained_by": teacher.card.trained_by,
        }
        writing = self._note.with_suffix(".writing")
        writing.write_text(json.dumps(note))
        writing.replace(self._note)
        score = teacher.card.miou_percent
        self._say(f"teacher: {'mIoU not measured' if score is None else f'{score:.2f} mIoU'}, {path}")

    def trained(self, checkpoint: str | Path) -> None:
        """Keep what the teacher's trial left in its last checkpoint."""
        path = self._config.teacher_path
        if not path.exists():  # another study may have trained the same one meanwhile
            try:
                export(checkpoint, path, stored=self._config.teacher.stored)
            except ValueError as error:
                raise ValueError(
                    f"the teacher was trained, but cannot be kept: {error}; train it beside this study, with kdstudy "
                    "teacher STUDY, and resume"
                ) from None
        self._use(path, expected=None)

    def ready(self, arms: Mapping[str, ArmLedger]) -> TeacherFile | None:
        """The file, once it exists and, where some arm does not distil, that arm has a finished trial to compare."""
        if self._file is None:
            return None
        if not self._approved:
            plain_arms = [arms[name] for name in self._config.arms if not self._config.needs_teacher(name)]
            scores = [miou for arm in plain_arms for trial in arm.complete() if (miou := miou_of(trial)) is not None]
            if not scores and any(not arm.exhausted or arm.count(TrialState.RUNNING) for arm in plain_arms):
                return None
            self._compare(max(scores, default=None))
            self._approved = True
        return self._file

    def _compare(self, baseline: float | None) -> None:
        score = read_saved(self._note, TeacherNote)["miou_percent"]
        if baseline is not None and score is not None and score <= baseline:
            self._say(
                f"warning: a teacher must be better than the student alone, but it has {score:.2f} mIoU and the "
                f"baseline {baseline:.2f}; train it longer (teacher.train.iterations) or name another (teacher.file)"
            )
