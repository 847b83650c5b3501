"""Spark's own cluster manager on this machine: a master and its workers, each a process."""

import os
import pathlib
import signal
import subprocess
import sys

import pyspark

from servers import KEY, free_port, wait_until

HOME = pathlib.Path(pyspark.__file__).parent
ENVIRONMENT = os.environ | KEY | {
    "SPARK_HOME": str(HOME),
    "SPARK_SCALA_VERSION": "2.13",
    "SPARK_LOCAL_IP": "127.0.0.1",
    "PYSPARK_PYTHON": sys.executable,
    "PYSPARK_DRIVER_PYTHON": sys.executable,
}
SETTINGS = {
    "spark.driver.host": "127.0.0.1",
    "spark.driver.memory": "512m",
    "spark.executor.memory": "512m",
    "spark.ui.enabled": "false",
    "spark.log.level": "WARN",
}


class Cluster:
    def __init__(self, folder, workers):
        self.folder, self.port = folder, free_port()
        self.url = f"spark://127.0.0.1:{self.port}"
        self.started = []
        self.start("master.Master", "--host", "127.0.0.1", "--port", str(self.port), "--webui-port", "0")
        wait_until(lambda: "New state: ALIVE" in self.log(0))
        self.workers = [self.start_worker() for _ in range(workers)]

    def start(self, kind, *arguments):
        log = open(self.folder / f"{len(self.started)}.log", "w")
        command = [HOME / "bin/spark-class", f"org.apache.spark.deploy.{kind}", *arguments]
        # A session of its own, so that a worker is killed with its executor.
        process = subprocess.Popen(command, env=ENVIRONMENT, stdout=log, stderr=log, start_new_session=True)
        self.started.append(process)
        return process

    def start_worker(self):
        number = len(self.started)
        work = self.folder / f"work-{number}"
        process = self.start("worker.Worker", self.url, "--host", "127.0.0.1", "--cores", "1", "--memory", "600m", "--work-dir", work, "--webui-port", "0")
        wait_until(lambda: "Successfully registered with master" in self.log(number))
        return process

    def log(self, number):
        return (self.folder / f"{number}.log").read_text()

    def close(self):
        for process in self.started:
            kill(process)


def kill(process):
    """Kills a process and those that it has started."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def submit(master, files, script, *arguments, modules=()):
    """Starts a driver."""
    options = [f"--conf={name}={value}" for name, value in SETTINGS.items()]
    options += ["--files", ",".join(map(str, files))] if files else []
    options += ["--py-files", ",".join(map(str, modules))] if modules else []
    command = [HOME / "bin/spark-submit", "--master", master, *options, script, *arguments]
    return subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
