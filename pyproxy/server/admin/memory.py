"""`/memory`: what the proxy holds, over all its processes.

Envoy's keys are about its allocator; ours say the nearest thing that the kernel knows. `allocated` is private memory
(what shared pages hold is not counted), `heap_size` anonymous memory, `total_physical_bytes` the proportional share
of all resident pages. `processes` is ours: the same by process.
"""

from __future__ import annotations

from dataclasses import asdict

from pyproxy.server.admin.endpoint import Endpoint, Question, Reply, as_json


async def show_memory(question: Question) -> Reply:
    processes = question.proxy.memory()
    return as_json(
        {
            "allocated": str(sum(process.private for process in processes)),
            "heap_size": str(sum(process.anonymous for process in processes)),
            "pageheap_unmapped": "0",
            "pageheap_free": "0",
            "total_thread_cache": "0",
            "total_physical_bytes": str(sum(process.pss for process in processes)),
            "processes": [asdict(process) for process in processes],
        }
    )


ENDPOINTS = (Endpoint("/memory", "print current allocation/heap usage", show_memory),)
