"""Reading the ledger: reports, run statistics and what stands out."""

from bursar.ledger.anomalies import Anomaly
from bursar.ledger.report import Report, WorkflowRuns

__all__ = ["Anomaly", "Report", "WorkflowRuns"]
