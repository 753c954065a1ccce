"""Speaking with servers, for whoever has to: language models asked once each, and what they cost."""
