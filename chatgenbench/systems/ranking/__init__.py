"""Which model fits these words: evidence from model cards and demonstrations, fused, and tuned on train alone.

Importing this loads no model and no torch.
"""
