//! The contract of the archive: each behaviour is written once and proved for SQLite and for MongoDB.

mod data;
mod dead_letters;
mod drops;
mod epochs;
mod facts;
mod mongo_documents;
mod orders;
mod products;
mod reading;
mod reconciling;
mod schema;
mod subject;
mod windows;

/// Runs each behaviour against a fresh, migrated archive of each kind.
macro_rules! contract {
    ($($module:ident: $($name:ident),+;)+) => {
        mod sqlite {
            $($(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    let subject = crate::subject::Subject::sqlite().await;
                    crate::$module::$name(subject.archive()).await;
                }
            )+)+
        }

        mod mongodb {
            $($(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    let subject = crate::subject::Subject::mongodb().await;
                    crate::$module::$name(subject.archive()).await;
                }
            )+)+
        }
    };
}

contract! {
    schema:
        a_migration_may_run_again,
        the_first_deployment_stays;
    products:
        a_product_is_created_once_and_never_overwritten,
        an_unknown_product_is_none,
        products_are_listed_newest_first_with_ties_by_sku;
    drops:
        a_drop_is_defined_once,
        a_drop_of_an_unknown_sku_is_refused,
        a_drop_moves_from_stage_to_stage_once,
        only_one_of_many_processes_moves_a_drop,
        drops_are_listed_newest_first_with_ties_by_id,
        drops_around_now_are_the_last_started_and_the_next,
        drops_of_a_shard_are_those_past_defined_in_order_of_id,
        a_striped_drop_is_found_in_each_of_its_shards,
        unopened_drops_are_found_oldest_first;
    windows:
        a_drop_that_overlaps_another_of_its_sku_is_refused,
        windows_of_other_skus_do_not_matter,
        of_many_overlapping_definitions_at_once_one_wins,
        one_id_defined_for_many_skus_at_once_is_defined_once,
        a_released_window_is_free_again,
        a_window_is_changed_unless_it_would_overlap,
        windows_that_grow_towards_each_other_at_once_never_overlap,
        a_drop_without_a_kept_window_has_none_to_change;
    facts:
        facts_may_be_inserted_again,
        the_same_fact_twice_in_one_batch_is_one_fact,
        a_fact_with_other_content_is_refused_and_nothing_overwritten,
        a_second_fact_at_a_place_in_the_log_is_refused,
        an_order_and_another_fact_have_no_place_in_common,
        an_order_id_belongs_to_one_entry,
        orders_of_several_drops_in_one_entry_are_read_in_its_order,
        a_fact_that_cannot_be_stored_does_not_hold_up_the_others,
        every_kind_of_fact_comes_back_as_it_went_in,
        a_large_batch_is_inserted_whole,
        in_a_large_batch_only_the_facts_that_conflict_are_refused,
        batches_that_overlap_may_be_inserted_at_once,
        facts_are_found_by_their_ids,
        no_facts_are_no_work;
    dead_letters:
        a_note_is_kept_once_as_it_was,
        a_note_of_another_fact_with_its_id_is_refused,
        what_can_never_be_stored_cannot_be_noted,
        notes_are_read_in_the_order_of_the_log;
    reading:
        facts_are_read_in_the_order_of_the_log,
        facts_are_read_from_an_epoch_and_beyond_a_number,
        a_reader_goes_on_behind_its_cursor,
        the_highest_log_id_is_found_in_any_epoch;
    orders:
        an_order_is_read_as_it_was_placed,
        an_order_is_cancelled_by_a_fact_that_came_before_it,
        a_compensated_order_says_so,
        an_order_of_which_only_its_compensation_tells_is_one_among_others,
        a_compensation_that_does_not_count_tells_of_nothing,
        an_order_that_does_not_count_is_invisible,
        a_cancellation_that_does_not_count_changes_nothing,
        a_page_of_orders_is_filled_past_those_that_do_not_count,
        orders_are_listed_newest_first_page_by_page,
        orders_of_a_user_and_a_drop_are_those_of_both,
        user_ids_are_taken_literally,
        an_order_is_found_by_the_key_that_it_was_granted_under;
    epochs:
        an_epoch_that_was_never_raised_is_0,
        epochs_raised_at_once_rise_by_one_each,
        the_first_closing_of_an_epoch_wins,
        of_many_closings_at_once_all_callers_see_the_same,
        closings_come_back_whole_and_in_order;
    reconciling:
        the_facts_of_orders_are_found_whether_they_count_or_not,
        facts_are_counted_by_epoch_and_number,
        a_stock_takes_the_place_of_the_one_before,
        the_newest_reconciliations_of_a_drop_are_kept;
}

mod beyond_the_trait {
    use stampede_archive::{ArchiveUrl, connect};
    use stampede_testkit::{MongoServer, Proxy};

    use crate::subject::Subject;

    #[tokio::test]
    async fn sqlite_refuses_a_newer_schema() {
        crate::schema::a_newer_schema_is_refused(Subject::sqlite().await).await;
    }

    #[tokio::test]
    async fn mongodb_refuses_a_newer_schema() {
        crate::schema::a_newer_schema_is_refused(Subject::mongodb().await).await;
    }

    #[tokio::test]
    async fn sqlite_is_moved_on_from_the_first_version() {
        crate::schema::an_archive_of_the_first_version_is_moved_on(Subject::sqlite_of_version_1()).await;
    }

    #[tokio::test]
    async fn mongodb_is_moved_on_from_the_first_version() {
        crate::schema::an_archive_of_the_first_version_is_moved_on(Subject::mongodb_of_version_1().await).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn sqlite_that_is_locked_refuses_nothing_for_good() {
        let subject = Subject::sqlite().await;
        let other = rusqlite::Connection::open(subject.path()).expect("opened");
        let lock = async || other.execute_batch("BEGIN EXCLUSIVE").expect("locked");
        let unlock = async || other.execute_batch("COMMIT").expect("unlocked");
        crate::schema::an_archive_that_is_away_refuses_nothing_for_good(subject.archive(), lock, unlock).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn mongodb_that_is_away_refuses_nothing_for_good() {
        let server = MongoServer::local();
        let proxy = Proxy::start(server.port()).await;
        let url = server.database("away").url.replace(&server.port().to_string(), &proxy.port().to_string());
        let url: ArchiveUrl = url.parse().expect("an address");
        let archive = connect(&url).await.expect("connected");
        archive.migrate().await.expect("migrated");
        let go = async || {
            proxy.refuse(true);
            proxy.cut();
        };
        let come_back = async || proxy.refuse(false);
        crate::schema::an_archive_that_is_away_refuses_nothing_for_good(&*archive, go, come_back).await;
    }

    #[tokio::test]
    async fn sqlite_keeps_everything_when_it_is_reopened() {
        crate::schema::what_was_written_is_there_after_reopening(Subject::sqlite().await).await;
    }

    #[tokio::test]
    async fn mongodb_keeps_everything_for_another_process() {
        crate::schema::what_was_written_is_there_after_reopening(Subject::mongodb().await).await;
    }

    #[tokio::test]
    async fn an_empty_sqlite_has_no_schema() {
        crate::schema::an_empty_archive_has_no_schema(&Subject::empty_sqlite()).await;
    }

    #[tokio::test]
    async fn an_empty_mongodb_has_no_schema() {
        crate::schema::an_empty_archive_has_no_schema(&Subject::empty_mongodb()).await;
    }
}
