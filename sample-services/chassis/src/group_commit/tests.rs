//! Facts about group commit.

use std::borrow::Cow;

use sqlx::migrate::Migrator;

use super::*;
use crate::database::Durability;
use crate::settings::{DatabaseUrl, Setting};

struct Insert(i64);

impl Operation for Insert {
    type Outcome = i64;

    async fn apply(&self, connection: &mut SqliteConnection) -> sqlx::Result<i64> {
        sqlx::query("INSERT INTO numbers (number) VALUES (?)")
            .bind(self.0)
            .execute(&mut *connection)
            .await?;
        sqlx::query_scalar("SELECT count(*) FROM numbers")
            .fetch_one(connection)
            .await
    }
}

async fn database(folder: &tempfile::TempDir) -> Database {
    let path = folder.path().join("numbers.db");
    let url = DatabaseUrl::parse(path.to_str().expect("text")).expect("a path");
    let none = Migrator {
        migrations: Cow::Borrowed(&[]),
        ..Migrator::DEFAULT
    };
    let database = Database::open(&url, Durability::PowerCut, &none)
        .await
        .expect("opened");
    sqlx::query("CREATE TABLE IF NOT EXISTS numbers (number INTEGER PRIMARY KEY)")
        .execute(&database.writer)
        .await
        .expect("table");
    database
}

#[tokio::test]
async fn one_bad_operation_spoils_no_other_of_its_batch() {
    let folder = tempfile::tempdir().expect("folder");
    let database = database(&folder).await;
    let (writer, task) = Writer::start(&database);
    let numbers = [1, 2, 2, 3, 4];
    let all = numbers.map(|number| writer.submit(Insert(number)));
    let outcomes = futures_util::future::join_all(all).await;
    let confirmed: Vec<_> = outcomes.iter().map(Result::is_ok).collect();
    assert_eq!(confirmed, [true, true, false, true, true]);
    drop(writer);
    task.await.expect("ended");
    let stored: i64 = sqlx::query_scalar("SELECT count(*) FROM numbers")
        .fetch_one(&database.readers)
        .await
        .expect("count");
    assert_eq!(stored, 4);
}

#[tokio::test]
async fn a_full_queue_refuses_instead_of_growing() {
    let folder = tempfile::tempdir().expect("folder");
    let database = database(&folder).await;
    let (writer, _task) = Writer::start(&database);
    let beyond = i64::try_from(QUEUE_MAX).expect("small") + 10;
    let all = (0..beyond).map(|number| writer.submit(Insert(number)));
    let outcomes = futures_util::future::join_all(all).await;
    let refused = outcomes
        .iter()
        .filter(|one| matches!(one, Err(WriteError::Overloaded)))
        .count();
    assert_eq!(refused, 10);
}

#[tokio::test]
async fn two_writers_share_one_file() {
    let folder = tempfile::tempdir().expect("folder");
    let (first, second) = tokio::join!(database(&folder), database(&folder));
    let ((one, _), (two, _)) = (Writer::start(&first), Writer::start(&second));
    let all = (0..200).map(|number| {
        let writer = if number % 2 == 0 {
            one.clone()
        } else {
            two.clone()
        };
        async move { writer.submit(Insert(number)).await }
    });
    let outcomes = futures_util::future::join_all(all).await;
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
}
