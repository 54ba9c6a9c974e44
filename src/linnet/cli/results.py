"""`linnet predict --out`: any number of pictures into a results file."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from linnet.catalogue import find_model
from linnet.checkpoint import Checkpoint
from linnet.cli.terminal import UsageError, print_json, progress, show
from linnet.data.gathering import Gathered, gather
from linnet.predictions.results import Identity, Results, open_results
from linnet.predictions.running import predict_into
from linnet.predictions.uncertain import check_folder, copy_uncertain, find_uncertain, uncertain_folder
from linnet.predictor import Predictor
from linnet.tasks import TASKS

if TYPE_CHECKING:
    from linnet.cli.predict import Options


def predict_into_file(options: Options, predictor: Predictor) -> int:
    """Runs the command with --out."""
    assert options.out is not None
    folder = uncertain_folder(options.out)
    uncertainty = None
    if options.uncertain is not None:
        uncertainty = TASKS[predictor.network.task].uncertainty(predictor)
        check_folder(folder)
    gathered = gather(options.pictures)
    for sentence in gathered.left:
        print(f"linnet: {sentence}", file=sys.stderr)
    with open_results(options.out, _identity(options, predictor)) as results:
        for sentence in results.notes:
            print(f"linnet: {sentence}", file=sys.stderr)
        before, errors_before = results.count, results.errors
        if before:
            print(f"linnet: '{options.out}' has {before:,} pictures; going on behind them.", file=sys.stderr)
        _predict(results, predictor, gathered, options)
        results.finish()
        if options.uncertain is not None and uncertainty is not None:
            copy_uncertain(find_uncertain(results, uncertainty, gathered, options.uncertain), gathered, folder)
        document: dict[str, Any] = {
            "out": str(options.out),
            "pictures": results.count,
            "predicted": results.count - results.errors,
            "errors": results.errors,
            "new": results.count - before,
            "new_errors": results.errors - errors_before,
        }
    if options.uncertain is not None:
        document |= {"uncertain": str(folder)}
    if options.json:
        print_json(document)
    else:
        _show(document)
    return 0


def _predict(results: Results, predictor: Predictor, gathered: Gathered, options: Options) -> None:
    if options.cluster is None:
        with progress(gathered.count, "predicting") as advance:
            predict_into(results, predictor, gathered, top=options.top, progress=advance)
        return
    if not isinstance(predictor.network, Checkpoint):
        raise UsageError(f"--cluster runs checkpoints; '{options.model}' is a file for another runtime.")
    from linnet.cluster import connect
    from linnet.cluster.predicting import predict_into as predict_on_cluster
    from linnet.cluster.workers import Setting

    setting = Setting(options.runtime, options.threads or 1, predictor.suppression, top=options.top, tile=options.tile)
    with connect(options.cluster):
        predict_on_cluster(
            results,
            predictor.network,
            gathered,
            setting=setting,
            report=lambda sentence: print(f"linnet: {sentence}", file=sys.stderr),
        )


def _identity(options: Options, predictor: Predictor) -> Identity:
    """Of which model and source the results are, and everything else that their rows depend on."""
    file = find_model(options.model)
    settings: dict[str, Any] = {"top": options.top}
    if TASKS[predictor.network.task].finds_boxes:
        suppression = predictor.suppression
        settings |= {"score_threshold": suppression.score_threshold, "iou_threshold": suppression.iou_threshold}
    if predictor.tile:
        settings |= {"tile": True}
    local = [text if "://" in text else str(Path(text)) for text in options.pictures]
    return Identity(
        model=hashlib.sha256(file.read_bytes()).hexdigest(),
        source=tuple(local),
        places=tuple(text if "://" in text else str(Path(text).resolve()) for text in local),
        task=predictor.network.task,
        settings=settings,
    )


def _show(document: dict[str, Any]) -> None:
    errors = document["errors"]
    show(
        f"{document['pictures']:,} pictures in '{document['out']}': {document['predicted']:,} predicted, "
        f"{errors:,} that could not be read; {document['new']:,} of them were done now.",
        *([f"the least sure are in '{document['uncertain']}'"] if "uncertain" in document else []),
    )
