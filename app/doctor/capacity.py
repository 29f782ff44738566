"""Whether the machine has the cores and the memory that the settings ask for."""

from __future__ import annotations

from collections.abc import Mapping

from app import machine
from app.config import Config, environment_name
from app.doctor.findings import Finding, Problem
from app.doctor.models import deployed_models
from app.store.records import Snapshot

# Measured: a worker with both libraries loaded, and what a body of 50 MB adds to it
# at most while it is answered (JSON with every column passed through).
_WORKER_BYTES = 130 * 2**20

_BYTES_PER_BYTE = 10


def cores(config: Config, environ: Mapping[str, str]) -> Finding:
    """Whether workers and threads have cores to run on.

    environ: what libraries read the number of their threads from.
    """
    found = machine.cores()
    facts = {
        "machine": found.machine,
        "affinity": found.affinity,
        "quota": found.quota,
        "usable": found.usable,
        "workers": config.workers,
        "scoring_threads": config.scoring_threads,
        "OMP_NUM_THREADS": environ.get("OMP_NUM_THREADS"),
    }
    problems = []
    for name in ("workers", "scoring_threads"):
        if getattr(config, name) > found.usable:
            variable = environment_name(name)
            problems.append(
                Problem(
                    f"{variable} is {getattr(config, name)}, and {found.usable} cores "
                    "can be used: they would wait for one another",
                    f"set {variable}={found.usable}",
                )
            )
    if environ.get("OMP_NUM_THREADS", "1") != "1":
        text = "OMP_NUM_THREADS is not 1: small requests take many times longer"
        problems.append(Problem(text, "unset OMP_NUM_THREADS, or set it to 1"))
    return Finding("cores", facts, problems)


def memory(config: Config, snapshot: Snapshot) -> Finding:
    """Estimate what all workers take at their worst."""
    found = machine.memory()
    stored = sum(snapshot.models[each].nbytes for each in deployed_models(snapshot))
    large = config.bulk_slots * config.max_body * _BYTES_PER_BYTE
    worker = _WORKER_BYTES + min(stored, config.model_cache) + large
    facts = {
        "machine_bytes": found.machine,
        "limit_bytes": found.limit,
        "worker_bytes": worker,
        "all_workers_bytes": worker * config.workers,
    }
    problems = []
    if worker * config.workers > found.usable:
        text = (
            f"{config.workers} workers may take {worker * config.workers / 2**30:.1f} "
            f"GiB, and there are {found.usable / 2**30:.1f} GiB"
        )
        remedy = "lower FORETELL_WORKERS, FORETELL_BULK_SLOTS or FORETELL_MAX_BODY"
        problems.append(Problem(text, remedy))
    return Finding("memory", facts, problems)
