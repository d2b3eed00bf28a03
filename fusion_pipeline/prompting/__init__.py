"""One list of prompts, several contenders on one causal language model: what each says, side by side."""
