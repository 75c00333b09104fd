"""The classes of a dataset's configuration: their names, colours and label values, without opening an image.

Published datasets declare them once. Those of a folder of one's own depend on its configuration, so its `Dataset` has a
function `classes_of`.
"""

from typing import Any, NamedTuple

from trainers.registry import module_of


class Classes(NamedTuple):
    """What `SegmentationDataset` says of the classes of a dataset.

    Attributes:
        names: in the order of the network's outputs.
        palette: one RGB colour for each, for pictures.
        ids: the value that stands for each in label files and exported predictions.
    """

    names: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    ids: tuple[int, ...]


def classes_of(data: Any) -> Classes:
    """The classes of a dataset's configuration.

    Raises:
        ValueError: a file that names them is missing, or says nothing of the kind.
    """
    dataset = module_of(data).Dataset
    if hasattr(dataset, "classes_of"):
        found: Classes = dataset.classes_of(data)
        return found
    return Classes(dataset.class_names, dataset.palette, dataset.ids)
