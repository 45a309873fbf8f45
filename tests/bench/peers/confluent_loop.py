"""A hand-written loop on confluent-kafka (librdkafka): consume a batch, judge it, flush, insert, commit."""

from __future__ import annotations

from collections import defaultdict

from confluent_kafka import Consumer, KafkaException, Producer

from tests.bench.peers import job


def main() -> None:
    """Runs until ended."""
    listed, rows = job.load(), job.Rows()
    producer = Producer(job.LIBRDKAFKA_OUT)
    consumer = Consumer(job.LIBRDKAFKA)
    consumer.subscribe([job.SCANS])
    undelivered: list[object] = []

    def delivered(error: object, _: object) -> None:
        if error is not None:
            undelivered.append(error)

    read = 0
    while True:
        answers: dict[bytes, list[object]] = defaultdict(list)
        for message in consumer.consume(10_000, 0.1):
            if message.error():
                raise KafkaException(message.error())
            value, at = message.value(), message.timestamp()[1]
            try:
                key, row, alert, answer = job.judge(listed, value, at)
            except job.Rejected as refused:
                letter = job.letter(value, message.partition(), message.offset(), at, refused)
                producer.produce(job.DEAD_LETTERS, letter, b"checkpoint-scans", on_delivery=delivered)
            else:
                rows.add(row)
                if alert is not None:
                    producer.produce(job.ALERTS, alert, key, on_delivery=delivered)
                if answer is not None:
                    answers[key].append(answer)
            read += 1
        for site, some in answers.items():
            producer.produce(job.OUTCOMES, job.outcomes(site, some), site, on_delivery=delivered)
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
