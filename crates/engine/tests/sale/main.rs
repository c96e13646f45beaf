//! Selling: what each request is answered and what it leaves behind, on one Redis and on a cluster of three masters.

mod amending;
mod cancelling;
mod changes;
mod dead;
mod holding;
mod log;
mod orders;
mod persisting;
mod purging;
mod refusals;
#[path = "../support/mod.rs"]
mod support;
mod traces;

on_both! {
    orders:
        the_last_unit_is_granted_once,
        a_replayed_key_returns_the_first_answer_in_a_sold_out_drop,
        one_user_twice_in_a_group_meets_the_limit,
        one_key_twice_in_a_group_is_granted_once,
        several_drops_share_a_group,
        a_group_is_decided_in_the_order_of_arrival,
        orders_of_a_busy_shard_gather,
        a_group_that_is_worth_its_call_waits_for_nothing,
        a_cancelled_order_of_a_group_can_be_told_from_the_others;
    refusals:
        a_drop_that_has_not_begun_says_when_it_will,
        a_window_that_is_over_ends_the_drop_for_good,
        a_stopped_drop_names_its_phase,
        checks_come_in_their_order,
        a_replay_comes_before_the_price,
        a_limit_counts_the_units_that_are_held,
        too_few_units_are_told_from_none,
        a_log_at_its_bound_of_orders_refuses_only_new_grants,
        a_log_at_its_bound_of_bytes_refuses_only_new_grants,
        an_order_for_a_drop_that_is_not_there_is_not_decided;
    cancelling:
        a_cancelled_order_gives_its_units_back,
        a_shopper_cancels_in_time_and_an_operator_at_any_time,
        a_shopper_cancels_only_so_many_orders,
        an_order_that_the_record_does_not_know_is_unknown,
        orders_are_cancelled_whatever_the_drop_became,
        units_that_come_back_end_sold_out;
    holding:
        what_comes_back_is_sold_after_its_time_and_not_before,
        a_timer_releases_what_nobody_orders,
        only_a_sold_out_drop_that_may_grant_again_holds,
        after_a_takeover_orders_wait_until_nobody_refuses_by_what_was_before;
    changes:
        each_change_goes_from_where_it_may,
        a_drop_past_its_window_only_closes,
        a_start_is_noted_once,
        a_restock_counts_once_per_key,
        a_drop_has_no_more_units_than_it_may,
        a_drop_opens_once,
        a_drop_that_lost_a_half_is_not_opened_again,
        changes_are_announced;
    amending:
        a_scheduled_drop_is_amended_in_all,
        a_live_drop_is_amended_at_its_end_only,
        a_window_that_cannot_be_is_refused,
        amendments_at_the_same_time_keep_each_other,
        timers_follow_the_window,
        timers_go_when_a_drop_is_over,
        a_drop_that_is_called_off_asks_for_its_orders_back;
    log:
        entries_are_numbered_without_a_gap_and_tell_what_happened,
        versions_rise_with_every_change,
        every_order_is_found_by_its_id,
        the_newest_orders_come_in_pages,
        what_users_hold_is_read_and_listed;
    persisting:
        an_acknowledged_log_is_trimmed_and_the_bound_given_back,
        an_entry_that_is_pending_elsewhere_is_never_trimmed,
        a_second_acknowledgement_counts_for_nothing,
        an_acknowledgement_of_another_epoch_is_refused,
        a_drop_is_unsettled_until_its_last_entry_is_acknowledged,
        pending_entries_come_again_and_are_taken_over,
        an_entry_that_is_gone_is_reported,
        consumers_with_pending_entries_are_not_forgotten,
        what_is_handed_over_is_claimed_at_once;
    purging:
        a_drop_is_purged_once_it_is_over_archived_and_not_cancellable,
        a_drop_is_kept_as_long_as_its_timer_is_told,
        a_drop_that_was_called_off_is_purged_when_no_order_stands,
        a_drop_with_facts_that_the_archive_refuses_is_kept,
        a_tombstone_answers_for_its_drop,
        a_large_drop_is_freed_in_the_background;
    dead:
        a_refused_fact_is_a_letter_from_the_moment_on_in_which_its_entry_goes,
        a_letter_is_written_only_with_the_first_acknowledgement,
        there_are_no_more_letters_than_there_may_be,
        a_replay_carries_the_fact_as_it_was,
        a_letter_that_is_refused_again_is_dead_again,
        a_compensated_order_gives_its_units_back,
        a_cancelled_order_is_replayed_and_not_compensated,
        what_is_no_order_is_only_replayed,
        a_drop_with_a_letter_stays_unsettled,
        of_a_replay_and_a_compensation_one_wins;
    traces:
        an_entry_carries_the_contexts_of_its_granted_orders,
        an_entry_without_traced_grants_is_as_it_always_was,
        a_group_carries_no_more_contexts_than_it_may,
        fields_of_a_newer_version_are_passed_over,
        a_call_is_in_the_trace_of_its_first_order_and_linked_to_the_others;
}
