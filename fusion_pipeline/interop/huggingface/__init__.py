"""Ordinary Hugging Face folders: a whole model, written as transformers' own classes read it."""
