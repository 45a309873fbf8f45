-- Progress that can begin anew, with the keys of the last rows that were written: where those are gone, facts are lost.
ALTER TABLE ninezero_data.recorder_progress
    ADD COLUMN refill UInt64, ADD COLUMN held String, MODIFY ORDER BY (topic, topic_id, partition, refill);

-- A topic that was deleted and made again has other records at the same offsets, maybe with the same content.
ALTER TABLE ninezero_data.dead_letter_facts
    ADD COLUMN at_ms UInt64, MODIFY ORDER BY (topic, partition, offset, sha256, at_ms);
