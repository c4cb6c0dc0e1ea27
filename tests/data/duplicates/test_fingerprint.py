"""Copies are found, strangers are not: on photographs, and on the classic sets where they are at hand."""

import io
from pathlib import Path

import imagehash
import numpy as np
import pytest
import skimage.data
from PIL import Image

from sr_lightning.data.duplicates.fingerprint import (
    HASH_RADIUS,
    ORIENTATIONS,
    Fingerprint,
    hash_bits,
    hash_distances,
    perceptual_hash,
    pixel_hash,
    reoriented,
    thumbnail,
)
from sr_lightning.data.duplicates.search import find_duplicates, find_duplicates_within
from sr_lightning.image.color import read_rgb

NAMES = ("astronaut.png", "coffee.png", "chelsea.png", "rocket.jpg", "motorcycle_left.png", "camera.png", "coins.png")


@pytest.fixture(scope="module")
def photographs():
    return [read_rgb(Path(skimage.data.__file__).parent / name) for name in NAMES]


def jpeg(rgb, quality=75):
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file).convert("RGB"))


def crop(rgb, share, seed):
    """A window of this share of the area, of another aspect ratio, anywhere."""
    rng = np.random.default_rng(seed)
    wide = rng.uniform(share, 1)
    height, width = (int(np.ceil(n * part)) for n, part in zip(rgb.shape, (share / wide, wide), strict=False))
    top, left = rng.integers(0, rgb.shape[0] - height + 1), rng.integers(0, rgb.shape[1] - width + 1)
    return np.ascontiguousarray(rgb[top : top + height, left : left + width])


def resized(rgb, factor):
    size = (round(rgb.shape[1] * factor), round(rgb.shape[0] * factor))
    return np.asarray(Image.fromarray(rgb).resize(size, Image.Resampling.BICUBIC))


ALTERATIONS = {
    "jpeg": lambda x: jpeg(x),
    "left-right": lambda x: x[:, ::-1],
    "top-bottom": lambda x: x[::-1],
    "quarter turn": lambda x: np.rot90(x),
    "three quarters": lambda x: np.rot90(x, 3),
    "transposed": lambda x: x.transpose(1, 0, 2),
    "smaller": lambda x: resized(x, 0.6),
    "larger": lambda x: resized(x, 1.3),
    "crop of 60 %": lambda x: crop(x, 0.6, 1),
    "crop of 80 %": lambda x: crop(x, 0.8, 2),
    "all of it": lambda x: jpeg(resized(np.ascontiguousarray(np.rot90(crop(x, 0.7, 3))[::-1]), 0.8)),
}


@pytest.mark.parametrize("alteration", ALTERATIONS)
def test_an_altered_image_is_found_and_no_other(photographs, alteration):
    altered = [Fingerprint.of(np.ascontiguousarray(ALTERATIONS[alteration](x))) for x in photographs]
    originals = [Fingerprint.of(x) for x in photographs]
    expected = [(i, i) for i in range(len(NAMES))]
    assert [(copy.i, copy.j) for copy in find_duplicates(altered, originals)] == expected
    assert [(copy.i, copy.j) for copy in find_duplicates(originals, altered)] == expected


def test_what_was_done_is_said(photographs):
    original = photographs[0]
    said = {
        name: next(
            find_duplicates([Fingerprint.of(np.ascontiguousarray(make(original)))], [Fingerprint.of(original)])
        ).how
        for name, make in ALTERATIONS.items()
    }
    assert said["jpeg"] == "re-encoded"
    assert said["left-right"] == "mirrored left-right, re-encoded"
    assert said["top-bottom"] == "mirrored top-bottom, re-encoded"
    assert said["quarter turn"].startswith("a quarter turn")
    assert said["smaller"] == "resized from 512x512"
    share = int(said["crop of 60 %"].removeprefix("a crop of ").removesuffix("%"))
    assert abs(share - 60) <= 3
    assert next(find_duplicates([Fingerprint.of(original)], [Fingerprint.of(original.copy())])).how == "same pixels"
    around = next(find_duplicates([Fingerprint.of(original)], [Fingerprint.of(crop(original, 0.7, 3))]))
    assert around.how == "with more around it"


def test_repeats_within_a_set(photographs):
    prints = [Fingerprint.of(x) for x in photographs]
    assert list(find_duplicates_within(prints)) == []
    prints += [
        Fingerprint.of(photographs[2].copy()),
        Fingerprint.of(np.ascontiguousarray(jpeg(photographs[3])[:, ::-1])),
    ]
    found = {(copy.i, copy.j): copy.how for copy in find_duplicates_within(prints)}
    assert found == {(7, 2): "same pixels", (8, 3): "mirrored left-right, re-encoded"}


def test_flat_images_are_like_nothing():
    flat = [Fingerprint.of(np.full((50, 60, 3), level, np.uint8)) for level in (0, 90, 255)]
    assert list(find_duplicates(flat[:2], flat[2:])) == []
    assert list(find_duplicates_within(flat)) == []


def test_pixels_decide_the_exact_hash(photographs):
    first = photographs[0]
    other = first.copy()
    other[3, 4, 1] ^= 1
    assert pixel_hash(first) == pixel_hash(first.copy())
    assert pixel_hash(first) != pixel_hash(other)
    flat = np.zeros((4, 6, 3), np.uint8)
    assert pixel_hash(flat) != pixel_hash(flat.reshape(6, 4, 3))  # the same bytes in another shape


def test_turns_are_those_of_pillow(photographs):
    image = Image.fromarray(thumbnail(photographs[1]))
    expected = {
        "a half turn": image.transpose(Image.Transpose.ROTATE_180),
        "mirrored left-right": image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        "mirrored top-bottom": image.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
    }
    for name, transposed in expected.items():
        np.testing.assert_array_equal(reoriented(np.asarray(image), ORIENTATIONS.index(name)), np.asarray(transposed))
    assert len({reoriented(np.asarray(image), turn).tobytes() for turn in range(8)}) == 8


def test_perceptual_hashes_are_those_of_imagehash(photographs):
    for photograph in photographs:
        thumb = thumbnail(photograph)
        for turn in range(8):
            image = Image.fromarray(np.ascontiguousarray(reoriented(thumb, turn)))
            assert perceptual_hash(thumb, turn) == str(imagehash.phash(image, hash_size=16))


def test_perceptual_hashes_agree_over_encodings_only(photographs):
    made = (photographs, [resized(jpeg(x), 0.5) for x in photographs])
    texts = [[perceptual_hash(thumbnail(x)) for x in images] for images in made]
    distances = hash_distances(hash_bits(texts[0]), hash_bits(texts[1]))
    expected = [[imagehash.hex_to_hash(a) - imagehash.hex_to_hash(b) for b in texts[1]] for a in texts[0]]
    np.testing.assert_array_equal(distances, expected)
    assert distances.diagonal().max() <= HASH_RADIUS / 2
    assert (distances + 1000 * np.eye(len(NAMES))).min() > 1.5 * HASH_RADIUS


@pytest.mark.slow
def test_no_false_alarm_on_the_classic_sets(sr_data):
    def prints(*folders: str) -> dict[str, Fingerprint]:
        paths = [path for folder in folders for path in sorted((sr_data / folder).iterdir())]
        return {f"{path.parent.name}/{path.name}": Fingerprint.of(read_rgb(path)) for path in paths}

    train, test = prints("train/T91", "train/BSD200", "train/BSD200-extra"), prints("test/Set5", "test/Set14")
    copies = list(find_duplicates(list(train.values()), list(test.values())))
    # Set5's woman really is an image of BSD200, made smaller.
    assert [(list(train)[c.i], list(test)[c.j]) for c in copies] == [("BSD200/302003.jpg", "Set5/img_005.png")]
    repeats = list(find_duplicates_within(list(train.values())))
    assert [(list(train)[c.i], list(train)[c.j], c.how) for c in repeats] == [
        ("T91/t65.png", "T91/t36.png", "same pixels")
    ]
