"""What every dataset promises."""

import pickle
from typing import Any, ClassVar

import numpy as np
import pytest

from trainers.data import IGNORE, SegmentationDataset, Split
from trainers.data.groups import image_group
from trainers.registry import module_of
from trainers.testing.configs import round_trip


class DatasetContract:
    """A dataset: for one that has to be written first, override the fixture `data_config`."""

    config: ClassVar[Any]
    splits: ClassVar[tuple[Split, ...]] = ("train", "val")
    """Those that exist."""

    @pytest.fixture
    def data_config(self) -> Any:
        """The Config of a dataset that can be read."""
        return self.config

    @pytest.fixture(params=("train", "val", "test"))
    def data(self, request: pytest.FixtureRequest, data_config: Any) -> SegmentationDataset:
        """Each split."""
        if request.param not in self.splits:
            pytest.skip(f"there is no {request.param} split")
        dataset: SegmentationDataset = module_of(data_config).Dataset(data_config, request.param)
        return dataset

    def test_config_round_trips_and_is_frozen(self, data_config: Any) -> None:
        round_trip(data_config)

    def test_names_colours_and_values_fit_together(self, data: SegmentationDataset, data_config: Any) -> None:
        names, palette, ids = data.class_names, data.palette, data.ids
        assert len(names) == len(set(names)) == len(palette) == len(ids) == len(set(ids))
        assert all(len(colour) == 3 and min(colour) >= 0 and max(colour) <= 255 for colour in palette)
        assert {"train", "val"} <= {*module_of(data_config).Dataset.labelled}

    def test_every_image_has_a_name_of_its_own(self, data: SegmentationDataset) -> None:
        names = [data.image_name(index) for index in range(len(data))]
        assert names and len(set(names)) == len(names)
        assert all(image_group(data, index) for index in range(len(data)))

    def test_images_are_rgb_bytes_and_labels_are_classes(self, data: SegmentationDataset) -> None:
        for index in range(len(data)):
            image, label = data.load(index)
            assert image.dtype == label.dtype == np.uint8
            assert image.shape == (*label.shape, 3)
            assert {*np.unique(label).tolist()} <= {*range(len(data.class_names)), IGNORE}

    def test_an_image_is_always_the_same(self, data: SegmentationDataset) -> None:
        last = len(data) - 1
        once = data.load(last)
        data.load(0)
        assert all(np.array_equal(one, other) for one, other in zip(once, data.load(last), strict=True))

    def test_it_can_be_sent_to_the_processes_that_load_images(self, data: SegmentationDataset) -> None:
        assert pickle.dumps(data)
