"""Role-play: a language model plays the people who want the pictures of the demonstrations."""
