"""Card 10 of the specifications: dense classification, a position at a time."""

import pytest
import torch
import torch.nn.functional as F

from core.episode import Batch, DataInfo
from core.layers.classifiers import CosineClassifier
from core.methods.dense_classification import DC
from tests.methods.small import close, conv4, descriptors_of, drawn, shapes, task_of

INFO, WIDTH, SIDE = DataInfo(n_base=5, image_size=16), 6, 2


def dc(**options):
    torch.manual_seed(0)
    return DC(conv4(width=WIDTH), INFO, **options).double()


def batch(side=SIDE, images=4):
    return Batch({"map": drawn(images, WIDTH, side, side)}, torch.tensor([0, 4, 2, 2])[:images])


def cosines(position, rows):
    return torch.stack([F.cosine_similarity(position, row, dim=0) for row in rows])


@shapes()
@pytest.mark.parametrize("test", ["dense", "pooled"])
def test_logits_are_those_of_the_positions(counts, test):
    method, task = dc(test=test, scale=4.0).eval(), task_of(WIDTH, SIDE, SIDE, counts=counts, name="map")
    for t in range(1 if counts else 2):
        rows = []
        for n in range(task.way):
            members = [x for x, y in zip(task.support["map"][t], task.support_y[t], strict=True) if y == n]
            rows.append(torch.stack([r for image in members for r in descriptors_of(image)]).mean(0))
        for q, image in enumerate(task.query["map"][t]):
            positions = descriptors_of(image)
            if test == "pooled":
                positions = [torch.stack(positions).mean(0)]
            expected = 4.0 * torch.stack([cosines(r, rows) for r in positions]).mean(0)
            close(method(task)[t, q], expected.numpy())


def test_the_loss_is_the_mean_of_the_positions():
    method, given = dc(), batch()
    losses, scores = [], []
    for image, y in zip(given.inputs["map"], given.labels, strict=True):
        each = [10.0 * cosines(r, method.classifier.weight) for r in descriptors_of(image)]
        losses += [F.cross_entropy(logits, y) for logits in each]
        scores.append(torch.stack(each).mean(0))
    loss = method.loss(given)
    close(loss.value, torch.stack(losses).mean().detach().numpy())
    close(loss.logits, torch.stack(scores).detach().numpy())
    assert torch.equal(loss.y, given.labels)
    close(method.batch_logits(given), torch.stack(scores).detach().numpy())


@pytest.mark.parametrize("test", ["dense", "pooled"])
def test_base_logits_are_the_classifiers(test):
    method, task = dc(test=test).eval(), task_of(WIDTH, SIDE, SIDE, name="map")
    positions = [descriptors_of(image) for image in task.query["map"][0]]
    if test == "pooled":
        positions = [[torch.stack(each).mean(0)] for each in positions]
    expected = [torch.stack([10.0 * cosines(r, method.classifier.weight) for r in each]).mean(0) for each in positions]
    close(method.base_logits(task)[0], torch.stack(expected).detach().numpy())


def test_card_10_on_a_constant_map_dense_is_pooled():
    maps = drawn(4, WIDTH, 1, 1).expand(-1, -1, SIDE, SIDE)
    given = Batch({"map": maps}, torch.tensor([0, 4, 2, 2]))
    torch.testing.assert_close(dc().loss(given).value, dc(training="pooled").loss(given).value)
    torch.testing.assert_close(dc().batch_logits(given), dc(training="pooled").batch_logits(given))
    task = task_of(WIDTH, 1, 1, name="map")
    torch.testing.assert_close(dc().eval()(task), dc(test="pooled").eval()(task))


def test_card_10_at_one_position_loss_and_gradient_are_the_cosine_classifiers():
    method, given = dc(), batch(side=1)
    classifier = CosineClassifier(WIDTH, 5, 10.0, learn_scale=True).double()
    classifier.weight.data = method.classifier.weight.detach().clone()
    plain = F.cross_entropy(classifier(given.inputs["map"].flatten(1)), given.labels)
    loss = method.loss(given).value
    torch.testing.assert_close(loss, plain)
    learned = [method.scale, method.classifier.weight], [classifier.scale, classifier.weight]
    slopes = (torch.autograd.grad(value, leaves) for value, leaves in zip((loss, plain), learned, strict=True))
    for slope, expected in zip(*slopes, strict=True):
        torch.testing.assert_close(slope, expected)


def test_card_10_the_dense_score_is_the_product_with_the_mean_unit_position():
    """mean_r cos(f_r, w) = w / |w| * mean_r f_r / |f_r|: no loop over the positions."""
    method, task = dc(test="dense", scale=4.0).eval(), task_of(WIDTH, SIDE, SIDE, name="map")
    classes = task.support["map"].unflatten(1, (task.way, -1)).mean((2, 4, 5))
    positions = F.normalize(task.query["map"], dim=2).mean((3, 4))
    torch.testing.assert_close(method(task), 4.0 * positions @ F.normalize(classes, dim=2).transpose(1, 2))


def test_dense_and_pooled_differ():
    given = batch()
    assert (dc().loss(given).value - dc(training="pooled").loss(given).value).abs() > 1e-3
