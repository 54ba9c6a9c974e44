"""Which files are pictures: by name, inside folders, and behind glob patterns."""

from __future__ import annotations

from pathlib import Path

from linnet.images.heif import HEIF_SUFFIXES, has_heif

USUAL_SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif"),
    *(".ppm", ".pgm", ".pbm", ".pnm"),
)
"""File names that count as pictures whatever is installed."""

SUFFIXES = USUAL_SUFFIXES + (HEIF_SUFFIXES if has_heif() else ())
"""File names that count as pictures when a folder is read; a file named itself is tried whatever its name."""


def find_pictures(paths: list[str]) -> list[Path]:
    """The files named, the pictures inside folders (all levels, sorted) and the matches of glob patterns.

    Raises:
        FileNotFoundError: if a path or pattern matches nothing.
        ValueError: if a folder holds no picture.
    """
    found: list[Path] = []
    for text in paths:
        path = Path(text)
        if path.is_dir():
            found += _pictures_in(path)
        elif not path.exists() and any(letter in text for letter in "*?["):
            matches = sorted(Path(path.anchor or ".").glob(str(path.relative_to(path.anchor))))
            # As in a shell, a pattern finds hidden files only if it says so.
            matches = [match for match in matches if path.name.startswith(".") or not match.name.startswith(".")]
            if not matches:
                raise FileNotFoundError(f"No file matches '{text}'.")
            found += [picture for match in matches for picture in (_pictures_in(match) if match.is_dir() else [match])]
        else:
            # A missing file is that picture's own failure: the others still go on.
            found.append(path)
    return found


def _pictures_in(folder: Path) -> list[Path]:
    """The pictures in a folder, all levels, sorted; hidden files, such as macOS leaves behind, do not count."""
    inside = sorted(file for file in folder.rglob("*") if is_picture(file))
    if not inside:
        raise ValueError(f"The folder '{folder}' holds no pictures ({', '.join(SUFFIXES)}).")
    return inside


def is_picture(file: Path) -> bool:
    """Whether a file found in a folder is to be read as a picture, by its name."""
    return file.suffix.lower() in SUFFIXES and not file.name.startswith(".") and file.is_file()
