"""Self-distillation against its equation."""

import torch
import torch.nn.functional as F

from core.episode import Batch, DataInfo
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
    found = student.loss(batch).value

    logits = student.classifier(batch.inputs["vector"])
    with torch.no_grad():
        taught = teacher.eval().classifier(teacher.backbone(images)["vector"])
    p, log_q = (taught / 4).softmax(1), (logits / 4).log_softmax(1)
    divergence = (p * (p.log() - log_q)).sum(1).mean()
    torch.testing.assert_close(found, 0.7 * F.cross_entropy(logits, labels) + 0.3 * 16 * divergence)
    found.backward()
    assert all(p.grad is None for p in student._teacher[0].parameters())
