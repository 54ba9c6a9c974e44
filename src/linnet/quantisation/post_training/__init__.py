"""Eight bits without training: fold, equalise, calibrate, round and correct a network, then measure what that costs.

`quantising` makes the network, `measuring` holds it against the one in float, `gate` decides whether it may be kept.
"""
