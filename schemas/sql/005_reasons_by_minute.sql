-- For the board: how often each rule applied in a minute over all sites, and at how many sites. Rule and site together are shown
-- by day only (reasons_by_day), because with the minute they could identify a person.
CREATE VIEW IF NOT EXISTS ninezero.reasons_by_minute AS
SELECT minute, tupleElement(reason, 1) AS rule, sum(tupleElement(reason, 2)) AS count, uniqExact(site_id) AS sites
FROM (
    SELECT minute, site_id, arrayJoin([
        ('no_identity', r_no_identity), ('unknown_key', r_unknown_key), ('list_stale', r_list_stale), ('confirmed_case', r_confirmed_case), ('suspected_case', r_suspected_case), ('quarantine_order', r_quarantine_order), ('close_contact', r_close_contact), ('risk_region_arrival', r_risk_region_arrival), ('weak_match', r_weak_match), ('health_code_red', r_health_code_red), ('health_code_yellow', r_health_code_yellow), ('no_temperature', r_no_temperature), ('temperature_implausible', r_temperature_implausible), ('fever', r_fever), ('fever_unconfirmed', r_fever_unconfirmed), ('outside_province_without_pass', r_outside_province_without_pass), ('outside_district_without_pass', r_outside_district_without_pass)
    ]) AS reason
    FROM ninezero_data.screening_rollup FINAL
) WHERE tupleElement(reason, 2) > 0 GROUP BY minute, rule;
