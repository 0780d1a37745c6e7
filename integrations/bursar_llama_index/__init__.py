"""Budgets for LlamaIndex."""
