"""The job as a hand-written loop on confluent-kafka (librdkafka): consume a batch, decide, flush, insert, commit."""

from __future__ import annotations

from collections import defaultdict

from confluent_kafka import Consumer, KafkaException, Producer

from tests.bench.peers import job


def main() -> None:
    """Runs until the process is ended."""
    watchlist, rows = job.load_watchlist(), job.Rows()
    producer = Producer(job.LIBRDKAFKA_OUT)
    consumer = Consumer(job.LIBRDKAFKA)
    consumer.subscribe([job.SCANS])
    undelivered: list[object] = []

    def delivered(error: object, _: object) -> None:
        if error is not None:
            undelivered.append(error)

    read = 0
    while True:
        outcomes: dict[bytes, list[object]] = defaultdict(list)
        for message in consumer.consume(10_000, 0.1):
            if message.error():
                raise KafkaException(message.error())
            value, at = message.value(), message.timestamp()[1]
            try:
                key, row, alert, outcome = job.decide(watchlist, value, at)
            except job.Rejected as rejection:
                letter = job.dead_letter(value, message.partition(), message.offset(), at, rejection)
                producer.produce(job.DEAD_LETTERS, letter, b"checkpoint-scans", on_delivery=delivered)
            else:
                rows.add(row)
                if alert is not None:
                    producer.produce(job.ALERTS, alert, key, on_delivery=delivered)
                if outcome is not None:
                    outcomes[key].append(outcome)
            read += 1
        for site, group in outcomes.items():
            producer.produce(job.OUTCOMES, job.outcomes_record(site, group), site, on_delivery=delivered)
        producer.poll(0)
        if read and rows.due:
            producer.flush()
            if undelivered:
                raise KafkaException(undelivered[0])
            rows.flush()
            consumer.commit(asynchronous=False)
            read = 0


if __name__ == "__main__":
    main()
