"""What servers say of their load, in every form met."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.wire.load_report import Load, of_header, of_page

VLLM = b"""# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 3.0
vllm:num_requests_running{engine="1",model_name="m"} 2.0
vllm:num_requests_waiting{engine="0",model_name="m"} 7.0
vllm:num_requests_waiting_by_reason{engine="0",reason="x"} 99.0
vllm:e2e_request_latency_seconds_bucket{le="0.3",model_name="m"} 1.0
"""
SGLANG = b'sglang:num_running_reqs{model_name="m"} 4.0\nsglang:num_queue_reqs{model_name="m"} 0.0\n'
TGI = b"tgi_queue_size 5\ntgi_batch_current_size 8\n"


@pytest.mark.parametrize(("page", "load"), [(VLLM, Load(7, 5)), (SGLANG, Load(0, 4)), (TGI, Load(5, 8))])
def test_pages_of_three_servers(page: bytes, load: Load) -> None:
    assert of_page(page) == load


@pytest.mark.parametrize(
    ("value", "load"),
    [
        (b"TEXT named_metrics.num_requests_waiting=4, named_metrics.num_requests_running=2.0", Load(4, 2)),
        (b"text num_requests_waiting=4,kv_cache_usage_perc=0.3", Load(4, None)),
        (b'JSON {"named_metrics": {"num_requests_waiting": 1, "kv_cache_usage_perc": 0.1}}', Load(1, None)),
        (b'JSON {"num_requests_running": 6}', Load(None, 6)),
        (b'{"named_metrics": {"num_queue_reqs": 2}}', Load(2, None)),
        (b"cpu_utilization=0.3, waiting_queue_size=3", Load(3, None)),
    ],
)
def test_headers_as_text_and_as_json(value: bytes, load: Load) -> None:
    assert of_header(value) == load


@pytest.mark.parametrize(
    "value",
    [b"", b"TEXT", b"JSON", b"JSON [1]", b"BIN AAAA", b"TEXT num_requests_waiting=many", b"TEXT queue_size=-1",
     b"JSON {\"num_requests_waiting\": true}", b"TEXT num_requests_waiting=nan", b"TEXT num_requests_waiting=1e300"],
)  # fmt: skip
def test_what_says_nothing_is_nothing(value: bytes) -> None:
    assert of_header(value) is None


@given(st.binary(max_size=400))
def test_any_bytes_are_survived(data: bytes) -> None:
    for found in (of_header(data), of_page(data)):
        assert found is None or all(each is None or each >= 0 for each in (found.waiting, found.running))
