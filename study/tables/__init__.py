"""The tables of a study: Arrow schemas, a writer that survives a kill, a reader for any moment."""

from study.tables.files import SCHEMA_VERSION as SCHEMA_VERSION
from study.tables.files import TableWarning as TableWarning
from study.tables.gaps import gaps as gaps
from study.tables.reader import read as read
from study.tables.schemas import CLASS_IOU as CLASS_IOU
from study.tables.schemas import ENVIRONMENT as ENVIRONMENT
from study.tables.schemas import GRADIENTS as GRADIENTS
from study.tables.schemas import IMAGE_CONFUSION as IMAGE_CONFUSION
from study.tables.schemas import IMAGES as IMAGES
from study.tables.schemas import MASK_SHARES as MASK_SHARES
from study.tables.schemas import PARAMETER as PARAMETER
from study.tables.schemas import REPORTS as REPORTS
from study.tables.schemas import RESCORED as RESCORED
from study.tables.schemas import RESCORED_CONFUSION as RESCORED_CONFUSION
from study.tables.schemas import SCHEMAS as SCHEMAS
from study.tables.schemas import parameters_of as parameters_of
from study.tables.schemas import trials_schema as trials_schema
from study.tables.writer import TableWriter as TableWriter

LOOKS = "looks.json"
"""In a study's folder, beside its tables: the sets of finished seeds that a verdict was asked for, in lines of JSON."""
