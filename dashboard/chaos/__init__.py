"""Breaking the demo on purpose, to watch that nothing is lost. Only the demo has it."""
