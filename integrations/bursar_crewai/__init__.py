"""Budgets for CrewAI."""
