from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.conftest import golden
from tests.golden_cases import Reference
from trainers.methods import skd
from trainers.methods.discriminator import enlarged
from trainers.testing import MethodContract
from trainers.testing.taps import leaves

DTYPES = pytest.mark.parametrize("dtype", [torch.float64, torch.float32])


class TestContractWithoutDiscriminator(MethodContract):
    config = skd.Config(weights=skd.Weights(holistic=0))


class TestContract(MethodContract):
    config = skd.Config()
    zero_at_equality = False  # a score has none
    additive = False  # the discriminator's batch normalisation sees one rank's images


class TestContractOfThePublishedAffinity(MethodContract):
    config = skd.Config(pool=0.5, detach_norm=True, weights=skd.Weights(pixel=0, holistic=0))


def naive_affinity(student: Tensor, teacher: Tensor) -> float:
    """Of nodes [B, C, h, w] that need no pooling, one pair at a time."""
    total, batch, nodes = 0.0, len(student), student[0, 0].numel()
    for b in range(batch):
        s, t = student[b].flatten(1).T, teacher[b].flatten(1).T
        for i in range(nodes):
            for j in range(nodes):
                ours = float(torch.dot(s[i], s[j]) / (s[i].norm() * s[j].norm()))
                theirs = float(torch.dot(t[i], t[j]) / (t[i].norm() * t[j].norm()))
                total += (ours - theirs) ** 2
    return total / (batch * nodes**2)


def test_affinity_is_that_of_every_pair() -> None:
    student = torch.randn(2, 5, 3, 4, dtype=torch.float64)
    teacher = torch.randn(2, 7, 3, 4, dtype=torch.float64)
    mean = skd.pairwise_affinity(student, teacher, pool=1)
    assert mean.value.item() == pytest.approx(naive_affinity(student, teacher), rel=1e-10)
    assert mean.count == 2 * 12 * 12


def test_affinity_of_float32_keeps_small_differences() -> None:
    student = torch.rand(2, 16, 20, 20)
    teacher = student + 1e-4 * torch.randn(2, 16, 20, 20)
    exact = skd.pairwise_affinity(student.double(), teacher.double()).value.item()
    assert skd.pairwise_affinity(student, teacher).value.item() == pytest.approx(exact, rel=1e-4)


def test_affinity_refuses_maps_of_different_sizes() -> None:
    with pytest.raises(ValueError, match=r"one size.*same output stride"):
        skd.pairwise_affinity(torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 8, 8))


@DTYPES
@pytest.mark.parametrize("case", golden("SKD_PAIRWISE"))
def test_agrees_with_published_affinity(case: dict[str, Any], dtype: torch.dtype) -> None:
    reference = Reference(case, dtype)
    (student,) = reference.leaves("feat_s")
    pool = reference.params.get("pool_scale", reference.params.get("pool"))
    mean = skd.pairwise_affinity(student, reference["feat_t"], pool=pool, detach_norm="norm_detached" in case["params"])
    reference.agrees(mean.value, feat_s=student)


def discriminator(case: dict[str, Any], classes: int, dtype: torch.dtype) -> skd.Discriminator:
    """With weights by the rule that comes with the cases."""
    network = skd.Discriminator(classes)
    order = case["state_dict_order"]
    state = network.state_dict()
    assert [[name, list(tensor.shape)] for name, tensor in state.items()] == order
    for position, (name, shape) in enumerate(order):
        random = np.random.RandomState(case["params"]["weight_seed"] * 1000 + position)
        values = np.asarray(random.standard_normal(shape))
        if name.endswith("gamma"):
            values = np.full(shape, 0.5)
        elif name.endswith(("_u", "_v")):
            values = values / np.linalg.norm(values)
        elif len(shape) == 4:
            values = values / np.sqrt(np.prod(shape[1:]))
        elif name == "preprocess_additional.weight":
            values = 1 + 0.1 * values
        elif "running" in name or "num_batches" in name:
            continue
        else:
            values = 0.1 * values
        state[name].copy_(torch.from_numpy(values.astype(np.float32)))
    return network.to(dtype)


def agree(found: Tensor, stored: Tensor, tolerance: float) -> None:
    assert (found.double() - stored.double()).abs().max() <= tolerance * stored.abs().max()


@DTYPES
@pytest.mark.parametrize("case", golden("ADV"))
def test_agrees_with_the_published_game(case: dict[str, Any], dtype: torch.dtype) -> None:
    reference = Reference(case, dtype)
    (student,) = reference.leaves("logits_s")
    network = discriminator(case, student.shape[1], dtype)
    exact = dtype == torch.float64
    loose = 1e-6 if exact else 1e-3
    generator = skd.generator_loss(network(student))
    reference.agrees(generator.value, logits_s=student)
    fake, real = network(student.detach()), network(reference["logits_t"])
    for kind, name in (("hinge", "out_d_loss_hinge"), ("wgan", "out_d_loss_wgan_no_gp")):
        loss = skd.discriminator_loss(fake, real, kind=kind).value  # type: ignore[arg-type]
        assert loss.item() == pytest.approx(float(reference.stored[name]), rel=1e-7 if exact else 1e-4, abs=1e-6)
    skd.discriminator_loss(fake, real, kind="hinge").value.backward()
    agree(network.last[0].weight.grad, reference["out_dgrad_last_weight"], loose)
    agree(network.l1[0].module.weight_bar.grad, reference["out_dgrad_l1_weight_bar"], loose)
    checksums = [float(tensor.double().abs().sum()) for tensor in network.state_dict().values()]
    np.testing.assert_allclose(checksums, reference.stored["out_weight_checksum"], rtol=1e-6 if exact else 1e-4)


@DTYPES
@pytest.mark.parametrize("case", golden("ADV_GP"))
def test_agrees_with_the_published_penalty(case: dict[str, Any], dtype: torch.dtype) -> None:
    reference = Reference(case, dtype)
    student, teacher = reference["logits_s"], reference["logits_t"]
    network = discriminator(case, student.shape[1], dtype)
    penalty = skd.gradient_penalty(network, student, teacher, reference["alpha"], weight=case["params"]["lambda_gp"])
    reference.agrees(penalty.value)
    penalty.value.backward()
    loose = 1e-6 if dtype == torch.float64 else 1e-3
    agree(network.last[0].weight.grad, reference["out_dgrad_last_weight"], loose)
    agree(network.l1[0].module.weight_bar.grad, reference["out_dgrad_l1_weight_bar"], loose)


def test_the_spectral_norm_becomes_the_largest_singular_value() -> None:
    network = skd.Discriminator(3)
    for _ in range(200):
        network(torch.randn(1, 3, 64, 64))
    layer = network.l2[0]
    matrix = layer.module.weight_bar.flatten(1)
    found = layer.module.weight_u @ matrix @ layer.module.weight_v
    assert found.item() == pytest.approx(torch.linalg.matrix_norm(matrix, 2).item(), rel=1e-3)


def test_small_logits_are_enlarged_to_what_the_discriminator_can_take() -> None:
    assert enlarged(torch.zeros(1, 3, 10, 90)).shape[-2:] == (64, 90)
    large = torch.zeros(1, 3, 64, 80)
    assert enlarged(large) is large
    assert skd.Discriminator(3)(enlarged(torch.zeros(2, 3, 9, 13))).shape == (2, 1, 1, 1)


@pytest.mark.parametrize("kind", ["wgan-gp", "hinge", "wgan"])
def test_the_critic_learns_to_tell_student_from_teacher(kind: Any) -> None:
    torch.manual_seed(0)
    critic = skd.Critic(skd.DiscriminatorConfig(loss=kind), 3)
    taps = [{"logits": scale * torch.randn(4, 3, 16, 16)} for scale in (0.1, 3.0)]
    optimizer = critic.optimizer()
    losses = []
    for _ in range(12):
        critic.unfreeze()
        terms = critic(*taps)
        optimizer.zero_grad()
        torch.stack([mean.value for mean in terms.values()]).sum().backward()
        optimizer.step()
        critic.freeze()
        losses.append(terms["discriminator"].value.item())
    assert losses[-1] < losses[0]
    assert ("penalty" in terms) == (kind == "wgan-gp")
    fake, real = (critic.network(enlarged(tap["logits"])).mean() for tap in taps)
    assert real > fake
    assert not any(parameter.requires_grad for parameter in critic.parameters())


def test_the_students_gradient_comes_through_a_frozen_critic() -> None:
    critic = skd.Critic(skd.DiscriminatorConfig(), 3)
    logits = leaves({"logits": torch.randn(2, 3, 9, 13)})["logits"]
    skd.generator_loss(critic.network(enlarged(logits))).value.backward()
    assert logits.grad is not None
    assert logits.grad.any()
    assert all(parameter.grad is None for parameter in critic.parameters())


def test_learning_rates() -> None:
    for decay, half in (("none", 4e-4), ("poly", 4e-4 * 0.5**0.9)):
        critic = skd.Critic(skd.DiscriminatorConfig(decay=decay), 3)  # type: ignore[arg-type]
        assert critic.rate(0, 10) == pytest.approx(4e-4)
        assert critic.rate(5, 10) == pytest.approx(half)
    sgd = skd.Critic(skd.DiscriminatorConfig(optimizer="sgd", weight_decay=5e-4), 3).optimizer()
    assert isinstance(sgd, torch.optim.SGD)
    assert sgd.defaults["weight_decay"] == 5e-4


def test_a_term_without_weight_leaves_no_trace() -> None:
    config = skd.Config(weights=skd.Weights(pixel=0, holistic=0))
    channels = {"logits": 3, "features": 4}
    method = skd.Method(config, student_channels=channels, teacher_channels=channels, num_classes=3)
    assert config.taps == ("features",)
    assert method.adversary is None
    assert not list(method.parameters())
