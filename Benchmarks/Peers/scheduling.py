"""A pool of workers under Ray, Dask.distributed or executorlib (the argument), at its best settings on this machine.

CPU seconds of all processes per job that does nothing, and jobs a second; seconds for 1,000 jobs of 20 ms on two
workers; seconds from the death of the worker of a job that sleeps until that job runs again, other workers being idle.
"""
import json
import os
import signal
import sys
import tempfile
import time

CALLS = tempfile.mkdtemp(prefix="cairn-peer-")


def nothing(k):
    return k


def nap(k):
    time.sleep(0.02)
    return k


def long(name):
    """Sleeps 3 s, and says when and in which process it began."""
    with open(name, "a") as calls:
        calls.write(f"{os.getpid()} {time.monotonic()}\n")
    time.sleep(3)


def family():
    """CPU seconds of this process and of all that live below it, with those of the children that they waited for."""
    parents, used = {}, {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{entry}/stat") as file:
                fields = file.read().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(entry)] = int(fields[1])
        used[int(entry)] = sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")

    def is_ours(process):
        while process > 1 and process != os.getpid():
            process = parents.get(process, 0)
        return process > 1

    return {process: seconds for process, seconds in used.items() if is_ours(process)}


def measured(run, jobs):
    run(nothing, 200)  # warms up
    run(nap, 10)
    before, start = sum(family().values()), time.monotonic()
    run(nothing, jobs)
    wall = time.monotonic() - start
    cpu = sum(family().values()) - before
    start = time.monotonic()
    run(nap, 1000)
    return {"cpu": cpu / jobs, "rate": jobs / wall, "naps": time.monotonic() - start}


def begun(name, count):
    """Lines of a file, when there are so many; none after 20 s."""
    limit = time.monotonic() + 20
    while time.monotonic() < limit:
        if os.path.exists(name):
            with open(name) as file:
                lines = [line.split() for line in file.read().splitlines()]
            if len(lines) >= count:
                return [(int(process), float(when)) for process, when in lines]
        time.sleep(0.0005)
    return []


def restarted(submit):
    """Seconds from SIGKILL until the job began again; None if it did not."""
    name = os.path.join(CALLS, "long")
    future = submit(long, name)
    first = begun(name, 1)
    if not first:
        return None
    time.sleep(0.3)
    killed = time.monotonic()
    os.kill(first[0][0], signal.SIGKILL)
    again = begun(name, 2)
    del future
    return again[1][1] - killed if again else None


def with_ray():
    import ray

    # Two of these jobs run at a time, and four of the one that is killed.
    ray.init(num_cpus=4, include_dashboard=False, logging_level="error", log_to_driver=False, object_store_memory=10**8)
    remote = {f: ray.remote(num_cpus=2)(f) for f in (nothing, nap)}
    result = measured(lambda f, jobs: ray.get([remote[f].remote(k) for k in range(jobs)]), 2000)
    ray.get([ray.remote(nap).remote(k) for k in range(40)])
    result["killed"] = restarted(lambda f, name: ray.remote(f).remote(name))
    return ray.__version__, result


def with_dask():
    import dask
    from distributed import Client, LocalCluster

    dask.config.set({"distributed.admin.log-length": 0})

    def cluster(workers):
        return LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None, silence_logs=50)

    with cluster(2) as two, Client(two) as client:
        result = measured(lambda f, jobs: client.gather(client.map(f, range(jobs), pure=False)), 1000)
    with cluster(3) as three, Client(three) as client:
        result["killed"] = restarted(lambda f, name: client.submit(f, name, pure=False))
    return dask.__version__, result


def with_executorlib():
    import executorlib

    def run(executor):
        return lambda f, jobs: [future.result() for future in [executor.submit(f, k) for k in range(jobs)]]

    with executorlib.SingleNodeExecutor(max_workers=2, block_allocation=True) as executor:
        result = measured(run(executor), 2000)
    executor = executorlib.SingleNodeExecutor(max_workers=3, block_allocation=True, restart_limit=2)
    run(executor)(nap, 30)
    result["killed"] = restarted(executor.submit)
    return executorlib.__version__, result


if __name__ == "__main__":
    # What a peer prints is not for whoever reads the answer.
    answers = os.dup(1)
    os.dup2(2, 1)
    version, figures = {"ray": with_ray, "dask": with_dask, "executorlib": with_executorlib}[sys.argv[1]]()
    figures = {key: value for key, value in figures.items() if value is not None}
    os.write(answers, json.dumps({"version": version, **figures}).encode())
    for process in family():
        if process != os.getpid():
            os.kill(process, signal.SIGKILL)
    os._exit(0)
