"""Reference episodes against a plain loop over episodes, classes and images."""

import pytest
import torch

from core.predict.calibration import fit_line
from core.predict.classifier import make_head_named
from core.predict.reference import Examiner, Pool, calibrate, draw, usable_shots
from core.predict.supports import make_task
from tests.predict.photos import drawn, network

COUNTS = [12, 15, 12, 20]


@pytest.fixture(scope="module")
def pool():
    encoder = network()
    photos = [photo for kind, count in enumerate(COUNTS) for photo in drawn([kind], range(count))]
    features = encoder.encode(photos, encoder.store(None)).features
    return encoder, Pool("4 classes of tests", COUNTS, features, encoder.places(features))


def test_episodes_are_drawn_from_their_classes_without_repeats(pool):
    episodes = draw(pool[1], 3, 5, 50, 7)
    label_of = torch.arange(4).repeat_interleave(torch.tensor(COUNTS))
    for part in (episodes.supports, episodes.queries):
        assert torch.equal(label_of[part], episodes.classes[..., None].expand_as(part))
    rows = torch.cat([episodes.supports, episodes.queries], dim=2).flatten(1).sort().values
    assert (rows[:, 1:] != rows[:, :-1]).all()
    assert torch.equal(draw(pool[1], 3, 5, 50, 7).supports, episodes.supports)


def test_shots_must_leave_queries(pool):
    assert usable_shots(pool[1], [1, 7, 8]) == [1, 7]


def test_answers_are_those_of_single_tasks(pool, monkeypatch):
    encoder, photos = pool
    episodes = draw(photos, 3, 3, 6, 4)
    examiner = Examiner(encoder.folded, photos, None)
    queries, held_out_logits = examiner.query_logits(episodes), examiner.held_out_logits(episodes)
    monkeypatch.setattr("core.predict.reference.MEMORY", 1)  # one episode at a time
    assert torch.allclose(examiner.query_logits(episodes), queries, rtol=1e-4, atol=1e-5)
    vectors = photos.features["vector"]
    for e in range(6):
        supports = episodes.supports[e]
        single = logits_of(encoder, vectors[supports.flatten()], 3, vectors[episodes.queries[e].flatten()])
        assert torch.allclose(queries[e], single, rtol=1e-4, atol=1e-5)
        for n in range(3):
            for k in range(3):
                kept = supports[:, [i for i in range(3) if i != k]]
                alone = logits_of(encoder, vectors[kept.flatten()], 2, vectors[supports[n, k]][None])
                assert torch.allclose(held_out_logits[e, n * 3 + k], alone[0], rtol=1e-4, atol=1e-5)


def logits_of(encoder, support, shot, query):
    labels = torch.arange(3).repeat_interleave(shot)
    task = make_task({"vector": support[None]}, labels, {"vector": query[None]}, 3, torch.zeros(1, dtype=torch.long))
    with torch.no_grad():
        return encoder.folded(task)[0].double()


def test_similarities_leave_out_the_support_itself(pool):
    encoder, photos = pool
    episodes = draw(photos, 3, 2, 4, 4)
    near, among = Examiner(encoder.folded, photos, None).similarities(episodes)
    places = photos.places.double()
    rows = episodes.supports[1].flatten().tolist()
    expected = [max(float(places[i] @ places[j]) for j in rows if j != i) for i in rows]
    assert among[1].tolist() == pytest.approx(expected)
    query = episodes.queries[1].flatten()[5]
    assert float(near[1, 5]) == pytest.approx(max(float(places[query] @ places[j]) for j in rows))
    assert Examiner(encoder.folded, photos, None).similarities(draw(photos, 3, 1, 4, 4))[1] is None


@pytest.mark.parametrize("shot", [1, 3])
def test_a_calibration_is_that_of_its_episodes(pool, shot):
    encoder, photos = pool
    head = make_head_named(encoder, "RFS")
    calibration = calibrate(head, photos, 3, shot, [5])
    assert (calibration.source, calibration.way, calibration.shot) == ("4 classes of tests", 3, shot)
    assert sorted(calibration.lines) == [shot, 5]
    examiner, episodes = Examiner(head, photos, None), draw(photos, 3, 5, calibration.episodes, 7)
    truth = torch.arange(3).repeat_interleave(7)
    right = (examiner.query_logits(episodes).argmax(-1) == truth).double().mean(1)
    if shot == 1:
        assert calibration.lines[5] == fit_line(right, 21)
        assert calibration.shift == 0
    assert calibration.spread > 0
    assert calibrate(head, photos, 3, shot, [5]) == calibration
