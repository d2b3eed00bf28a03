"""MLX-LM's folders: `adapter_config.json` and `adapters.safetensors`."""
