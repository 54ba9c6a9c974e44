"""What trains a classifier on labelled pictures."""

from __future__ import annotations

import time
from dataclasses import fields, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from linnet.architecture import COMPOSED, Architecture
from linnet.architecture.ssdlite import BACKBONES
from linnet.data import DataSet
from linnet.data.batches.evaluation import EvaluationPictures
from linnet.data.batches.loading import PictureBatches, part_of_all
from linnet.data.batches.streaming import ShardBatches, open_batches
from linnet.data.sharding import keep_evaluated
from linnet.images import Preprocessing
from linnet.nn import Network
from linnet.tasks.classification.features import draw_penalties, train_classifier
from linnet.tasks.classification.objective import ClassificationObjective, class_weights
from linnet.tasks.classification.start import find_start
from linnet.tasks.task import Fitted, Sharing, Trainer
from linnet.training.classification_recipe import ClassificationRecipe
from linnet.training.drawing import SHOWN
from linnet.training.plan import Reporter
from linnet.training.recipe import Recipe
from linnet.training.starts import Start, StartOptions


class ClassificationTrainer(Trainer):
    """See `linnet.tasks.task.Trainer`."""

    score = "top1"
    tile = 160

    def refuse(self, data: DataSet, recipe: Recipe) -> None:
        """Every class needs a picture."""
        empty = [name for name, count in zip(data.classes, data.counts, strict=True) if not count]
        if empty:
            listed = f"{', '.join(empty[:5])}{' …' * (len(empty) > 5)}"
            raise ValueError(f"'{data.path}' has no training picture of {listed}.")

    def start(self, data: DataSet, options: StartOptions, recipe: ClassificationRecipe) -> Start:
        """A network with a classifier for the data's classes."""
        own = {entry.name for kind in BACKBONES.values() for entry in fields(kind)}
        foreign = [name for name in options.options or {} if name not in own]
        if foreign or options.family in COMPOSED:
            flag = f"--{foreign[0].replace('_', '-')}" if foreign else f"--architecture {options.family}"
            raise ValueError(f"'{data.path}' has classes of whole pictures; {flag} is for boxes or masks.")
        return find_start(options, data.classes, recipe)

    def keep(self, data: DataSet, folder: Path) -> DataSet:
        """Validation and test shards behind http are read after every epoch: the folder keeps copies, made once."""
        return keep_evaluated(data, folder)

    def batches(
        self, data: DataSet, contract: Preprocessing, recipe: ClassificationRecipe, sharing: Sharing
    ) -> PictureBatches | ShardBatches:
        """From files or from shards."""
        options = sharing.step_options(recipe)
        return open_batches(data.train, contract, recipe.crop_options, order=recipe.order, **options)

    def objective(
        self,
        data: DataSet,
        architecture: Architecture,
        contract: Preprocessing,
        recipe: ClassificationRecipe,
        sharing: Sharing,
    ) -> ClassificationObjective:
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
        return ClassificationObjective(contract, recipe, data.counts, list(data.train), pictures)

    def fit(
        self,
        network: Network,
        data: DataSet,
        contract: Preprocessing,
        recipe: ClassificationRecipe,
        *,
        device: torch.device,
        workers: int,
        reporter: Reporter,
    ) -> Fitted | None:
        """Frozen features once, then the classifier alone; the log has a line for each penalty that was tried."""
        if not recipe.features_only:
            return None
        begun = time.perf_counter()
        train = part_of_all(data.train, recipe.fraction, recipe.seed)
        fits = train_classifier(
            network,
            replace(data, train=tuple(train)),
            contract,
            class_weights=class_weights(data.counts, recipe),
            device=device,
            workers=workers,
            reporter=reporter,
        )
        seconds = time.perf_counter() - begun
        pixels, indices = next(iter(EvaluationPictures(data.train[:SHOWN], contract)))
        return Fitted(
            [fit.to_json(number, seconds) for number, fit in enumerate(fits, start=1)],
            partial(draw_penalties, fits=fits),
            list(pixels.permute(0, 2, 3, 1).numpy()),
            [data.classes[index] for index in indices.tolist()],
        )
