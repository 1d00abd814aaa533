"""Announces `py-app` with py-eureka-client, tells on stdout what it sees, and leaves when stdin ends.

python3 eureka_client.py URL
"""

import asyncio
import sys

import py_eureka_client.eureka_client as eureka

client = eureka.EurekaClient(
    eureka_server=sys.argv[1],
    app_name="py-app",
    instance_id="127.0.0.1:py-app:9001",
    instance_host="localhost",
    instance_ip="127.0.0.1",
    instance_port=9001,
    renewal_interval_in_secs=1,
    duration_in_secs=3,
    metadata={"zone": "a"},
)


async def main():
    await client.start()
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        app = client.applications.get_application(line.strip())
        ids = sorted(instance.instanceId for instance in (app.up_instances if app else []))
        print(f"{line.strip()}: {' '.join(ids)}", flush=True)
    await client.stop()


asyncio.run(main())
