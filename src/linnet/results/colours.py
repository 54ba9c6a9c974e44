"""The colours of classes, in boxes and in label maps alike."""

COLOURS = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167))
"""Okabe and Ito's, which the colour-blind can tell apart too. A class has the one of its index."""
