"""Recipes that train a system from a benchmark's training split: ChatGen-Evo, BeautifulPrompt, DiffAgent."""
