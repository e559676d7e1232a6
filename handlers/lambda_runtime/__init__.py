"""AWS Lambda's Runtime API, driven for any ASGI application: streams, many calls at once, snapshots, own deadlines."""
