import copy
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor
from torch.multiprocessing.spawn import spawn

from tests.conftest import arrays, golden
from tests.golden_cases import Reference
from trainers.data import IGNORE
from trainers.distributed.means import Mean, global_means
from trainers.methods import cirkd, contrast
from trainers.methods.class_regions import resized_labels
from trainers.methods.memory_banks import Entries, MemoryBank
from trainers.models import Taps
from trainers.testing import LabelledMethodContract, MethodContract
from trainers.testing.taps import CLASSES, leaves, random_labels, random_taps

DTYPES = pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
RANKS = 2


class TestContract(MethodContract):
    config = cirkd.Config()
    zero_at_equality = False  # the projection makes another vector of the student's
    additive = False  # pairs of images; and what a rank normalises by and remembers


class TestContractOfTheMinibatch(MethodContract):
    config = cirkd.Config(pool=2, weights=cirkd.Weights(pixel_memory=0, region_memory=0))
    additive = False  # compares images of one rank with each other; with span_ranks, see the test of two processes


class TestContractOfTheMemories(LabelledMethodContract):
    config = cirkd.Config(kd_temperature=2.0, weights=cirkd.Weights(minibatch=0))
    zero_at_equality = False
    additive = False
    blind_to_unlabelled = False  # the projection's batch normalisation sees all pixels, as published


class TestContractOfThePublishedMemories(TestContractOfTheMemories):
    config = cirkd.Config(
        fill="published",
        contrast_unfilled=True,
        pixel_memory_size=30,
        region_memory_size=3,
        weights=cirkd.Weights(minibatch=0),
    )


def unit(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(shape, generator=generator, dtype=torch.float64), dim=1)


def naive_kl(student: Tensor, teacher: Tensor) -> float:
    """KL(teacher || student) of the softmax of two lists of logits, one entry at a time."""
    ours, theirs = ([math.exp(z - max(row)) for z in row] for row in (student.tolist(), teacher.tolist()))
    return sum(t / sum(theirs) * math.log(t / sum(theirs) / (s / sum(ours))) for s, t in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("temperature", [0.05, 0.1, 3.0])
def test_minibatch_contrast_is_that_of_every_pixel_with_every_image(temperature: float) -> None:
    student, teacher = torch.randn(3, 4, 2, 3, dtype=torch.float64), torch.randn(3, 6, 2, 3, dtype=torch.float64)
    ours, theirs = ([F.normalize(x.flatten(1), dim=0).T for x in maps] for maps in (student, teacher))
    expected = sum(
        naive_kl(ours[j] @ ours[i][n] / temperature, theirs[j] @ theirs[i][n] / temperature) / (9 * 6)
        for i in range(3)
        for j in range(3)
        for n in range(6)
    )
    mean = cirkd.minibatch_contrast(student, teacher, temperature=temperature)
    assert mean.value.item() == pytest.approx(expected, rel=1e-10)
    assert mean.count == 3 * 6


def test_memory_contrast_is_that_of_every_row_with_the_bank() -> None:
    student, teacher, bank = unit(7, 5), unit(7, 5, seed=1), unit(11, 5, seed=2)
    expected = sum(naive_kl(bank @ s / 0.3, bank @ t / 0.3) for s, t in zip(student, teacher, strict=True))
    mean = cirkd.memory_contrast(student, teacher, bank, temperature=0.1, kd_temperature=3.0)
    assert mean.value.item() == pytest.approx(9 * expected / 7, rel=1e-10)
    assert mean.count == 7


def test_masks_do_what_indexing_does() -> None:
    student, teacher, bank = unit(7, 5).requires_grad_(), unit(7, 5, seed=1), unit(11, 5, seed=2)
    counted, usable = torch.arange(7) % 3 > 0, torch.arange(11) % 4 > 0
    masked = cirkd.memory_contrast(student, teacher, bank, counted=counted, usable=usable)
    indexed = cirkd.memory_contrast(student[counted], teacher[counted], bank[usable])
    assert masked.count == indexed.count == 4
    assert masked.value.item() == pytest.approx(indexed.value.item(), rel=1e-12)
    gradients = [torch.autograd.grad(mean.value, student)[0] for mean in (masked, indexed)]
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("rows", [0, 5])
@pytest.mark.parametrize("keys", [0, 3])
def test_nothing_to_compare_gives_zero_with_a_live_graph(rows: int, keys: int) -> None:
    student, teacher, bank = unit(rows, 4).requires_grad_(), unit(rows, 4, seed=1), unit(keys, 4)
    usable = torch.zeros(keys, dtype=torch.bool)
    mean = cirkd.memory_contrast(student, teacher, bank, usable=usable)
    assert mean.value == 0
    (gradient,) = torch.autograd.grad(mean.value, student)
    assert gradient.shape == (rows, 4) and not gradient.any()


def test_gradients_are_those_of_finite_differences(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contrast, "CHUNK", 20)  # several chunks, the last one short
    teacher, bank, masks = unit(7, 5, seed=1), unit(6, 5, seed=2), torch.tensor([True, False, True, True, True, True])
    student = torch.randn(7, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda rows: cirkd.memory_contrast(rows, teacher, bank, temperature=0.5, usable=masks).total, student
    )
    maps = torch.randn(2, 3, 2, 3, dtype=torch.float64, requires_grad=True)
    other = torch.randn(2, 4, 2, 3, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda s: cirkd.minibatch_contrast(s, other, temperature=0.5).value, maps)


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    student, teacher = torch.randn(2, 4, 5, 7, requires_grad=True), torch.randn(2, 6, 5, 7)
    found = []
    for chunk in (contrast.CHUNK, 70 * 9, 1):
        monkeypatch.setattr(contrast, "CHUNK", chunk)
        value = cirkd.minibatch_contrast(student, teacher).value
        found.append((value, *torch.autograd.grad(value, student)))
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("temperature", [0.01, 0.1, 1.0])
def test_float32_follows_float64(temperature: float) -> None:
    taps = random_taps({"student": 8, "teacher": 8, "features": 1}, 0)
    found = []
    for dtype in (torch.float64, torch.float32):
        student = leaves(taps, dtype)["student"]
        value = cirkd.minibatch_contrast(student, taps["teacher"].to(dtype), temperature=temperature).value
        found.append((value.double(), torch.autograd.grad(value, student)[0].double()))
    assert found[1][0].item() == pytest.approx(found[0][0].item(), rel=1e-5)
    assert (found[1][1] - found[0][1]).abs().max() <= 1e-4 * found[0][1].abs().max()


def test_contrast_refuses_maps_of_different_sizes() -> None:
    with pytest.raises(ValueError, match=r"one size.*same output stride"):
        cirkd.minibatch_contrast(torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 8, 8))
    method = cirkd.Method(
        cirkd.Config(weights=cirkd.Weights(minibatch=0)),
        student_channels={"features": 3},
        teacher_channels={"features": 3},
        num_classes=2,
    )
    taps = [{"features": torch.rand(2, 3, size, size)} for size in (4, 8)]
    with pytest.raises(ValueError, match=r"one size.*same output stride"):
        method.terms(*taps, torch.zeros(2, 64, 64, dtype=torch.int64))


@DTYPES
@pytest.mark.parametrize("case", golden("CIRKD_MINIBATCH", "CIRKD_MINIBATCH_POOL"))
def test_agrees_with_published_minibatch_contrast(case: dict[str, Any], dtype: torch.dtype) -> None:
    reference = Reference(case, dtype)
    (student,) = reference.leaves("feat_s")
    mean = cirkd.minibatch_contrast(
        student, reference["feat_t"], temperature=case["params"]["temperature"], pool=case["params"].get("pool", 1)
    )
    reference.agrees(mean.value, feat_s=student)


def published(reference: Reference, *, pixels: str, regions: str) -> cirkd.Method:
    """With the case's projection, and banks that hold what it names, all of them contrasted with."""
    params, (classes, pixel_size, channels) = reference.params, reference[pixels].shape
    config = cirkd.Config(
        temperature=params["contrast_temperature"],
        kd_temperature=params["contrast_kd_temperature"],
        pixel_memory_size=pixel_size,
        region_memory_size=params["region_memory_size"],
        pixel_contrast_size=pixel_size * classes,
        region_contrast_size=params["region_memory_size"] * classes,
        fill="published",
        contrast_unfilled=True,
        weights=cirkd.Weights(minibatch=0),
    )
    student = {"features": reference["feat_s"].shape[1]}
    method = cirkd.Method(
        config, student_channels=student, teacher_channels={"features": channels}, num_classes=classes
    )
    method = method.to(reference.dtype)
    state = method.state_dict()
    for name, key in PROJECTION.items():
        state[name].copy_(reference[key])
    for name, key in (("pixel", pixels), ("region", regions)):
        state[f"banks.{name}_memory.rows"].copy_(reference[key])
        state[f"banks.{name}_memory.pointer"].fill_(params[f"{name}_ptr_before"])
    return method


PROJECTION = {
    "projection.conv1.weight": "proj_conv1_w",
    "projection.bn.weight": "proj_bn_w",
    "projection.bn.bias": "proj_bn_b",
    "projection.conv2.weight": "proj_conv2_w",
}


def agree(method: cirkd.Method, reference: Reference, means: dict[str, Mean], student: Tensor) -> None:
    """Losses, and the gradients of the student and of what of the projection the case has."""
    loose = 1e-7 if reference.dtype == torch.float64 else reference.tolerance["f32_loss_rtol"]
    for name in ("pixel", "region"):
        expected = float(reference.stored[f"out_{name}_loss"])
        assert means[f"{name}_memory"].value.item() == pytest.approx(expected, rel=loose)
    loss = 0.1 * means["pixel_memory"].value + 0.1 * means["region_memory"].value
    parameters = {PROJECTION[name]: parameter for name, parameter in method.named_parameters()}
    known = {name: tensor for name, tensor in parameters.items() if f"grad_{name}" in reference.stored}
    reference.agrees(loss, feat_s=student, **known)


@DTYPES
@pytest.mark.parametrize("case", golden("CIRKD_MEMORY"))
def test_agrees_with_published_memories(case: dict[str, Any], dtype: torch.dtype) -> None:
    reference = Reference(case, dtype)
    method = published(reference, pixels="pixel_queue_before", regions="region_queue_before")
    (student,) = reference.leaves("feat_s")
    means = method.terms({"features": student}, {"features": reference["feat_t"]}, reference.labels)
    agree(method, reference, means, student)
    for name in ("pixel", "region"):
        bank, after = method.banks[f"{name}_memory"], reference[f"out_{name}_queue_after"]
        assert bank.pointer.tolist() == reference.stored[f"out_{name}_ptr_after"].tolist()
        distance = torch.cdist(bank.rows, after).detach()  # the order within an image and class is random
        assert distance.amin(1).max() < 1e-3 and distance.amin(2).max() < 1e-3
    torch.testing.assert_close(bank.rows, after, rtol=0, atol=1e-6)


@DTYPES
@pytest.mark.parametrize("case", golden("CIRKD_MEMORY_FIXEDBANK"))
def test_agrees_with_published_contrast_of_a_sound_bank(case: dict[str, Any], dtype: torch.dtype) -> None:
    reference = Reference(case, dtype)
    method = published(reference, pixels="pixel_bank", regions="region_bank")
    for bank in method.banks.values():
        bank.update = lambda features, labels: None  # type: ignore[assignment,union-attr]
    (student,) = reference.leaves("feat_s")
    means = method.terms({"features": student}, {"features": reference["feat_t"]}, reference.labels)
    agree(method, reference, means, student)


@pytest.mark.parametrize("case", golden("CIRKD_MEMORY"))
def test_by_class_fills_the_sound_bank(case: dict[str, Any]) -> None:
    before = Reference(case)
    after = arrays({"file": case["file"].replace("CIRKD_MEMORY", "CIRKD_MEMORY_FIXEDBANK")})
    bank = cirkd.PixelBank(*before["pixel_queue_before"].shape, contrast_size=9, contrast_unfilled=True).double()
    bank.rows.copy_(before["pixel_queue_before"])
    features = F.normalize(before["feat_t"], dim=1)
    bank.update(features, resized_labels(before.labels, (features.shape[2], features.shape[3])))
    distance = torch.cdist(bank.rows, torch.from_numpy(after["pixel_bank"]).double())
    assert distance.amin(1).max() < 1e-6 and distance.amin(2).max() < 1e-6


def marked_pixels(labels: Tensor) -> Tensor:
    """Features [B, 3, h, w] that say where they come from: the label, the position, the image."""
    positions = torch.arange(labels[0].numel()).view_as(labels[0]).expand_as(labels)
    images = torch.arange(len(labels))[:, None, None].expand_as(labels)
    return torch.stack([labels, positions, images], 1).float()


def test_pixels_of_the_class_enter_without_repetition() -> None:
    labels = resized_labels(random_labels(0), (9, 13))
    bank = cirkd.PixelBank(CLASSES, 60, 3, contrast_size=0, pixels_per_class=4)
    bank.update(marked_pixels(labels), labels)
    for number, (rows, written) in enumerate(zip(bank.rows, bank.written, strict=True)):
        available = [int((image == number).sum()) for image in labels]
        entered = rows[:written].tolist()
        assert [sum(row[2] == image for row in entered) for image in range(3)] == [min(n, 4) for n in available]
        assert {row[0] for row in entered} == {number}
        assert len({tuple(row) for row in entered}) == len(entered)
        assert not rows[written:].any()


def test_every_pixel_of_a_class_is_as_likely() -> None:
    labels = torch.zeros(1, 1, 8, dtype=torch.int64)
    seen = torch.zeros(8)
    bank = cirkd.PixelBank(1, 2, 3, contrast_size=0, pixels_per_class=2)
    for _ in range(400):
        bank.update(marked_pixels(labels), labels)
        seen[bank.rows[0, :, 1].long()] += 1
    assert seen.sum() == 800 and (seen - 100).abs().max() < 35


def test_published_fill_takes_the_first_positions_and_wraps_early() -> None:
    labels = torch.tensor([[[1, 1, 1, 0, 0, 1]]]).repeat(3, 1, 1)
    bank = cirkd.PixelBank(2, 5, 3, contrast_size=0, pixels_per_class=4, fill="published")
    features = marked_pixels(labels)
    bank.update(features[:1], labels[:1])
    assert bank.rows[0, :2, 1].sort().values.tolist() == [0, 1]  # of label 1
    assert bank.rows[1, :4, 1].sort().values.tolist() == [0, 1, 2, 3]
    assert bank.pointer.tolist() == bank.written.tolist() == [2, 4]
    bank.update(features[1:], labels[1:])
    # class 0, two pixels each: slots 0 to 1, 2 to 3, and as 4 + 2 >= 5, the last two again
    assert bank.rows[0, :, 2].tolist() == [0, 0, 1, 2, 2]
    # class 1, four pixels each: slots 0 to 3, as 4 + 4 >= 5 the last four, and 0 to 3 again
    assert bank.rows[1, :, 2].tolist() == [2, 2, 2, 2, 1]
    assert bank.pointer.tolist() == [0, 4]
    assert bank.written.tolist() == [5, 5]


def naive_ring(entries: Entries, size: int) -> list[list[float]]:
    """One write at a time."""
    rings = [[0.0] * size for _ in range(entries.valid.shape[1])]
    for c, ring in enumerate(rings):
        values = entries.rows[:, c, :, 0][entries.valid[:, c]].tolist()
        for number, value in enumerate(values):
            ring[number % size] = value
    return rings


@pytest.mark.parametrize("size", [1, 4, 7, 50])
def test_the_ring_keeps_the_last(size: int) -> None:
    generator = torch.Generator().manual_seed(size)
    steps = [
        Entries(torch.rand(3, 2, 5, 1, generator=generator), torch.rand(3, 2, 5, generator=generator) < 0.6)
        for _ in range(4)
    ]
    bank = cirkd.RegionBank(2, size, 1, contrast_size=0)
    for step in steps:
        bank.append(step)
    together = Entries(*(torch.cat(parts) for parts in zip(*steps, strict=True)))
    entered = together.valid.sum((0, 2))
    assert torch.equal(bank.rows[..., 0], torch.tensor(naive_ring(together, size)))
    assert bank.pointer.tolist() == (entered % size).tolist()
    assert bank.written.tolist() == entered.clamp(max=size).tolist()


def test_a_region_is_the_normalised_mean_of_unit_vectors() -> None:
    labels = resized_labels(random_labels(0), (9, 13))
    features = F.normalize(torch.randn(3, 4, 9, 13, dtype=torch.float64), dim=1)
    bank = cirkd.RegionBank(CLASSES, 6, 4, contrast_size=0).double()
    bank.update(features, labels)
    for number in range(CLASSES):
        images = [b for b in range(3) if (labels[b] == number).any()]
        means = [features[b][:, labels[b] == number].mean(1) for b in images]
        expected = torch.stack([mean / mean.norm() for mean in means])
        torch.testing.assert_close(bank.rows[number, : len(images)], expected)
        assert bank.written[number] == len(images)


def test_samples_are_the_same_slots_of_every_class_and_change_by_step() -> None:
    bank = cirkd.RegionBank(3, 20, 1, contrast_size=3 * 7, contrast_unfilled=True)
    bank.rows.copy_(torch.arange(20.0)[:, None].expand(3, -1, -1))
    drawn = []
    for step in range(2):
        bank.step.fill_(step)
        rows, usable = bank.sample()
        slots = rows.view(3, 8).tolist()
        assert usable is None
        assert slots[0] == slots[1] == slots[2] and len(set(slots[0])) == 8
        drawn.append(slots[0])
    assert drawn[0] != drawn[1]


def test_slots_never_written_are_not_contrasted_with() -> None:
    bank = cirkd.RegionBank(3, 20, 1, contrast_size=3 * 7)
    bank.rows.fill_(math.nan)
    bank.written.copy_(torch.tensor([0, 3, 20]))
    for c, written in enumerate(bank.written):
        bank.rows[c, :written] = 1.0 + c
    rows, usable = bank.sample()
    assert usable is not None
    assert usable.view(3, 8).sum(1).tolist() == [0, 3, 8]
    assert sorted(rows[usable, 0].tolist()) == [2.0] * 3 + [3.0] * 8


def small_method(seed: int = 0, **options: Any) -> cirkd.Method:
    torch.manual_seed(seed)
    config = cirkd.Config(pixel_memory_size=40, region_memory_size=4, pixel_contrast_size=50, **options)
    channels = [{"features": count} for count in (6, 8)]
    return cirkd.Method(config, student_channels=channels[0], teacher_channels=channels[1], num_classes=CLASSES)


def taps_of(step: int) -> tuple[Taps, Taps, Tensor]:
    student, teacher = (random_taps({"features": count}, 2 * step + i) for i, count in enumerate((6, 8)))
    return leaves(student), teacher, random_labels(step)


def outcome(method: cirkd.Method, step: int) -> list[Tensor]:
    student, teacher, labels = taps_of(step)
    means = method.terms(student, teacher, labels)
    torch.stack([mean.value for mean in means.values()]).sum().backward()
    return [*(mean.value.detach() for mean in means.values()), student["features"].grad, *method.state_dict().values()]


@pytest.mark.parametrize("options", [{}, {"fill": "published", "contrast_unfilled": True}])
def test_a_restored_method_goes_on_bit_for_bit(options: dict[str, Any]) -> None:
    straight, resumed = small_method(**options), small_method(1, **options)
    for step in range(3):
        outcome(straight, step)
    resumed.load_state_dict(copy.deepcopy(straight.state_dict()))
    for step in range(3, 6):
        for ours, theirs in zip(outcome(straight, step), outcome(resumed, step), strict=True):
            assert torch.equal(ours, theirs)


@pytest.mark.parametrize("part", ["rows", "pointer", "written", "step"])
def test_each_part_of_a_bank_decides(part: str) -> None:
    straight = small_method()
    for step in range(3):
        outcome(straight, step)
    lacking = copy.deepcopy(straight)
    getattr(lacking.banks["pixel_memory"], part).zero_()
    pairs = zip(outcome(straight, 3), outcome(lacking, 3), strict=True)
    assert not all(torch.equal(ours, theirs) for ours, theirs in pairs)


def test_an_unlabelled_start_is_no_trouble() -> None:
    method = small_method()
    student, teacher, labels = taps_of(0)
    for target in (torch.full_like(labels, IGNORE), labels):
        means = method.terms(student, teacher, target)
        total = means["pixel_memory"].value + means["region_memory"].value
        (gradient,) = torch.autograd.grad(total, student["features"])
        assert gradient.isfinite().all()
        assert bool(gradient.any()) == bool(total > 0) == (target is labels)
    assert all(bank.step == 2 for bank in method.banks.values())


def test_unlabelled_pixels_reach_the_memories_through_the_batch_statistics_alone() -> None:
    student, teacher, labels = taps_of(0)
    labels[:, :, 40:] = IGNORE
    found = []
    for factor in (1, -2):
        method = small_method(weights=cirkd.Weights(minibatch=0)).eval()
        nets = [
            {"features": torch.cat([t["features"][..., :6], factor * t["features"][..., 6:]], -1)}
            for t in (student, teacher)
        ]
        found.append([mean.value.item() for mean in method.terms(nets[0], nets[1], labels).values()])
    assert found[0] == pytest.approx(found[1], rel=1e-6)


def test_a_term_without_weight_leaves_no_trace() -> None:
    alone = small_method(weights=cirkd.Weights(pixel_memory=0, region_memory=0))
    assert not alone.state_dict()
    regions = small_method(weights=cirkd.Weights(minibatch=0, pixel_memory=0))
    assert list(regions.banks) == ["region_memory"]
    assert regions.projection is not None


def halves() -> list[tuple[Taps, Taps, Tensor]]:
    """The parts of a batch of four that two ranks get."""
    parts = [taps_of(step) for step in range(2)]
    student, teacher = (
        {"features": torch.cat([part[net]["features"].detach()[:2] for part in parts])} for net in (0, 1)
    )
    labels = torch.cat([part[2][:2] for part in parts])
    cuts = [slice(2 * rank, 2 * rank + 2) for rank in range(RANKS)]
    return [
        (leaves({"features": student["features"][cut]}), {"features": teacher["features"][cut]}, labels[cut])
        for cut in cuts
    ]


def spanning_method() -> cirkd.Method:
    method = small_method(span_ranks=True, pixels_per_class=3)
    return method.eval()  # stored batch statistics, so that ranks and one process normalise alike


def means_and_gradient(parts: list[tuple[Taps, Taps, Tensor]]) -> dict[str, Any]:
    """Two steps over the parts as one batch: the second's losses, gradient of the student, and the method's state."""
    method = spanning_method()
    student, teacher = ({"features": torch.cat([part[net]["features"].detach() for part in parts])} for net in (0, 1))
    labels = torch.cat([part[2] for part in parts])
    for _ in range(2):
        taps = leaves(student)
        values = global_means(method.terms(taps, teacher, labels))
        torch.stack(list(values.values())).sum().backward()
    losses = {name: value.detach() for name, value in values.items()}
    return {"losses": losses, "gradient": taps["features"].grad, "state": method.state_dict()}


def rank_main(rank: int, folder: Path) -> None:
    """What each process does; leaves `<rank>.pt`."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=RANKS)
    torch.save(means_and_gradient([halves()[rank]]), folder / f"{rank}.pt")
    dist.destroy_process_group()


def test_two_ranks_make_one_where_the_contrast_spans_them(tmp_path: Path) -> None:
    spawn(rank_main, args=(tmp_path,), nprocs=RANKS)  # type: ignore[no-untyped-call]
    ranks = [torch.load(tmp_path / f"{rank}.pt") for rank in range(RANKS)]
    alone = means_and_gradient(halves())
    for name, buffer in alone["state"].items():
        assert torch.equal(ranks[0]["state"][name], ranks[1]["state"][name]), name
        torch.testing.assert_close(ranks[0]["state"][name], buffer, rtol=0, atol=1e-6)
    for name, loss in alone["losses"].items():
        average = sum(rank["losses"][name] for rank in ranks) / RANKS
        torch.testing.assert_close(average, loss, rtol=1e-5, atol=0)
    # DistributedDataParallel divides the sum of the ranks' gradients by their number
    gradient = torch.cat([rank["gradient"] for rank in ranks]) / RANKS
    assert (gradient - alone["gradient"]).abs().max() < 1e-5 * alone["gradient"].abs().max()


def test_banks_are_modules_that_a_checkpoint_holds() -> None:
    method = small_method()
    assert all(isinstance(bank, MemoryBank) for bank in method.banks.values())
    saved = {name: tensor for name, tensor in method.state_dict().items() if name.startswith("banks.")}
    parts = {"rows": torch.float32, "pointer": torch.int64, "written": torch.int64, "step": torch.int64}
    assert {name: tensor.dtype for name, tensor in saved.items()} == {
        f"banks.{bank}.{part}": dtype for bank in method.banks for part, dtype in parts.items()
    }


@pytest.mark.parametrize(("gib", "chunk"), [(1, 2**22), (8, 2**24), (11, 2**25), (23, 2**26), (141, 2**26)])
def test_a_gpu_computes_as_many_similarities_at_a_time_as_its_memory_suggests(
    monkeypatch: pytest.MonkeyPatch, gib: int, chunk: int
) -> None:
    properties = type("Properties", (), {"total_memory": gib * 2**30})
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: properties)
    assert contrast.chunk_size(torch.device("cuda", 0)) == chunk
    assert chunk * contrast.ALIVE <= max(gib * 2**30 / contrast.SHARE, 2**26)
    assert contrast.chunk_size(torch.device("cpu")) == contrast.CHUNK


def test_half_banks_change_little_and_are_restored_bit_for_bit() -> None:
    whole, half, restored = small_method(), small_method(half_banks=True), small_method(1, half_banks=True)
    for step in range(3):
        expected, found = outcome(whole, step)[:3], outcome(half, step)[:3]
        assert torch.equal(found[0], expected[0])  # the mini-batch term has no bank
        assert all(torch.allclose(ours, theirs, rtol=2e-3) for ours, theirs in zip(found, expected, strict=True))
    restored.load_state_dict(copy.deepcopy(half.state_dict()))
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(outcome(half, 3), outcome(restored, 3), strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_half_banks_are_float16_in_a_method_of_any_type(dtype: torch.dtype) -> None:
    method = small_method(half_banks=True).to(dtype)
    assert method.projection[0].weight.dtype == dtype
    assert [bank.rows.dtype for bank in method.banks.values()] == [torch.float16] * 2
    assert [bank.rows.dtype for bank in small_method().to(dtype).banks.values()] == [dtype] * 2
