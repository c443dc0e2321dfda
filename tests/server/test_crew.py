from __future__ import annotations

import json

from pyproxy.server.crew import CrewReport, Phase, WorkerReport


def test_a_report_survives_the_channel() -> None:
    report = CrewReport(Phase.DRAINING, (WorkerReport(0, 12, 3, "killed by SIGKILL"), WorkerReport(1)), 2)
    assert CrewReport.of_message(json.loads(json.dumps(report.as_message()))) == report
    assert report.running() == 1
