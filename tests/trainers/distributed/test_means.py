import pytest
import torch

from trainers.distributed.means import Mean, at_least_float32, global_means


def test_a_mean_is_total_over_count() -> None:
    assert Mean(torch.tensor(6.0), torch.tensor(4)).value == 1.5


def test_a_mean_of_nothing_is_zero_with_a_live_graph() -> None:
    weight = torch.tensor(2.0, requires_grad=True)
    for value in (
        Mean(weight * 0, torch.tensor(0)).value,
        global_means({"loss": Mean(weight * 0, torch.tensor(0))})["loss"],
    ):
        assert value == 0
        (gradient,) = torch.autograd.grad(value, weight)
        assert gradient == 0
    assert Mean(torch.tensor(torch.nan), torch.tensor(0)).value == 0


def test_one_rank_alone_has_the_global_means() -> None:
    means = {
        "first": Mean(torch.tensor(6.0), torch.tensor(4)),
        "second": Mean(torch.tensor(1.0, dtype=torch.float64), torch.tensor(3.0)),
    }
    divided = global_means(means)
    assert list(divided) == ["first", "second"]
    assert divided["first"] == 1.5 and divided["first"].dtype == torch.float32
    assert divided["second"].item() == pytest.approx(1 / 3, rel=1e-15)
    assert global_means({}) == {}


@pytest.mark.parametrize(
    ("given", "lifted"),
    [
        (torch.bfloat16, torch.float32),
        (torch.float16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_losses_are_computed_in_single_precision_at_least(given: torch.dtype, lifted: torch.dtype) -> None:
    assert at_least_float32(torch.ones(2, dtype=given)).dtype == lifted
