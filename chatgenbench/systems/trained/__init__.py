"""Systems that `chatgenbench train` made: a language model, what was trained of it, and the words they speak in."""
