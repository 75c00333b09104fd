import torch

from tests.trainers import small
from trainers import models
from trainers.data.transforms import Normalisation
from trainers.teachers.outputs import LazyTeacher, LiveTeacher
from trainers.teachers.teacher import Teacher, TeacherCard

IMAGES = torch.randint(256, (2, 3, 32, 48), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


class Loading:
    """Builds the small trial's student as a teacher, and counts how often."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> Teacher:
        self.count += 1
        model = small.trial().student
        network = models.build(model, num_classes=11)
        card = TeacherCard(model=model, class_names=("x",) * 11, normalisation=Normalisation())
        return Teacher(network, card)


def lazy(loading: Loading) -> LazyTeacher:
    return LazyTeacher({"logits": 11, "features": 16, "aux": 11}, loading)


def test_the_network_is_loaded_once_and_random_numbers_do_not_notice() -> None:
    loading = Loading()
    teacher = lazy(loading)
    assert not loading.count
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    assert teacher.load() is teacher.load() and loading.count == 1
    assert torch.equal(torch.rand(3), expected)


def test_a_trial_gets_the_taps_that_it_reads_and_no_others() -> None:
    loading = Loading()
    teacher = lazy(loading)
    reads = [frozenset[str](), frozenset({"logits"}), frozenset({"aux", "features"}), frozenset({"logits", "aux_low"})]
    live = LiveTeacher(teacher, lambda iteration: reads[iteration])
    assert live.outputs(IMAGES, torch.float32, iteration=0) == {} and not loading.count, "nothing to compute"
    whole = teacher.outputs(IMAGES, torch.float32, iteration=0)
    assert whole.keys() == teacher.channels.keys()
    for iteration, names in ((1, {"logits"}), (2, {"aux", "features"}), (3, {"logits"})):
        taps = live.outputs(IMAGES, torch.float32, iteration=iteration)
        assert taps.keys() == names
        assert all(torch.equal(tap, whole[name]) for name, tap in taps.items())
