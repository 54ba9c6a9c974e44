"""Networks in eight bits: how integers stand for numbers, and the one rule by which they are computed."""
