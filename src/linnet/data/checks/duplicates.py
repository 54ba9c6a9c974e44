"""Which pictures are the same: by their bytes, or by how they look."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

ALIKE = 5.0
"""Levels of 255. Root mean square between the thumbnails of two pictures that look alike, at most: other qualities,
sizes and formats of one picture stay below it, two photographs of one thing hardly ever do."""

ALIKE_SHARE = 0.15
"""The same as a share of the picture's own contrast: two misty mornings are not one."""

FLAT = 4.0
"""Levels of 255. A picture of less contrast (standard deviation of its thumbnail) looks like every other empty one."""

NEIGHBOURS = 16
"""How many pictures each is compared with in an ordering."""


def find_duplicates(
    digests: NDArray[np.uint8], thumbnails: NDArray[np.uint8], readable: NDArray[np.bool_]
) -> list[list[int]]:
    """Groups of two or more pictures that are the same, each in order, by their first pictures.

    Args:
        digests: (N, D) uint8 of the files' bytes.
        thumbnails: (N, rows, columns, 3) uint8.
        readable: (N,); the others are in no group.
    """
    parent = np.arange(len(digests))
    for first, second in (*_identical(digests, readable), *_alike(thumbnails, readable)):
        high, low = sorted((_root(parent, first), _root(parent, second)), reverse=True)
        parent[high] = low
    groups: dict[int, list[int]] = {}
    for number in range(len(parent)):
        groups.setdefault(_root(parent, number), []).append(number)
    return [numbers for numbers in groups.values() if len(numbers) > 1]


def _root(parent: NDArray[np.int64], number: int) -> int:
    while parent[number] != number:
        parent[number] = parent[parent[number]]
        number = int(parent[number])
    return number


def _identical(digests: NDArray[np.uint8], readable: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Each file with the first that has its bytes."""
    first: dict[bytes, int] = {}
    pairs = []
    for number in np.flatnonzero(readable).tolist():
        earlier = first.setdefault(digests[number].tobytes(), number)
        if earlier != number:
            pairs.append((earlier, number))
    return pairs


def _alike(thumbnails: NDArray[np.uint8], readable: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Pairs whose thumbnails differ little.

    Comparing all with all would take hours for a million. A difference hash (is a pixel brighter than its left
    neighbour?) is cut into four bands; a copy that flips some bits of it still has a band in common with its original,
    and among those that have it, nearly the same brightness. So each is compared with its next ones by that order.
    """
    count = len(thumbnails)
    flat = thumbnails.reshape(count, int(np.prod(thumbnails.shape[1:])))
    contrast, brightness = np.zeros(count, np.float32), np.zeros(count, np.float32)
    keys = np.zeros((count, 4), np.uint16)
    for start in range(0, count, 4096):
        part = slice(start, start + 4096)
        contrast[part], brightness[part] = flat[part].std(axis=1), flat[part].mean(axis=1)
        grey = thumbnails[part].sum(axis=-1, dtype=np.int32)
        keys[part] = np.packbits((np.diff(grey, axis=2) > 0).reshape(len(grey), -1), axis=1).view(np.uint16)
    usable = np.flatnonzero(readable & (contrast >= FLAT))
    pairs = set()
    for band in range(keys.shape[1]):
        order = usable[np.lexsort((brightness[usable], keys[usable, band]))]
        for step in range(1, NEIGHBOURS + 1):
            first, second = order[:-step], order[step:]
            near = np.abs(brightness[first] - brightness[second]) <= ALIKE
            near &= keys[first, band] == keys[second, band]
            for number, other in _confirmed(flat, contrast, first[near], second[near]):
                pairs.add((min(number, other), max(number, other)))
    return sorted(pairs)


def _confirmed(
    flat: NDArray[np.uint8], contrast: NDArray[np.float32], first: NDArray[np.int64], second: NDArray[np.int64]
) -> list[tuple[int, int]]:
    """The pairs whose thumbnails are near enough, some at a time: the differences take memory."""
    kept = []
    for start in range(0, len(first), 4096):
        one, two = first[start : start + 4096], second[start : start + 4096]
        apart = np.sqrt(((flat[one].astype(np.float32) - flat[two]) ** 2).mean(axis=1))
        alike = apart <= np.minimum(ALIKE, ALIKE_SHARE * np.minimum(contrast[one], contrast[two]))
        kept += list(zip(one[alike].tolist(), two[alike].tolist(), strict=True))
    return kept
