"""Reading the ledger: reports and run statistics."""

from bursar.ledger.report import Report, WorkflowRuns

__all__ = ["Report", "WorkflowRuns"]
