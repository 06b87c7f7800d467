"""Narrow ResNets, for tests in which only shapes matter."""

RESNET12 = (4, 10, 20, 40)
RESNET18 = (4, 8, 16, 32)


def narrow_resnets(monkeypatch) -> None:
    """Build every ResNet-12, ResNet-18 and ResNet-10 with a sixteenth of its channels."""
    monkeypatch.setattr("core.backbones.resnet12.WIDTHS", RESNET12)
    monkeypatch.setattr("core.backbones.resnet18.WIDTHS", RESNET18)
    monkeypatch.setattr("core.backbones.resnet10.WIDTHS", RESNET18)
