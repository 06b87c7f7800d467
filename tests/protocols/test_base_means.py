"""Means of base classes, which a method reads at test: encoded once for a checkpoint, of all images or of a few."""

from tests.workspace import META, PROTONET, result


def base_trained(space, root):
    """A run of SimpleShot, whose answers read the mean of the base images."""
    cfg = space.config({**PROTONET, "METHOD": {"NAME": "SimpleShot"}, "STAGE": {"meta": META | {"STREAM": "batches"}}})
    return cfg, space.train(cfg, root)


def test_the_means_of_base_classes_are_encoded_once(space, root, encoded):
    cfg, run = base_trained(space, root)
    encoded[0] = 0
    first = space.evaluate(cfg, run, root, "EVAL.SEED=1")
    images = encoded[0]
    assert images == (8 + 6) * 20  # of base and test classes
    second = space.evaluate(cfg, run, root, "EVAL.SEED=2")
    assert encoded[0] == images
    live = space.evaluate(cfg, run, root, "EVAL.SEED=1", "EVAL.CACHE=false")
    assert (live / "episodes.csv").read_bytes() == (first / "episodes.csv").read_bytes()
    assert (second / "episodes.csv").read_bytes() != (first / "episodes.csv").read_bytes()


def test_the_means_may_be_those_of_a_few_images_of_each_class(space, root, encoded):
    cfg, run = base_trained(space, root)
    encoded[0] = 0
    folder = space.evaluate(cfg, run, root, "EVAL.BASE_IMAGES=3")
    assert encoded[0] == 8 * 3 + 6 * 20
    assert result(folder)["at_test"] == {"EVAL.BASE_IMAGES": 3}
    whole = space.evaluate(cfg, run, root)
    assert (whole / "episodes.csv").read_bytes() != (folder / "episodes.csv").read_bytes()
