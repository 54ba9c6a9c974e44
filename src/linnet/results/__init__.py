"""What a network says of a picture: arrays and names."""

from linnet.results.classification import Classification, Prediction
from linnet.results.detections import Detection, Detections
from linnet.results.documents import document, top
from linnet.results.result import Found, Result
from linnet.results.segmentation import Region, Segmentation
from linnet.results.tracked import TrackedDetection, TrackedDetections

__all__ = [
    "Classification",
    "Detection",
    "Detections",
    "Found",
    "Prediction",
    "Region",
    "Result",
    "Segmentation",
    "TrackedDetection",
    "TrackedDetections",
    "document",
    "top",
]
