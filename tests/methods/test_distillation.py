"""Self-distillation against its equation."""

import torch
import torch.nn.functional as F
from torch import nn

from core.engine.precision import encoder
from core.episode import Batch, DataInfo
from core.methods.deepbdc import STLDeepBDC
from core.methods.rfs import RFS
from tests.methods.small import conv4, vectors

INFO = DataInfo(n_base=6, image_size=16)


def test_distillation_mixes_the_labels_with_the_teacher():
    teacher, student = RFS(conv4(8, seed=1), INFO), RFS(conv4(8, seed=2), INFO, distill=0.3, temperature=4.0)
    before = {name: value.clone() for name, value in student.state_dict().items()}
    assert "teacher" in student.start_from(teacher)
    assert all(torch.equal(value, before[name]) for name, value in student.state_dict().items())
    student.train()
    images, labels = vectors(4, 3, 16, 16), torch.tensor([0, 1, 5, 2])
    batch = Batch({"image": images}, labels).encoded(student.encode)
    loss = student.loss(batch).value

    logits = student.classifier(batch.inputs["vector"])
    with torch.no_grad():
        taught = teacher.eval().classifier(teacher.backbone(images)["vector"])
    p, log_q = (taught / 4).softmax(1), (logits / 4).log_softmax(1)
    divergence = (p * (p.log() - log_q)).sum(1).mean()
    torch.testing.assert_close(loss, 0.7 * F.cross_entropy(logits, labels) + 0.3 * 16 * divergence)
    loss.backward()
    assert all(p.grad is None for p in student._teacher[0].parameters())


def test_both_terms_see_the_same_dropout():
    """The logits of the labels' term are those that the teacher judges."""
    teacher, student = (STLDeepBDC(conv4(8, seed=seed), INFO, dropout=0.5) for seed in (1, 2))
    student.start_from(teacher)
    student.train()
    images = Batch({"image": vectors(4, 3, 16, 16)}, torch.tensor([0, 1, 5, 2]))
    batch = images.encoded(student.encode)
    loss = student.loss(batch)
    with torch.no_grad():
        taught = teacher.eval().batch_logits(images.encoded(teacher.encode))
    target, log_q = (taught / 4).softmax(1), (loss.logits / 4).log_softmax(1)
    divergence = F.kl_div(log_q, target, reduction="batchmean")
    torch.testing.assert_close(loss.value, 0.5 * F.cross_entropy(loss.logits, batch.labels) + 0.5 * 16 * divergence)


def test_teacher_and_student_encode_at_the_same_precision():
    teacher, student = (RFS(conv4(8, seed=seed), INFO) for seed in (1, 2))
    student.start_from(teacher)
    student.train()
    kinds = []
    for network in (student, *student._teacher):
        convolution = next(m for m in network.backbone.modules() if isinstance(m, nn.Conv2d))
        convolution.register_forward_hook(lambda module, inputs, output: kinds.append(output.dtype))
    images = Batch({"image": vectors(4, 3, 16, 16)}, torch.tensor([0, 1, 5, 2]))
    student.loss(images.encoded(encoder(student, "bf16", torch.device("cpu"))))
    assert kinds == [torch.bfloat16] * 2
