"""Budgets for LangChain and LangGraph."""
