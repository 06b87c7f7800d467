import unicodedata

import numpy as np
import pytest

from core.data.store import SPLITS, read_split, split_dir
from core.errors import UserError
from core.prepare import glyphs
from core.prepare.glyph_fonts import alphabets, holders

LETTERS = ["A", "Ж", "α", "ლ"]


@pytest.fixture
def few_letters(monkeypatch):
    """Splits of three letters each, so that writing them takes no time."""
    few = {split: chars[:3] for split, chars in alphabets().items()}
    monkeypatch.setattr(glyphs, "alphabets", lambda: few)
    return few


def test_same_images_every_time():
    first = glyphs.render_letters(LETTERS, 32)
    np.random.seed(1)  # noqa: NPY002 - the global state must not matter
    assert np.array_equal(first, glyphs.render_letters(LETTERS, 32))


def test_an_image_depends_on_seed_letter_and_number_alone():
    alone = glyphs.render_image("Ж", 7, 32)
    assert np.array_equal(alone, glyphs.render_letters(LETTERS, 32)[glyphs.IMAGES + 7])
    others = [("Ж", 8, 32, glyphs.SEED), ("A", 7, 32, glyphs.SEED), ("Ж", 7, 32, glyphs.SEED + 1)]
    assert not any(np.array_equal(alone, glyphs.render_image(*other)) for other in others)


@pytest.mark.parametrize("size", [16, 32, 48])
def test_letters_are_there_at_any_size(size):
    images = glyphs.render_letters([chars[n] for chars in alphabets().values() for n in (0, -1)], size)
    assert images.shape == (6 * glyphs.IMAGES, size, size, 3)
    assert images.dtype == np.uint8
    border = np.concatenate([images[:, :2].reshape(len(images), -1), images[:, -2:].reshape(len(images), -1)], axis=1)
    brightest = np.quantile(images.reshape(len(images), -1), 0.98, axis=1)
    assert (brightest - np.median(border, axis=1) > 40).all()


def test_every_letter_has_ink():
    for char in set().union(*alphabets().values()):
        look = glyphs.draw_look(np.random.default_rng(0), holders(char))
        mask = glyphs.letter_mask(char, look, 32)
        assert 0.02 < mask.mean() < 0.7, char
        assert mask.max() > 0.4, char


def test_sizes_look_alike():
    small, large = glyphs.render_image("R", 3, 32), glyphs.render_image("R", 3, 96)
    shrunk = large.reshape(32, 3, 32, 3, 3).mean((1, 3))
    assert np.abs(shrunk - small).mean() < 16


def test_word_vectors_come_from_the_tokens():
    names = ["GREEK SMALL LETTER ALPHA", "GREEK SMALL LETTER BETA", "ARMENIAN CAPITAL LETTER BEN"]
    vectors = glyphs.word_vectors(names)
    assert vectors.shape == (3, glyphs.WORD_DIM)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.2
    assert np.array_equal(vectors[1], glyphs.word_vectors(names[1:2])[0])


def test_written_splits(tmp_path, few_letters):
    glyphs.render_glyphs(tmp_path, 32)
    for name in SPLITS:
        split = read_split(split_dir(tmp_path, "Glyphs", 32, name))
        assert split.classes == sorted(unicodedata.name(char) for char in few_letters[name])
        assert (split.counts >= 20).all()
        assert split.names[0] == "00.png"
        assert split.images.shape == (3 * glyphs.IMAGES, 32, 32, 3)
        assert np.array_equal(split.vectors, glyphs.word_vectors(split.classes))
        char = unicodedata.lookup(split.classes[1])
        assert np.array_equal(split.images[glyphs.IMAGES + 2], glyphs.render_image(char, 2, 32))


def test_prepared_splits_stay(tmp_path, few_letters, monkeypatch):
    glyphs.render_glyphs(tmp_path, 16)
    monkeypatch.setattr(glyphs, "render_letters", lambda *_: pytest.fail("drawn twice"))
    glyphs.render_glyphs(tmp_path, 16)


def test_fingerprint_is_the_same_for_every_size(tmp_path, few_letters):
    for size in (16, 20):
        glyphs.render_glyphs(tmp_path, size)
    fingerprints = [read_split(split_dir(tmp_path, "Glyphs", size, "test")).fingerprint for size in (16, 20)]
    assert fingerprints[0] == fingerprints[1]


def test_too_small_a_size_names_the_limit(tmp_path):
    with pytest.raises(UserError, match="give 16 or more"):
        glyphs.render_glyphs(tmp_path, 8)
