"""Payments: asked for by merchants, validated, and the beginning of everything else."""
