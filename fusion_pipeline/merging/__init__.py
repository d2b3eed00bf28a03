"""Adapters merged in weight space: one adapter's size and speed, no training.

`opening.open_source` reads one adapter of ours, of PEFT or of MLX-LM; `plan.Plan` checks a merge of several;
`Plan.merged()` computes it module by module; `output.write_merge` puts it on disk. Everything acts on the true
update ΔW = s·B·A.
"""
