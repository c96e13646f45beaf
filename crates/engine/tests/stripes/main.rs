//! Drops whose stock is divided over several shards, on one Redis and on a cluster.

mod moves;
mod random;
mod sale;
mod spread;
#[path = "../support/mod.rs"]
mod support;

on_both! {
    moves:
        units_arrive_once_however_often_they_are_sent,
        nothing_arrives_before_the_archive_has_it_and_nobody_hears_sold_out,
        a_worker_finishes_what_was_left_halfway;
    sale:
        the_last_unit_is_sold_wherever_it_is,
        an_order_gathers_units_of_several_stripes,
        a_user_always_meets_the_same_stripe,
        a_drop_sells_nothing_before_all_of_it_is_there;
    spread:
        all_stripes_follow_the_home,
        a_change_that_not_all_stripes_follow_is_not_called_undone,
        a_change_that_was_left_halfway_is_finished,
        units_of_a_stripe_that_is_over_are_not_waited_for,
        stripes_spread_evenly_over_the_masters;
    random:
        random_striped_sales_go_as_they_should;
}
