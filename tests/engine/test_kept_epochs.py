"""The best epochs of a run: which are kept, and in which order they come back."""

import pytest
import torch

from core.engine.kept_epochs import best_epochs, keep
from core.errors import UserError
from core.report.run import KEPT

META = {"stage": "meta", "final": True, "dataset": "Glyphs", "method": {}, "backbone": {}}


def run(folder, accuracies, most):
    for epoch, accuracy in enumerate(accuracies, 1):
        content = {"method": {"epoch": torch.tensor(epoch)}, "meta": META, "val": accuracy}
        keep(folder, epoch, accuracy, most, lambda file, content=content: torch.save(content, file))


def epochs(files):
    return [int(torch.load(file, weights_only=True)["method"]["epoch"]) for file in files]


def test_the_best_epochs_stay_and_of_equal_ones_the_earlier(tmp_path):
    run(tmp_path, [50.0, 70.0, 60.0, 70.0, 60.0], 3)
    assert len(list((tmp_path / KEPT).iterdir())) == 3
    assert epochs(best_epochs(tmp_path, 3)) == [2, 4, 3]
    assert epochs(best_epochs(tmp_path, 1)) == [2]


def test_what_an_interrupted_run_kept_of_later_epochs_is_not_counted(tmp_path):
    run(tmp_path, [50.0, 70.0, 60.0], 2)
    run(tmp_path, [50.0, 70.0], 2)  # the epochs again, with 2 and 3 on the disk
    assert epochs(best_epochs(tmp_path, 3)) == [2, 3, 1]
    run(tmp_path, [50.0, 70.0, 60.0], 2)
    assert epochs(best_epochs(tmp_path, 2)) == [2, 3]


def test_fewer_epochs_than_asked_for(tmp_path):
    run(tmp_path, [50.0], 3)
    with pytest.raises(UserError, match=r"EVAL.ENSEMBLE is 2, but .* holds 1 networks in epochs/"):
        best_epochs(tmp_path, 2)


def test_a_file_that_is_no_epochs_network(tmp_path):
    run(tmp_path, [50.0, 60.0], 2)
    torch.save({"method": {}, "meta": META}, tmp_path / KEPT / "epoch000003.pth")
    with pytest.raises(UserError, match="does not say its accuracy"):
        best_epochs(tmp_path, 2)
