"""Run a command, and print what it took as JSON.

A process of its own, because a child's peak memory counts from the size of the process that made it.
"""

import json
import os
import subprocess
import sys
import time

begun = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
wall = time.perf_counter() - begun
process.returncode = os.waitstatus_to_exitcode(status)
cpu = usage.ru_utime + usage.ru_stime
print(json.dumps({"wall": wall, "cpu": cpu, "memory": usage.ru_maxrss / 1024, "code": process.returncode}))
