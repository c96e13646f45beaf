//! The rules that every script keeps ("Rules of a script" in the design), on one Redis and on a cluster.
//!
//! Each test has the server to itself: a process does not start beside a shard whose `meta` is of a wrong type.

mod cases;
mod clock;
mod damage;
mod deadline;
mod reading;
#[path = "../support/mod.rs"]
mod support;

on_both! {
    damage:
        every_script_that_writes_is_tried,
        a_key_of_a_wrong_type_changes_nothing,
        a_missing_key_is_loss,
        a_foreign_token_fences_every_script,
        an_older_recovery_is_superseded,
        damage_to_one_drop_leaves_the_others_of_its_group;
    reading:
        a_lost_key_is_never_read_as_empty,
        a_foreign_token_fences_every_reading,
        damage_is_found;
    clock:
        entries_go_on_from_the_last_one_when_the_clock_was_set_back,
        a_used_up_sequence_goes_on_in_the_next_millisecond,
        an_ended_drop_stays_ended_when_the_clock_falls_back;
    deadline:
        a_passed_deadline_decides_nothing,
        a_call_that_was_stuck_has_no_effect_after_its_settlement,
        a_call_that_took_effect_is_found_by_its_settlement,
        a_settlement_that_comes_too_late_still_stops_the_first_call;
}
