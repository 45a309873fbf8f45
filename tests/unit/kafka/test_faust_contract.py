"""The private parts of Faust and aiokafka that streams/transport uses are those that it expects.

The calls between these parts are internal, so these tests read the source of the pinned versions. They name the places to
check when a pin changes. The behaviour itself is tested in test_delivery.py, test_fetching.py and tests/integration/kafka.
"""

import asyncio
import inspect
from importlib.metadata import version

import faust
from aiokafka import AIOKafkaConsumer
from aiokafka.consumer.fetcher import Fetcher, PartitionRecords
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.consumer.subscription_state import SubscriptionState
from aiokafka.structs import TopicPartition
from faust.transport import consumer as stock
from faust.transport.drivers import aiokafka as driver
from faust.transport.drivers import by_url
from faust.types import ConsumerMessage
from yarl import URL

from ninezero.streams.transport.app import App
from ninezero.streams.transport.consumer import Consumer, Transport


def test_faust_and_aiokafka_are_the_pinned_versions() -> None:
    assert (version("faust-streaming"), version("aiokafka")) == ("0.15.3", "0.14.0")


def test_the_url_scheme_selects_our_transport() -> None:
    assert by_url(URL("chunks://127.0.0.1:9092")) is Transport


def test_the_methods_that_we_override_exist_and_faust_calls_them() -> None:
    for name in (
        "_drain_messages",
        "_new_offset",
        "_filter_tps_with_pending_acks",
        "perform_seek",
        "wait_empty",
        "on_partitions_revoked",
    ):
        assert hasattr(stock.Consumer, name) and name in Consumer.__dict__
    assert "_drain_messages" in inspect.getsource(stock.Fetcher)
    assert "self._new_offset(tp)" in inspect.getsource(stock.Consumer._filter_committable_offsets)
    assert "_filter_tps_with_pending_acks" in inspect.getsource(stock.Consumer.force_commit)
    assert "consumer.wait_empty()" in inspect.getsource(faust.App._consumer_wait_empty)


def test_faust_creates_its_folders_where_we_do_not() -> None:
    assert inspect.getsource(faust.App.on_first_start).splitlines()[-1].strip() == "self._create_directories()"
    assert "on_first_start" in App.__dict__


def test_our_thread_can_set_the_isolation_level_of_its_consumer() -> None:
    assert "AIOKafkaConsumerThread(self, " in inspect.getsource(driver.Consumer._new_consumer_thread)
    assert "_create_worker_consumer(transport)" in inspect.getsource(driver.AIOKafkaConsumerThread)
    assert "isolation_level=self._isolation_level" in inspect.getsource(AIOKafkaConsumer.start)
    assert "max_partition_fetch_bytes=self._max_partition_fetch_bytes" in inspect.getsource(AIOKafkaConsumer.start)


def test_faust_commits_and_seeks_through_the_calls_to_which_we_add_the_topic_id() -> None:
    assert "await consumer.commit(aiokafka_offsets)" in inspect.getsource(driver.AIOKafkaConsumerThread._commit)
    assert "self._thread.seek_to_committed()" in inspect.getsource(driver.Consumer.seek_to_committed)
    assert "await self.seek_to_committed()" in inspect.getsource(stock.Consumer.perform_seek)
    assert callable(GroupCoordinator.fetch_committed_offsets)


def test_aiokafka_keeps_fetched_records_where_we_replace_them() -> None:
    assert "fetcher = consumer._fetcher" in inspect.getsource(driver.AIOKafkaConsumerThread._fetch_records)
    assert "self._records[tp] = FetchResult(" in inspect.getsource(Fetcher)
    assert "consumer_record = self._consumer_record(tp, record)" in inspect.getsource(PartitionRecords)
    assert "records = res_or_error.getall(max_records)" in inspect.getsource(Fetcher.fetched_records)
    assert "max_poll_records=conf.broker_max_poll_records" in inspect.getsource(
        driver.AIOKafkaConsumerThread._create_worker_consumer
    )
    assert faust.App("unit").conf.broker_max_poll_records is None, "a poll returns all fetched records"


def test_aiokafka_has_the_positions_that_we_read() -> None:
    async def check() -> None:
        state, tp = SubscriptionState(), TopicPartition("t", 0)
        state.subscribe({"t"})
        assert state.subscription is not None and state.subscription.assignment is None
        state.assign_from_subscribed({tp})
        value = state.subscription.assignment.state_value(tp)
        assert (set(state.subscription.assignment.tps), value._position) == ({tp}, None)
        value.seek(7)
        assert value._position == value.position == 7

    asyncio.run(check())
    assert "self._subscription = " in inspect.getsource(AIOKafkaConsumer.__init__)


def test_the_methods_that_we_call_exist() -> None:
    for name in ("_get_active_partitions", "_getmany", "commit", "seek", "assignment", "earliest_offsets", "position"):
        assert callable(getattr(driver.Consumer, name))
    parameters = list(inspect.signature(ConsumerMessage.__init__).parameters)
    assert parameters[1:13] == ["topic", "partition", "offset", "timestamp", "timestamp_type", "headers", "key", "value", "checksum",
                                "serialized_key_size", "serialized_value_size", "tp"]  # fmt: skip


def test_aiokafka_does_not_seek_a_partition_without_a_committed_offset() -> None:
    """Our `perform_seek` seeks such a partition. It can be removed when aiokafka does so."""
    assert "if offset and offset > 0" in inspect.getsource(AIOKafkaConsumer.seek_to_committed)


def test_the_thread_runs_our_calls_and_passes_on_client_id_and_session_settings() -> None:
    assert callable(driver.AIOKafkaConsumerThread.call_thread)
    assert "_ensure_consumer" in driver.AIOKafkaConsumerThread.__dict__
    source = inspect.getsource(driver.AIOKafkaConsumerThread._create_worker_consumer)
    for setting in ("broker_client_id", "broker_session_timeout", "broker_heartbeat_interval"):
        assert setting in source


def test_a_stream_without_acks_never_acknowledges_for_the_agent() -> None:
    assert "enable_acks=False" in inspect.getsource(faust.Stream.noack)
