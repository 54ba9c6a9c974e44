"""Runs that train a classifier on labelled pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from linnet.architecture import Architecture
from linnet.data import DataSet, Sample
from linnet.data.batches.loading import EvaluationPictures, PictureBatches
from linnet.data.batches.streaming import ShardBatches, open_batches
from linnet.data.checks.classes import check_data
from linnet.data.checks.findings import Findings
from linnet.data.sharding import keep_evaluated
from linnet.evaluation.accuracy import Accuracy, measure_accuracy
from linnet.evaluation.report import write_report
from linnet.images import Preprocessing
from linnet.predictor import load
from linnet.training.classification import ClassificationTask
from linnet.training.recipe import Recipe
from linnet.training.start import Start, Wanted, find_start
from linnet.training.subject import Sharing


class ClassSubject:
    """See `linnet.training.subject.Subject`."""

    task: Literal["classification", "detection"] = "classification"
    score = "top1"
    tile = 160

    def check(self, data: DataSet, wanted: Wanted, *, limit: int | None, progress: Callable[[int], None]) -> Findings:
        """What `linnet check` finds."""
        return check_data(data, resolution=wanted.resolution, limit=limit, progress=progress)

    def refuse(self, data: DataSet, recipe: Recipe) -> None:
        """Every class needs a picture, and statistics need two."""
        if recipe.task != self.task:
            raise ValueError(f"'{data.path}' has classes of whole pictures; --recipe {recipe.name} is for boxes.")
        empty = [name for name, count in zip(data.classes, data.counts, strict=True) if not count]
        if empty:
            listed = f"{', '.join(empty[:5])}{' …' * (len(empty) > 5)}"
            raise ValueError(f"'{data.path}' has no training picture of {listed}.")
        if len(data.train) < 2:
            raise ValueError(f"'{data.path}' leaves {len(data.train)} training pictures; at least 2 are needed.")

    def start(self, data: DataSet, wanted: Wanted, recipe: Recipe) -> Start:
        """A network with a classifier for the data's classes."""
        foreign = [name for name in ("variant", "backbone") if name in (wanted.options or {})]
        if foreign or wanted.family in ("ssdlite", "ssd"):
            flag = f"--{foreign[0]}" if foreign else f"--architecture {wanted.family}"
            raise ValueError(f"'{data.path}' has classes of whole pictures; {flag} is for boxes.")
        return find_start(wanted, data.classes, recipe)

    def keep(self, data: DataSet, folder: Path) -> DataSet:
        """Validation and test shards behind http are read after every epoch: the folder keeps copies, made once."""
        return keep_evaluated(data, folder)

    def batches(
        self, data: DataSet, contract: Preprocessing, recipe: Recipe, sharing: Sharing
    ) -> PictureBatches | ShardBatches:
        """From files or from shards."""
        return open_batches(
            data.train,
            contract,
            recipe.crop_options,
            batch=recipe.batch,
            seed=recipe.seed,
            placement=sharing.placement,
            workers=sharing.workers,
            order=recipe.order,
            fraction=recipe.fraction,
            pin=sharing.pin,
        )

    def make_task(
        self, data: DataSet, architecture: Architecture, contract: Preprocessing, recipe: Recipe, sharing: Sharing
    ) -> ClassificationTask:
        """Cross entropy, and accuracy on validation."""
        order = np.random.default_rng((recipe.seed, 8)).permutation(len(data.validation))
        pictures = EvaluationPictures(
            # Mixed: a batch of one class alone would have odd statistics.
            [data.validation[number] for number in order.tolist()],
            contract,
            batch=max(recipe.batch, 32),
            placement=sharing.placement,
            workers=sharing.workers,
        )
        return ClassificationTask(contract, recipe, data.counts, list(data.train), pictures)

    def measure(self, model: Path, samples: Sequence[Sample], progress: Callable[[int], None]) -> Accuracy:
        """Top-1, top-5 and what a report needs."""
        return measure_accuracy(load(model), samples, progress=progress).with_intervals()

    def report(self, measured: Accuracy, folder: Path) -> list[str]:
        """Confusion matrix, reliability, mistakes."""
        return write_report(measured, folder)

    def score_of(self, measured: Accuracy) -> Mapping[str, Any]:
        """Top-1, top-5, calibration, and each class."""
        return measured.score()
