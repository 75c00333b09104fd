"""A dataset made of another one: what it shares with that one, whichever images it has and however it reads them."""

from trainers.data import Array, SegmentationDataset
from trainers.data.groups import image_group


class Derived:
    """The images of another `SegmentationDataset`, and one itself."""

    def __init__(self, whole: SegmentationDataset) -> None:
        self.class_names, self.palette, self.ids = whole.class_names, whole.palette, whole.ids
        # what datasets in files say of themselves besides
        self.is_labelled = getattr(whole, "is_labelled", True)
        self.splits_by_group = getattr(whole, "splits_by_group", False)
        self._whole = whole

    def __len__(self) -> int:
        return len(self._whole)

    def image_name(self, index: int) -> str:
        return self._whole.image_name(index)

    def image_group(self, index: int) -> str:
        return image_group(self._whole, index)

    def load(self, index: int) -> tuple[Array, Array]:
        return self._whole.load(index)
