import json

import pytest

from study.__main__ import main
from trainers.costs import network as network_cost
from trainers.models import papers, profile
from trainers.models.papers import Row, Table

TINY = "deeplabv3(mobilenetv2_035, head_channels=16)"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Latency in a second, however noisy the machine."""
    measure = network_cost.latency
    monkeypatch.setattr(network_cost, "latency", lambda *args, **options: measure(*args, **options, seconds=1))


def test_a_network_is_described_at_one_size(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", TINY, "--size", "64x96", "--classes", "5", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    config = profile.models.named(TINY)
    counted = profile.macs(config, size=(64, 96), num_classes=5)
    assert (found["model"], found["classes"]) == (TINY, 5)
    assert found["parameters"] == profile.parameters(config, num_classes=5)
    assert found["dilation_blind_macs"] == {"size": [64, 96], "macs": counted.dilation_blind}
    assert found["convolution_macs"] == {"size": [64, 96], "macs": counted.convolutions}
    assert found["exact_macs"] == {"size": [64, 96], "macs": counted.exact}
    memory = network_cost.peak_bytes(config, size=(64, 96), num_classes=5, batch=2)
    assert found["training_step"] == {"size": [64, 96], "batch": 2, "peak_mib": memory / 2**20}
    assert found["latency"]["size"] == [64, 96] and found["latency"]["median_ms"] > 0


def test_by_default_each_convention_has_its_papers_size(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", TINY]) == 0
    shown = capsys.readouterr().out
    config = profile.models.named(TINY)
    blind = profile.macs(config, size=(1024, 2048), num_classes=19).dilation_blind / 1e9
    exact = profile.macs(config, size=(512, 1024), num_classes=19).exact / 1e9
    assert f"MACs, dilation-blind (CIRKD, RDD): {blind:.3f} G at 1024x2048\n" in shown
    assert f"MACs, exact: {exact:.3f} G at 512x1024\n" in shown
    assert f"parameters: {profile.parameters(config, num_classes=19):,}\n" in shown


def test_the_papers_figures_stand_beside_ours(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = (Row("right", TINY, None, "0.3"), Row("wrong", TINY, "28.30", "0.3"))
    count = profile.parameters(profile.models.named(TINY), num_classes=2) / 1e6
    table = Table(title="ours", size=(64, 96), classes=2, convention="convolutions", rows=rows, note="a note")
    monkeypatch.setattr(papers, "TABLES", (table,))
    assert main(["profile", "--papers"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    counted = profile.macs(profile.models.named(TINY), size=(64, 96), num_classes=2).convolutions / 1e9
    assert ["right", "0.3", f"{count:.3f}", "-", f"{counted:.3f}"] in lines
    assert ["wrong", "0.3", f"{count:.3f}", "28.30", f"{counted:.3f}", "not", "reproduced"] in lines
    assert ["a", "note"] in lines
    assert main(["profile", "--papers", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert [row["gmacs"]["reproduced"] for row in found["rows"]] == [None, False]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "profile takes a MODEL or --papers, but got neither;"),
        ([TINY, "--papers"], "--papers has networks, sizes and classes of its own"),
        (["--papers", "--size", "64x64"], "--papers has networks, sizes and classes of its own"),
        ([TINY, "--size", "64"], "--size must be height x width, at least 32x32, but got '64';"),
        ([TINY, "--size", "64x16"], "but got '64x16';"),
        ([TINY, "--classes", "0"], "--classes must be at least 1, but got 0;"),
        (["deeplabv3(resnet_18)"], "did you mean 'resnet18'?"),
        (["pspnet("], "a network "),
    ],
)
def test_wrong_input_is_refused(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", *arguments]) == 2
    written = capsys.readouterr()
    assert message in written.err and written.out == ""
