"""Two small LoRA adapters of one task, trained once for the tests that judge merges."""

from fusion_pipeline.cli import main

CAPS = ["data.max_train=40", "data.max_validation=24", "data.max_test=24", "logging=none"]
TRAINED = ["backbone=tiny", "adapter=lora", "trainer.num_train_epochs=2", "trainer.learning_rate=3e-2"]


def adapters(root, names=("one", "two")):
    """Adapters that matter, with heads for `sentiment`; seeds apart."""
    for seed, name in enumerate(names):
        given = ["stage=adapters", "task=sentiment", f"name={name}", f"seed={seed}", f"output_root={root}"]
        assert main([*given, *CAPS, *TRAINED]) == 0
    return root


def merge(root, *words):
    """Runs stage=merge over them, without its report unless the words ask for it; returns the exit code."""
    given = [] if any(word.startswith("adapters=") for word in words) else ["adapters=[one,two]"]
    return main(["stage=merge", *given, f"output_root={root}", *CAPS, "report=false", *words])
