"""`kdstudy report`: one HTML page on one or several studies, and its numbers as tables beside it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from analysis.pictures.predictions import Pictures
from analysis.report import (
    ablated,
    curved,
    glance,
    outcome,
    pictured,
    recorded,
    replayed,
    running,
    searching,
    trained,
)
from analysis.report.files import write, write_tables
from analysis.report.page import Chapter, render
from analysis.report.section import Section, Table, reason
from analysis.report.source import NO_PICTURES, Source
from analysis.studies.study import open_studies

SECTIONS: tuple[Callable[[Source], Section], ...] = (
    glance.glance,
    outcome.conclusion,
    outcome.summary,
    pictured.pictured,
    pictured.hard,
    outcome.configurations,
    searching.tuning,
    searching.fronts,
    curved.curves,
    searching.optimisation,
    searching.space,
    searching.parameters,
    searching.difficulty,
    searching.importance_of_parameters,
    searching.early_stopping,
    replayed.replayed,
    trained.learning_curves,
    trained.classes,
    trained.loss_terms,
    trained.masks,
    trained.gradients,
    ablated.ablated,
    running.cost,
    recorded.recorded,
    running.failures,
    running.environment,
    outcome.again,
)
"""The page, from top to bottom. Each is asked of every study; those without evidence are named in a line at its end."""
ALWAYS = "glance"
"""The section that every study has."""


def report(
    folders: Sequence[Path], out: Path | None = None, pictures: Mapping[Path, Pictures | str] | None = None
) -> Path:
    """Write the report; one that lies there is replaced.

    Args:
        folders: of studies on one dataset; they may be running.
        out: the page; report.html in the folder of a single study, or here where there are several. The tables go to
            a folder beside it, <name>-tables.
        pictures: of predictions by folder, or a sentence on why there are none.

    Returns:
        The page.

    Raises:
        ValueError: a folder holds no study, no trial of one has ended, or they are of different datasets.
    """
    studies = open_studies(folders)
    page = out or (folders[0] / "report.html" if len(folders) == 1 else Path("report.html"))
    tables = page.with_name(f"{page.stem}-tables")
    chapters = _chapters([Source(study, (pictures or {}).get(study.folder, NO_PICTURES)) for study in studies])
    page.parent.mkdir(parents=True, exist_ok=True)
    write_tables([table for chapter in chapters for section in chapter.sections for table in section.tables], tables)
    title = ", ".join(study.name for study in studies)
    write(page, render(title, chapters, Path(tables.name)).encode())
    return page


def _chapters(sources: Sequence[Source]) -> list[Chapter]:
    if len(sources) == 1:
        return [_chapter(sources[0], "study", "")]
    numbered = [_chapter(source, f"study-{n}", f"{n}-{source.study.name}-") for n, source in enumerate(sources, 1)]
    return [_together(sources), *numbered]


def _chapter(source: Source, key: str, prefix: str) -> Chapter:
    found = [_prefixed(section(source), prefix) for section in SECTIONS]
    sections = [section for section in found if section.has_evidence or section.key == ALWAYS]
    empty = [section for section in found if section not in sections]
    return Chapter(
        key=key,
        title=source.study.name,
        folder=str(source.study.folder),
        sections=sections,
        left_out=tuple((section.title, reason(section)) for section in empty),
    )


def _prefixed(section: Section, prefix: str) -> Section:
    """The section with the names of its tables made its study's own."""
    return replace(section, tables=tuple(replace(table, name=prefix + table.name) for table in section.tables))


def _together(sources: Sequence[Source]) -> Chapter:
    """The arms of all studies in one table."""
    parts = [(source.study.name, outcome.arm_table(source)) for source in sources]
    rows = pa.concat_tables([rows.add_column(0, "study", pa.array([name] * rows.num_rows)) for name, rows in parts])
    table = Table(name="arms", caption="Arms of all studies, each by its best finished trial", rows=rows)
    text = ("Studies compare only as far as their schedules, students and batches are the same: see `study.json`.",)
    section = Section(key="arms", title="Arms of all studies", text=text, tables=(table,))
    return Chapter(key="together", title="All studies", folder="", sections=[section])
