"""The screening policy: thresholds, rules, and a fast path for events that no rule applies to."""
