"""FewShotClassifier keeps the conventions of scikit-learn and answers as the command does."""

import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from sklearn.base import clone, is_classifier
from sklearn.model_selection import cross_val_score

import core
from core.engine.checkpoint import save
from core.errors import UserError
from core.predict.estimator import FewShotClassifier
from tests.predict.photos import pattern, write_classes


@pytest.fixture
def photos(tmp_path):
    folder = write_classes(tmp_path / "photos", {"cup": 6, "bowl": 6, "fork": 6})
    paths = sorted(map(str, folder.rglob("*.png")))
    return paths, [path.split("/")[-2] for path in paths]


@pytest.fixture
def classifier(trained):
    return FewShotClassifier(cfg=str(trained[0]), checkpoint=str(trained[1]), cache="")


def test_it_is_imported_from_the_package():
    assert core.FewShotClassifier is FewShotClassifier
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        core.Nothing  # noqa: B018


def test_importing_the_package_does_not_import_pytorch():
    code = "import core, sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_fit_and_predict(classifier, photos):
    paths, labels = photos
    fitted = classifier.fit(paths[::2], labels[::2])
    assert fitted is classifier
    assert classifier.classes_.tolist() == ["bowl", "cup", "fork"]
    probabilities = classifier.predict_proba(paths)
    assert probabilities.shape == (18, 3)
    assert np.allclose(probabilities.sum(1), 1)
    assert classifier.predict(paths).tolist() == classifier.classes_[probabilities.argmax(1)].tolist()
    assert classifier.score(paths, labels) == np.mean(classifier.predict(paths) == np.array(labels))
    assert classifier.score(paths, labels) > 0.7


def test_conventions_of_scikit_learn(classifier, photos):
    paths, labels = photos
    assert is_classifier(classifier)
    assert {"encoder", "weights", "cfg", "checkpoint", "head", "device"} < set(classifier.get_params())
    other = clone(classifier).set_params(head="RFS")
    assert other.head == "RFS"
    assert not hasattr(clone(classifier.fit(paths, labels)), "classes_")
    scores = cross_val_score(other, paths, labels, cv=3)
    assert len(scores) == 3
    assert np.isfinite(scores).all()


def test_arrays_and_numbers_are_taken(classifier):
    images = np.stack([pattern(kind, number) for kind in (0, 1) for number in range(4)])
    labels = np.repeat([10, 9], 4)
    classifier.fit(images, labels)
    assert classifier.classes_.tolist() == [9, 10]
    assert classifier.predict(images[::4]).dtype == labels.dtype
    assert classifier.predict(images[::4]).tolist() == [10, 9]


def test_answers_are_in_the_order_of_the_images_be_one_twice(classifier, photos):
    paths, labels = photos
    queries = [paths[3], paths[0], paths[3]]
    assert [row.file for row in classifier.fit(paths, labels).answers(queries)] == queries


def test_a_checkpoint_that_was_replaced_is_read_again(trained, photos, tmp_path):
    run = shutil.copytree(trained[1], tmp_path / "run")
    made = FewShotClassifier(cfg=str(trained[0]), checkpoint=str(run), cache="", reference="")
    before = made.fit(*photos).predict_proba(photos[0])
    (file,) = run.glob("ebest_*.pth")
    content = torch.load(file, weights_only=True)
    for value in content["method"].values():
        value.copy_(0.5 * value)
    save(file, content)
    assert not np.array_equal(made.fit(*photos).predict_proba(photos[0]), before)


def test_it_comes_back_from_its_folder(classifier, photos, tmp_path):
    paths, labels = photos
    classifier.fit(paths, labels).save(tmp_path / "kept")
    again = FewShotClassifier.load(tmp_path / "kept", cache="")
    assert np.array_equal(again.predict_proba(paths), classifier.predict_proba(paths))
    answers = again.answers(paths)
    assert [row.answer for row in answers] == classifier.predict(paths).tolist()
    assert [row.file for row in answers] == paths


def test_no_images_have_no_answers(classifier, photos):
    classifier.fit(*photos)
    assert classifier.predict([]).tolist() == []
    assert classifier.predict_proba([]).shape == (0, 3)
    assert classifier.answers([]) == []


@pytest.mark.parametrize("number", [0, 17, 19])
def test_each_image_has_a_label(number, classifier, photos):
    paths, labels = photos
    with pytest.raises(UserError, match=f"18 images have {number} labels; give one label for each"):
        classifier.fit(paths, (labels + labels)[:number])


def test_parameters_that_exclude_each_other_are_refused(classifier, photos):
    with pytest.raises(UserError, match="reject is 5; give the share"):
        classifier.set_params(reject=5).fit(*photos)
    with pytest.raises(UserError, match="encoder is torchvision:resnet18, but checkpoint is /nope and cfg None"):
        FewShotClassifier(encoder="torchvision:resnet18", checkpoint="/nope").fit(*photos)


def test_errors_are_sentences(classifier, photos, tmp_path):
    with pytest.raises(UserError, match="call fit, or load"):
        classifier.predict(photos[0])
    (tmp_path / "torn.jpg").write_bytes(b"\xff\xd8")
    with pytest.raises(UserError, match=r"1 of 2 images cannot be used: .*torn.jpg does not decode"):
        classifier.fit([photos[0][0], tmp_path / "torn.jpg"], ["a", "b"])
    for labels, kinds in (([1, "1"], "int and str"), ([1, 2.5], "float and int"), ([("a",), ("b",)], "tuple")):
        with pytest.raises(UserError, match=f"labels are {kinds}; give texts, or numbers of one type"):
            classifier.fit(photos[0][:2], labels)
    with pytest.raises(UserError, match="nothing says which network"):
        FewShotClassifier().fit(*photos)
