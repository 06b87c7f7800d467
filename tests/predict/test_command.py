"""The command as a shell runs it: from folders of photographs to files of answers."""

import csv
import io
import json
import shutil

import pytest
import torch
from PIL import Image

from core.errors import UserError
from core.predict.command import Request, compared_heads, refuse_share
from tests.predict.encoders import NAME, SIZE, write_weights
from tests.predict.photos import write_classes, write_photo
from tests.workspace import best


@pytest.fixture
def photos(tmp_path):
    write_classes(tmp_path / "labelled", {"cup": 3, "bowl": 2, "fork": 4})
    write_classes(tmp_path / "new", {"cup": 3, "bowl": 3, "fork": 3}, first=50)
    return tmp_path


@pytest.fixture
def predict(space, trained, photos):
    """Run the command on the photographs with the trained network; returns its exit code, output and errors."""

    def predict(*arguments, support=photos / "labelled", query=photos / "new"):
        where = ["--out", space.path / "answers", "--cache", space.path / "cache", "-d", "cpu"]
        network = ["--cfg", trained[0], "--checkpoint", trained[1]]
        return space.script("run_predict.py", *network, "--support", support, "--query", query, *where, *arguments)

    return predict


def rows(space):
    return list(csv.DictReader(io.StringIO((space.path / "answers" / "answers.csv").read_text())))


def test_answers_are_in_three_files_and_a_table(predict, space):
    code, out, err = predict()
    assert (code, err) == (0, "")
    assert len(rows(space)) == 9
    content = json.loads((space.path / "answers" / "answers.json").read_text())
    right = sum(row["truth"] == row["class"] for row in rows(space))
    assert content["accuracy"] == pytest.approx(100 * right / 9)
    assert content["supports"] == {"bowl": 2, "cup": 3, "fork": 4}
    assert f"{100 * right / 9:.1f} % of 9 with a known class are right" in out
    assert "3 classes with 2 to 4 photos each" in out
    assert "temperature from 9 held-out supports" in out
    with Image.open(space.path / "answers" / "answers.png") as sheet:
        assert sheet.size[0] > 0


def test_the_answers_repeat_and_the_second_call_encodes_nothing(predict, space, monkeypatch):
    predict()
    first = (space.path / "answers" / "answers.csv").read_bytes()
    from core.predict.network import PhotoNetwork

    monkeypatch.setattr(PhotoNetwork, "_features", None)
    code, _, _ = predict()
    assert code == 0
    assert (space.path / "answers" / "answers.csv").read_bytes() == first


def test_files_that_cannot_be_read_are_named_and_the_others_answered(predict, space, photos):
    (photos / "new" / "cup" / "torn.jpg").write_bytes(b"\xff\xd8\xff")
    (photos / "labelled" / "cup" / "empty.png").touch()
    code, out, _ = predict()
    assert code == 1
    assert len(rows(space)) == 9
    assert "support not used: cup/empty.png is empty (0 bytes)" in out
    assert f"not answered: {photos}/new/cup/torn.jpg does not decode as an image" in out


def test_a_name_with_control_characters_is_written_out(predict, photos):
    file = photos / "\x1b[2J\n.png"
    file.write_bytes(b"no photo")
    _, out, _ = predict(query=file)
    assert f"not answered: {photos}/\\x1b[2J\\n.png does not decode" in out
    assert "\x1b" not in out


def test_files_that_are_skipped_are_named(predict, photos):
    (photos / "labelled" / "loose.jpg").write_bytes(b"")
    code, out, _ = predict()
    assert code == 0
    assert f"note: 1 file is skipped in {photos}/labelled: loose.jpg (where no photos are looked for)" in out
    (photos / "new" / "cup" / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic")
    code, out, _ = predict()
    assert code == 1
    assert f"note: 1 file is skipped in {photos}/new: cup/phone.heic (HEIC: save it as JPEG)" in out


def test_a_file_that_is_no_image_is_named(predict, space, photos):
    (photos / "note.txt").write_text("no photo")
    code, out, _ = predict(query=photos / "note.txt")
    assert code == 1
    assert "note.txt does not decode as an image" in out
    assert rows(space) == []


def test_duplicates_and_other_classes_are_reported(predict, photos):
    shutil.copy(photos / "labelled" / "cup" / "00.png", photos / "new" / "cup" / "copy.png")
    write_photo(photos / "new" / "spoon" / "0.png", 77)
    code, out, _ = predict("--reject", "0.2")
    assert code == 0
    assert "1 photo is the same file as a support" in out


def test_photos_of_other_classes_count_as_unknown(predict, space, photos):
    write_photo(photos / "new" / "spoon" / "0.png", 77)
    predict("--reject", "0.3")
    content = json.loads((space.path / "answers" / "answers.json").read_text())
    assert content["answered_correctly_of"] == 9
    assert content["photos_of_other_classes"] == 1
    assert 0 <= content["auroc"] <= 1
    assert (
        content["rejected_of_known"] == sum(r["rejected"] == "True" for r in rows(space) if r["truth"] != "spoon") / 9
    )


def test_bad_input_is_one_sentence(refused, trained, photos, space):
    network = ["--cfg", trained[0], "--checkpoint", trained[1], "-d", "cpu", "--out", space.path / "answers"]
    new = photos / "new"
    assert "--support is missing" in refused("run_predict.py", *network, "--query", new)
    support = ["--support", photos / "labelled"]
    assert "--query names" in refused("run_predict.py", *network, *support, "--query", photos / "none")
    assert "--reject is 2;" in refused("run_predict.py", *network, *support, "--query", new, "--reject", "2")
    inside = [*network[:-1], photos / "labelled" / "answers"]
    assert "which lies in --support" in refused("run_predict.py", *inside, *support, "--query", new)
    inside = ["-d", "cpu", "--out", new / "answers", "--query", photos / "none", new]
    for answers in ([*network[:4], *support], ["--classifier", photos]):
        sentence = refused("run_predict.py", *answers, *inside)
        assert sentence.endswith(f"lies in --query, {new}, and would be answered the next time; give another.")
    assert "--head is 'RSF'" in refused("run_predict.py", *network, *support, "--query", new, "--head", "RSF")
    assert "--checkpoint is missing" in refused("run_predict.py", "--cfg", trained[0], *support, "--query", new)
    for photo in (photos / "labelled" / "bowl").iterdir():
        photo.write_bytes(b"")
    sentence = refused("run_predict.py", *network, *support, "--query", new)
    assert "no photo of bowl can be used (bowl/00.png is empty (0 bytes)" in sentence


def test_a_checkpoint_file_and_overrides_are_taken(predict, trained, space):
    code, out, _ = predict("--head", "RFS", "EVAL.BATCH", "4")
    assert code == 0
    assert "RFS  9 photos, 3 classes" in out
    assert best(trained[1]).is_file()


def test_nested_class_folders_answer_by_their_paths(predict, space, photos):
    nested = photos / "nested"
    for part, names in (("kitchen", ("cup", "bowl")), ("drawer", ("fork",))):
        for name in names:
            shutil.copytree(photos / "labelled" / name, nested / part / name)
            shutil.copytree(photos / "new" / name, photos / "new_nested" / part / name)
    code, _, err = predict(support=nested)
    assert code == 2
    assert "or --depth 2 where these are classes too" in err
    code, out, _ = predict("--depth", "2", support=nested, query=photos / "new_nested")
    assert code == 0
    assert "of 9 with a known class are right" in out
    assert {row["truth"] for row in rows(space)} == {"kitchen/cup", "kitchen/bowl", "drawer/fork"}


@pytest.mark.parametrize("share", [-0.1, 1, 2])
def test_a_share_is_below_one(share):
    with pytest.raises(UserError, match="--reject is"):
        refuse_share(share)


def test_a_classifier_folder_answers_without_the_supports(predict, space, photos):
    predict()
    first = rows(space)
    shutil.rmtree(photos / "labelled")
    folder = space.path / "answers" / "classifier"
    where = ["--out", space.path / "again", "--cache", space.path / "cache", "-d", "cpu"]
    code, _, err = space.script("run_predict.py", "--classifier", folder, "--query", photos / "new", *where)
    assert (code, err) == (0, "")
    again = list(csv.DictReader(io.StringIO((space.path / "again" / "answers.csv").read_text())))
    assert again == first


def test_what_does_not_go_together_is_refused(refused, trained, photos):
    query = ["--query", photos / "new"]
    sentence = refused("run_predict.py", *query, "--classifier", "x", "--cfg", trained[0])
    assert sentence == "--cfg and --classifier are given; give one of --encoder, --checkpoint, --classifier."
    assert "nothing says what answers; give one of" in refused("run_predict.py", *query)
    sentence = refused("run_predict.py", *query, "--classifier", "x", "--head", "RFS")
    assert sentence == "--head is given, but the folder x says it already; leave it out."
    sentence = refused("run_predict.py", *query, "--classifier", "x", "NO.SUCH.KEY=1")
    assert sentence == "NO.SUCH.KEY=1 is given, but the configuration of the folder x is fixed; leave it out."
    assert "which holds no classifier.json" in refused("run_predict.py", *query, "--classifier", photos)


def test_a_pretrained_encoder_needs_no_training(space, photos, tmp_path):
    weights = write_weights(tmp_path)
    others = write_classes(photos / "others", {f"kind{kind}": 8 for kind in range(4)}, first=200)
    arguments = ["--encoder", NAME, "--weights", weights, "--support", photos / "labelled", "--query", photos / "new"]
    arguments += ["--reference", others, "--reject", "0.1", "-d", "cpu", "--cache", space.path / "cache"]
    code, out, err = space.script("run_predict.py", *arguments, "--out", space.path / "answers", *SIZE)
    assert (code, err) == (0, "")
    assert "RFS on torchvision:squeezenet1_1, 3 classes with 2 to 4 photos each" in out
    assert f"200 episodes of 4 classes in {others}, 3 classes, 3 photos of each" in out
    assert "external data: torchvision:squeezenet1_1, squeezenet1_1.pth" in out
    content = json.loads((space.path / "answers" / "answers.json").read_text())
    assert content["origin"]["external_data"]["encoder"] == NAME
    expected = content["expected_accuracy"]
    assert expected["low"] <= expected["percent"] <= expected["high"]
    assert content["learning_curve"] == []  # eight photographs leave none for five supports and queries
    folder = space.path / "answers" / "classifier"
    again = ["--query", photos / "new", "--reject", "0.1", "-d", "cpu", "--cache", space.path / "cache"]
    weights.unlink()
    code, out, _ = space.script("run_predict.py", "--classifier", folder, "--out", space.path / "again", *again)
    assert code == 0
    assert (space.path / "again" / "answers.csv").read_text() == (space.path / "answers" / "answers.csv").read_text()


def test_folders_and_lists_that_cannot_be_are_sentences(refused, trained, photos):
    arguments = ["--support", photos / "labelled", "--query", photos / "new", "-c", trained[1], "-d", "cpu"]
    (photos / "taken").touch()
    sentence = refused("run_predict.py", *arguments, "--cache", "", "--out", photos / "taken")
    assert sentence.startswith(f"{photos}/taken/classifier cannot be written (Not a directory); ")
    sentence = refused("run_predict.py", *arguments, "--heads", ",")
    assert sentence == "--heads is ',', which names no method; give one, such as RFS, or leave it out."


def test_options_of_an_encoder_are_refused_elsewhere(refused, trained, photos):
    query = ["--query", photos / "new", "--support", photos / "labelled"]
    sentence = refused("run_predict.py", *query, "--cfg", trained[0], "-c", trained[1], "--weights", "a.pth")
    assert sentence == "--weights is a.pth, but --encoder is missing; give the encoder it was made for."
    sentence = refused("run_predict.py", *query, "--encoder", NAME, "--checkpoint", "run")
    assert sentence == "--checkpoint is run, which goes with --cfg and not --encoder; leave it out."


def test_several_heads_are_compared_and_the_first_answers(predict, space, photos):
    code, out, _ = predict("--heads", "own,RFS")
    assert code == 0
    content = json.loads((space.path / "answers" / "answers.json").read_text())
    assert [each["head"] for each in content["heads"]] == ["ProtoNet", "RFS"]
    assert content["heads"][0]["expected_accuracy"] == content["expected_accuracy"]
    assert content["method"] == "ProtoNet"
    assert "head      expected accuracy" in out


def test_an_encoders_own_head_is_logistic_regression_and_no_head_stands_twice():
    assert compared_heads(Request(encoder=NAME, heads=("SimpleShot", "own"))) == ["SimpleShot", "RFS"]
    assert compared_heads(Request(heads=("SimpleShot", "own"))) == ["SimpleShot", "own"]
    for request in (Request(heads=("RFS", "rfs")), Request(encoder=NAME, heads=("own", "RFS"))):
        with pytest.raises(UserError, match=r"--heads lists (?i:RFS) twice; leave one out\."):
            compared_heads(request)


def test_a_run_brings_its_own_configuration(space, trained, photos, refused):
    arguments = ["--support", photos / "labelled", "--query", photos / "new", "--cache", "", "-d", "cpu"]
    where = ["--out", space.path / "answers"]
    shutil.copy(best(trained[1]), photos / "alone.pth")
    for checkpoint in (trained[1], best(trained[1]), photos / "alone.pth"):
        code, out, err = space.script("run_predict.py", "--checkpoint", checkpoint, *arguments, *where)
        assert (code, err) == (0, "")
        assert "ProtoNet on Conv4, 3 classes" in out
    old = torch.load(best(trained[1]), weights_only=True)
    del old["meta"]["config"]
    torch.save(old, photos / "old.pth")
    sentence = refused("run_predict.py", "--checkpoint", photos / "old.pth", *arguments)
    assert sentence.endswith("old.pth does not hold its configuration, as it is an old one; give --cfg FILE as well.")
    sentence = refused("run_predict.py", "--classifier", "x", "--checkpoint", "run", "--query", photos / "new")
    assert sentence == "--checkpoint is given, but the folder x says it already; leave it out."
