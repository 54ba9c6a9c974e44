"""The formats of data sets that linnet reads, one module each."""

from __future__ import annotations

from linnet.data.formats import coco, createml, cvat, folders, labelme, masks, parquet, shards, table, voc, yolo
from linnet.data.formats.format import Format

FORMATS: tuple[Format, ...] = (
    shards.FORMAT,
    table.FORMAT,
    parquet.FORMAT,
    coco.FORMAT,
    voc.FORMAT,
    cvat.FORMAT,
    createml.FORMAT,
    labelme.FORMAT,
    yolo.FORMAT,
    masks.FORMAT,
    folders.FORMAT,
)
"""In the order of preference: of two that recognise a place, the first reads it."""
