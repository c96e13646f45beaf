//! The orders of each user: an index that is written in large sorted pieces.
//!
//! Kept up to date with each batch, it would cost ten times what the facts cost, as every order touches another page. So
//! orders wait in a list (by a trigger, in the transaction that inserts their facts) and are moved when the list is long.

use rusqlite::Connection;

/// How long the list may grow, in orders. Longer lists make cheaper moves, and dearer reads: a read goes through all of it
/// (some milliseconds).
const MAX_WAITING: i64 = 100_000;

/// Orders of a user, for a query on facts: the ids in the index and in the list.
pub(super) const OF_USER: &str = "id IN (SELECT id FROM user_orders WHERE user_id = ?1
     UNION ALL SELECT id FROM user_orders_waiting WHERE user_id = ?1)";

/// Moves the list into the index if it is long, in the caller's transaction.
pub(super) fn move_if_many(db: &Connection) -> rusqlite::Result<()> {
    // Each end by itself is found at once; asked for together they are sought through the whole list.
    let mut count = db.prepare_cached(
        "SELECT coalesce((SELECT max(place) FROM user_orders_waiting) - (SELECT min(place) FROM user_orders_waiting), 0)",
    )?;
    if count.query_row([], |row| row.get::<_, i64>(0))? < MAX_WAITING {
        return Ok(());
    }
    db.execute_batch(
        "INSERT OR IGNORE INTO user_orders SELECT user_id, id FROM user_orders_waiting ORDER BY user_id, id;
         DELETE FROM user_orders_waiting;",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(db: &Connection, table: &str) -> i64 {
        let sql = format!("SELECT count(*) FROM {table}");
        db.query_row(&sql, [], |row| row.get(0)).expect("a count")
    }

    fn insert_orders(db: &Connection, from: i64, to: i64) {
        db.execute(
            "WITH RECURSIVE n(i) AS (SELECT ?1 UNION ALL SELECT i + 1 FROM n WHERE i < ?2)
             INSERT INTO facts (id, shard, epoch, number, idx, entry_facts, kind, drop_id, user_id)
             SELECT randomblob(16), 0, 1, i, 0, 1, 'granted', 'demo', 'user-' || (i % 1000) FROM n",
            [from, to],
        )
        .expect("inserted");
    }

    #[test]
    fn a_users_orders_are_found_before_and_after_they_are_moved() {
        let db = Connection::open_in_memory().expect("a database");
        db.execute_batch(include_str!("schema_1.sql")).expect("the schema");
        let of_user = || -> i64 {
            let sql = format!("SELECT count(*) FROM facts WHERE user_id IS NOT NULL AND {OF_USER}");
            db.query_row(&sql, ["user-7"], |row| row.get(0)).expect("a count")
        };
        insert_orders(&db, 1, MAX_WAITING);
        move_if_many(&db).expect("looked");
        assert_eq!((count(&db, "user_orders_waiting"), count(&db, "user_orders"), of_user()), (MAX_WAITING, 0, 100));
        insert_orders(&db, MAX_WAITING + 1, MAX_WAITING + 1_000);
        move_if_many(&db).expect("moved");
        let all = MAX_WAITING + 1_000;
        assert_eq!((count(&db, "user_orders_waiting"), count(&db, "user_orders"), of_user()), (0, all, 101));
        insert_orders(&db, all + 1, all + 1_000);
        move_if_many(&db).expect("looked");
        assert_eq!((count(&db, "user_orders_waiting"), of_user()), (1_000, 102));
    }
}
