"""Card 12 of the specifications: class models as a classifier and as nearest means."""

import pytest
import torch
import torch.nn.functional as F

from core.episode import Batch, DataInfo
from core.layers.classifiers import CosineClassifier
from core.methods.ecm import ECM
from tests.methods.small import close, conv4, drawn, shapes, task_of


def ecm(**options):
    torch.manual_seed(0)
    return ECM(conv4(), DataInfo(n_base=5, image_size=16), **options).double()


def test_card_12_equals_a_cosine_classifier_of_twice_the_scale():
    method, vectors = ecm(scale=3.0), drawn(4, 6)
    classifier = CosineClassifier(6, 5, 6.0).double()
    classifier.weight.data = method.classifier.models.detach().clone()
    batch = Batch({"vector": vectors}, torch.tensor([0, 4, 2, 2]))
    close(method.batch_logits(batch), (classifier(vectors) - 6.0).detach().numpy())
    plain = F.cross_entropy(classifier(vectors), batch.labels)
    torch.testing.assert_close(method.loss(batch).value, plain)
    slopes = torch.autograd.grad(method.loss(batch).value, method.classifier.models)
    torch.testing.assert_close(slopes[0], torch.autograd.grad(plain, classifier.weight)[0])


@shapes()
def test_the_model_of_a_class_is_nearest_to_its_supports(counts):
    method, task = ecm(scale=2.0).eval(), task_of(6, counts=counts)
    for t in range(1 if counts else 2):
        for n in range(3):
            members = task.support["vector"][t][task.support_y[t] == n]
            model = sum(x / x.norm() for x in members)
            for q, query in enumerate(task.query["vector"][t]):
                distance = (query / query.norm() - model / model.norm()).square().sum()
                assert method(task)[t, q, n].item() == pytest.approx(-2.0 * distance.item(), abs=1e-10)


def test_base_logits_are_those_of_the_learned_models():
    method, task = ecm().eval(), task_of(6)
    expected = (
        -5.0
        * torch.cdist(*(F.normalize(x, dim=-1) for x in (task.query["vector"][1], method.classifier.models))).square()
    )
    torch.testing.assert_close(method.base_logits(task)[1], expected, rtol=0, atol=1e-6)
