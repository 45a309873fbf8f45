-- Number of alerts about cases, by day, rule and place; `site_id` is the district for follow-ups. Fever and symptoms count once for
-- each case, day and slot, until the facts of the case are deleted (14 days after its closure). No case number, nothing finer
-- than the day.
CREATE VIEW IF NOT EXISTS ninezero.care_alerts_by_day AS
SELECT day, rule, site_id, sum(n) AS count
FROM (
    SELECT day, rule, place AS site_id, toUInt64(count()) AS n
    FROM (
        SELECT case_id, day, half, rule, argMin(site_id, observed_us) AS place
        FROM (
            SELECT case_id, day, site_id, observed_us, arrayJoin(arrayFilter(r -> r != '', [if(fever = 1, 'fever', ''), if(symptoms = 1, 'symptoms', '')])) AS rule,
                multiIf(slot != '', slot, toHour(toDateTime(intDiv(observed_us, 1000000), '{timezone}')) < 12, 'am', 'pm') AS half
            FROM ninezero_data.quarantine_facts FINAL
        )
        GROUP BY case_id, day, half, rule
    )
    GROUP BY day, rule, place
    UNION ALL
    SELECT day, 'symptoms' AS rule, place AS site_id, toUInt64(count()) AS n
    FROM (
        SELECT case_id, day, argMin(district, observed_us) AS place
        FROM ninezero_data.followup_facts FINAL WHERE visit = 'seen_symptomatic' GROUP BY case_id, day
    )
    GROUP BY day, place
    UNION ALL
    SELECT day, 'reading_missed' AS rule, site_id, toUInt64(readings_missed) AS n FROM ninezero.quarantine_by_day WHERE readings_missed > 0
    UNION ALL
    SELECT day, 'visit_overdue' AS rule, district AS site_id, toUInt64(overdue) AS n FROM ninezero.followups_by_day WHERE overdue > 0
)
GROUP BY day, rule, site_id;
