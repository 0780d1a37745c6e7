"""Budgets for AutoGen."""
